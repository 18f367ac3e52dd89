"""Bodies of Anthropic's Messages API reach its deployments as they came, and others in other words or not at all."""

import copy
from typing import Any

import msgspec
import pytest

from router.bounds import PER_IMAGE, input_bound_tokens, unbounded_field
from router.capabilities import needed
from router.deployments import Deployment, Dialect, Provider
from router.dialects import fitted, spoken
from router.errors import Inexpressible
from router.providers.anthropic.in_chat import callers_names
from router.providers.anthropic.request import request_of
from router.tokens.chat import PER_IMAGE as PER_COUNTED_IMAGE
from router.tokens.chat import schemas_of, structure_of, texts_of
from service.anthropic.wire import AnthropicMessagesWire

CACHED = {"type": "ephemeral", "ttl": "1h"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
RICH: dict[str, Any] = {
    "model": "chat",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Long.", "cache_control": CACHED}],
    "messages": [
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "redacted_thinking", "data": "opaque"},
                {"type": "text", "text": "I look.", "citations": [{"type": "char_location", "cited_text": "x"}]},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": [{"c": None}]}, "cache_control": CACHED},
                {"type": "text", "text": "And"},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no"},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "see"}, PNG]},
                {"type": "text", "text": "so?", "cache_control": CACHED},
                PNG,
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "a second one"}]},
    ],
    "tools": [
        {"name": "f", "description": "does", "input_schema": SCHEMA, "strict": True, "cache_control": CACHED},
        {"type": "custom", "name": "g", "input_schema": {"type": "object"}, "defer_loading": True},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "stop_sequences": ["END"],
    "top_k": 5,
    "metadata": {"user_id": "u7"},
    "service_tier": "standard_only",
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "context_management": {"edits": []},
    "a_field_of_tomorrow": [1, {"x": None}],
}  # fmt: skip
ALONE: list[dict[str, Any]] = [
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "T"},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}},
    {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "r"}]},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "a_block_of_tomorrow", "x": 1},
]
SEARCHED: dict[str, Any] = {
    "type": "web_search_tool_result", "tool_use_id": "t",
    "content": [{"type": "web_search_result", "url": "https://example.com", "title": "T", "encrypted_content": "e"}],
}  # fmt: skip


def deployment(dialect: Dialect = "anthropic", model: str = "claude-sonnet-4-5") -> Deployment:
    provider = Provider(name="up", dialect=dialect, base_url="http://127.0.0.1:1")
    return Deployment(provider=provider, model=model, price=None, encoding="o200k_base")


def body_of(**fields: Any) -> dict[str, Any]:
    """What a body becomes on its way in."""
    said = {"model": "chat", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}], **fields}
    return AnthropicMessagesWire().read(msgspec.json.encode(said)).body


def sent(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request that reaches Anthropic, and what was left out of it."""
    body, dropped = fitted(body_of(**fields), deployment())
    request = request_of(body, "chat", stream=False)
    assert request.pop("stream") is False
    return request, dropped


def in_chat(dialect: Dialect = "openai", **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body in the words of chat completions, less what was not asked about, and the names of what was lost."""
    body, lost = spoken(body_of(**fields), deployment(dialect), "")
    if "max_tokens" not in fields:
        del body["max_tokens"]
    if "messages" not in fields and "system" not in fields:
        del body["messages"]
    return body, lost


def test_a_rich_body_reaches_anthropic_as_it_came():
    given = copy.deepcopy(RICH)
    assert sent(**given) == (RICH, ())
    assert given == RICH


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 2000, "display": "omitted"}, {"type": "x"}])
def test_thinking_reaches_it_as_it_came(thinking: dict[str, Any]):
    request, dropped = sent(max_tokens=4000, thinking=thinking, output_config={"effort": "low"}, temperature=1)
    assert (request["thinking"], request["output_config"], dropped) == (thinking, {"effort": "low"}, ())


@pytest.mark.parametrize("block", ALONE, ids=lambda block: block["type"])
def test_every_kind_of_block_reaches_it(block: dict[str, Any]):
    messages = [{"role": "user", "content": [block]}]
    assert sent(messages=messages)[0]["messages"] == messages


def test_thoughts_that_nobody_signed_are_left_out_and_named():
    """They are another vendor's, told in this format; Claude refuses a thought that it did not sign."""
    foreign, own = ({"type": "thinking", "thinking": "Hm.", "signature": sign} for sign in ("", "sig"))
    text, call = {"type": "text", "text": "So."}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    asked = {"role": "user", "content": "hello"}
    thinking = {"type": "enabled", "budget_tokens": 1024}

    def told(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
        return [asked, {"role": "assistant", "content": list(blocks)}]

    given = {"max_tokens": 4000, "thinking": thinking}
    request, dropped = sent(messages=[*told(foreign), *told(foreign, text), *told(own, text), asked], **given)
    assert request["messages"] == [asked, *told(text), *told(own, text), asked]
    assert (request["thinking"], dropped) == (thinking, ("messages.thinking",))
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]}
    request, dropped = sent(messages=[*told(foreign, call), result], **given)
    assert request["messages"] == [*told(call), result]
    assert ("thinking" in request, dropped) == (False, ("messages.thinking", "thinking"))
    assert sent(messages=[*told(own, call), result], **given)[1] == ()
    assert sent(messages=[*told(call), result], **given)[1] == ()


def test_tools_and_choices_that_only_anthropic_has_reach_it():
    native: dict[str, Any] = {
        "tools": [{"type": "web_search_20250305", "name": "w"}, {"type": "mcp_toolset", "mcp_server_name": "m"}],
        "tool_choice": {"type": "one_of_tomorrow"},
        "metadata": {"user_id": "u", "more": 1},
        "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "m"}],
        "cache_control": CACHED,
    }  # fmt: skip
    request, dropped = sent(**native)
    assert {name: request[name] for name in native} == native
    assert dropped == ()


@pytest.mark.parametrize(
    ("dialect", "given", "said", "lost"),
    [
        ("openai", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 8000},
         {"reasoning_effort": "low", "max_tokens": 8000}, ()),
        ("openai", {"thinking": {"type": "enabled", "budget_tokens": 7999}, "max_tokens": 8000},
         {"reasoning_effort": "high", "max_tokens": 8000}, ()),
        ("openai", {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
         {"reasoning_effort": "high"}, ("thinking.display",)),
        ("openai", {"thinking": {"type": "disabled"}, "output_config": {"effort": "odd", "x": 1}}, {},
         ("output_config.x", "output_config.effort", "thinking")),
        ("gemini", {"thinking": {"type": "enabled", "budget_tokens": 1024}},
         {"thinking_budget": 1024, "include_thoughts": True}, ()),
        ("gemini", {"thinking": {"type": "disabled"}, "top_k": 4}, {"reasoning_effort": "none", "top_k": 4}, ()),
        ("local", {"top_k": 4}, {"top_k": 4}, ()),
        ("openai", {"metadata": {"user_id": "u"}, "service_tier": "standard_only"},
         {"user": "u", "service_tier": "default"}, ()),
        ("openai", {"metadata": {"user_id": "u" * 65}}, {}, ("metadata.user_id",)),
        ("local", {"metadata": {"user_id": "u" * 65}}, {"user": "u" * 65}, ()),
        ("openai", {"metadata": {"user_id": "u" * 64}}, {"user": "u" * 64}, ()),
        ("openai", {"metadata": {"user_id": "u", "x": 1}, "container": "c", "cache_control": CACHED}, {},
         ("container", "metadata", "cache_control")),
        ("openai", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
         {"response_format": {"type": "json_schema",
                              "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}}, ()),
        ("openai", {"output_format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {}}}}},
         {"response_format": {"type": "json_schema", "json_schema": {
             "name": "answer", "schema": {"type": "object", "properties": {"a": {}}}, "strict": False}}}, ()),
        ("openai", {"output_config": {"format": {"type": "grammar"}}}, {}, ("output_config.format",)),
        ("openai", {"tools": [{"type": "bash_20250124", "name": "bash"}], "tool_choice": {"type": "any"}}, {},
         ("tools[0]", "tool_choice")),
        ("openai", {"tools": RICH["tools"], "tool_choice": {"type": "tool", "name": "gone"}},
         {"tools": [
             {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA,
                                               "strict": True}},
             {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}]},
         ("cache_control", "tools[1].defer_loading", "tool_choice")),
        ("openai", {"tools": RICH["tools"][1:], "tool_choice": {"type": "tool", "name": "g"}},
         {"tools": [{"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}],
          "tool_choice": {"type": "function", "function": {"name": "g"}}}, ("tools[0].defer_loading",)),
    ],
)  # fmt: skip
def test_what_others_have_words_for_is_said_and_the_rest_is_named(dialect, given, said, lost):
    assert in_chat(dialect, **given) == (said, lost)


def test_what_a_model_does_not_take_is_named_as_its_caller_calls_it():
    body = body_of(thinking={"type": "enabled", "budget_tokens": 1024}, stop_sequences=["a"], metadata={"user_id": "u"})
    names = ("temperature", "reasoning_effort", "thinking_budget", "stop[1]", "user", "tools[0].strict")
    called = ("temperature", "thinking", "stop_sequences[1]", "metadata.user_id", "tools[0].strict")
    assert callers_names(body, names) == called
    assert callers_names(body_of(output_config={"effort": "low"}), names[1:2]) == ("output_config.effort",)
    assert callers_names({"messages": []}, names) == names


def test_a_rich_conversation_is_told_in_the_words_of_chat():
    body, lost = in_chat(messages=RICH["messages"], system=RICH["system"])
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    functions = ({"name": "f", "arguments": '{"b":[{"c":null}]}'}, {"name": "g", "arguments": "{}"})
    calls = [{"id": f"t{at}", "type": "function", "function": it} for at, it in enumerate(functions, 1)]
    text = [{"type": "text", "text": words} for words in ("Be kind.", "Long.", "I look.", "And", "see", "so?")]
    assert body["messages"] == [
        {"role": "system", "content": text[:2]},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": text[2:4], "tool_calls": calls},
        {"role": "tool", "tool_call_id": "t1", "content": "no"},
        {"role": "tool", "tool_call_id": "t2", "content": [text[4], image]},
        {"role": "user", "content": [text[5], image]},
        {"role": "user", "content": "a second one"},
    ]
    assert lost == ("cache_control", "messages.thinking", "messages.text.citations", "messages.tool_result.is_error")


def test_papers_are_told_as_far_as_there_are_words():
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "B"}, "title": "P"}
    body, lost = in_chat(messages=[{"role": "user", "content": [pdf, ALONE[0]]}])
    file = {"filename": "P", "file_data": "data:application/pdf;base64,B"}
    assert body["messages"][0]["content"] == [{"type": "file", "file": file}, {"type": "text", "text": "d"}]
    assert lost == ("messages.document.title",)


@pytest.mark.parametrize("block", ALONE[1:], ids=lambda block: block["type"])
@pytest.mark.parametrize("dialect", ["openai", "gemini", "local"])
def test_what_has_no_words_elsewhere_is_refused_by_name(block: dict[str, Any], dialect: Dialect):
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    for content, place in (([block], "content[0]"), ([PNG, result], "content[1].content[0]")):
        with pytest.raises(Inexpressible) as raised:
            in_chat(dialect, system="s", messages=[{"role": "user", "content": content}])
        assert raised.value.where == f"messages[0].{place}"
        assert block["type"] in raised.value.what


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, None),
        ({"tools": [{"name": "f"}, {"type": "custom", "name": "g"}, {"type": "bash_20250124", "name": "bash"}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": [], "text": {}}]}]}, None),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"speed": "fast"}, "speed"),
        ({"speed": "standard", "inference_geo": "global", "mcp_servers": []}, None),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"messages": [{"role": "user", "content": [ALONE[2]]}]}, "file_id"),
        ({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [ALONE[4]]}]}]}, "file_id"),
        ({"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}]}]}, "source.url"),
        ({"messages": [{"role": "user", "content": [*ALONE[:2], ALONE[3], SEARCHED]}]}, None),
    ],
)  # fmt: skip
def test_what_no_hold_can_bound_is_known(fields: dict[str, Any], field: str | None):
    body = body_of(**fields)
    assert unbounded_field(body) == field
    # Whatever stands in a block, it has a bound, and what it needs is known.
    assert input_bound_tokens(body, None) > 0
    assert needed(body) <= {"tools", "vision"}


def test_an_image_that_a_tool_shows_is_bounded_counted_and_needs_sight():
    shown = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "see"}, PNG]}
    body = body_of(messages=[{"role": "user", "content": [shown]}])
    assert input_bound_tokens(body, None) > PER_IMAGE
    assert structure_of(body).images == PER_COUNTED_IMAGE
    assert needed(body) == {"tools", "vision"}
    assert "see" in list(texts_of(body))
    assert needed(body_of(output_config=RICH["output_config"])) == {"json_schema"}


def test_all_that_a_model_reads_of_a_rich_body_is_counted():
    body = body_of(**RICH)
    texts = "\n".join((*texts_of(body), *schemas_of(body)))
    for word in ("Be kind.", "Long.", "hello", "hm", "I look.", '"b"', "no", "see", "so?", "a second one", "does"):
        assert word in texts
    assert "AAAA" not in texts
    assert "EqQB" not in texts
