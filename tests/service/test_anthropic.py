"""The service in front of two wire formats: each answers for the other, whole and in events, and both are accounted."""

import json

from tests.anthropic_scripts import USAGE, events, message, overloaded, start
from tests.processes import farthing_serve
from tests.upstream import answer, scripted_upstream, status, stream

CONFIG = """
[cache]
enabled = false
[[providers]]
name = "openai"
dialect = "openai"
base_url = "{url}"
[[providers]]
name = "anthropic"
dialect = "anthropic"
base_url = "{root}"
api_key = "sk-ant"
[[routes]]
name = "claude"
targets = ["anthropic:claude-sonnet-4-5", "openai:gpt-4o-mini"]
[[routes]]
name = "gpt"
targets = ["openai:gpt-4o-mini", "anthropic:claude-sonnet-4-5"]
"""
# 9 tokens read, 4 from the cache, 3 into it for five minutes, 7 written, at the book's prices of claude-sonnet-4-5.
COST_NANOUSD = 9 * 3000 + 4 * 300 + 3 * 3750 + 7 * 15_000
TOOL_USE = [
    start(),
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t1", "name": "f"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]


async def chat(service, model, **more):
    """A chat completion: status, headers and the object, or the chunks of a stream."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    async with service.http.post(f"{service.url}/v1/chat/completions", json=body) as response:
        if not more.get("stream"):
            return response.status, response.headers, await response.json()
        lines = [line async for line in response.content if line.startswith(b"data: {")]
        return response.status, response.headers, [json.loads(line[6:]) for line in lines]


def outcomes(body):
    return [(attempt["provider"], attempt["outcome"]) for attempt in body["attempts"]]


async def test_either_format_answers_for_the_other_whole_and_in_events(tmp_path):
    async with scripted_upstream() as upstream:
        config = CONFIG.format(url=upstream.url, root=upstream.root)
        async with farthing_serve(tmp_path, config=config) as service:
            upstream.plays(message("from Claude"))
            code, body = await service.generate(model="claude", prompt="hi", params={"seed": 1, "temperature": 0})
            assert (code, body["output"], body["provider"], body["cost_nanousd"]) == (
                200,
                "from Claude",
                "anthropic",
                COST_NANOUSD,
            )
            assert (body["prompt_tokens"], body["cached_tokens"], body["completion_tokens"]) == (16, 4, 7)
            assert body["dropped_params"] == ["seed"]
            assert upstream.requests[-1].headers["x-api-key"] == "sk-ant"

            lives = {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}
            upstream.plays(message("kept", usage={**USAGE, "cache_creation": lives}))
            _, body = await service.generate(model="claude", prompt="hi")
            assert body["cost_nanousd"] == COST_NANOUSD + 2 * (6000 - 3750)
            async with service.http.get(f"{service.url}/ledger/generations/{body['id']}") as response:
                (posting,) = (await response.json())["attempts"][0]["postings"]
            charges = {it["of"]: (it["tokens"], it["cost_nanousd"]) for it in posting["arithmetic"]["charges"]}
            assert (charges["cache write"], charges["cache write for 1 h"]) == ((1, 3750), (2, 12_000))

            upstream.plays(overloaded(), answer("from GPT"))
            code, body = await service.generate(model="claude", prompt="hi", params={"seed": 1})
            assert (code, body["output"], body["dropped_params"]) == (200, "from GPT", [])
            assert outcomes(body) == [("anthropic", "upstream_error"), ("openai", "ok")]
            assert upstream.requests[-1].body["seed"] == 1

            upstream.plays(status(500), message("from Claude"))
            code, headers, body = await chat(service, "gpt", seed=1)
            assert (code, headers["x-farthing-model"], headers["x-farthing-dropped"]) == (
                200,
                "anthropic:claude-sonnet-4-5",
                "seed",
            )
            assert body["choices"][0]["message"]["content"] == "from Claude"
            assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "cache_write_tokens": 3}

            error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            upstream.plays(events([start(), error]), stream(["from ", "GPT"]))
            code, headers, chunks = await chat(service, "claude", stream=True)
            assert (code, headers["x-farthing-model"]) == (200, "openai:gpt-4o-mini")
            assert said(chunks) == "from GPT"

            upstream.plays(status(500), message("from Claude"))
            code, headers, chunks = await chat(service, "gpt", stream=True, stream_options={"include_usage": True})
            assert (said(chunks), chunks[-1]["usage"]["cost_nanousd"]) == ("from Claude", COST_NANOUSD)

            upstream.plays(events(TOOL_USE))
            _, _, chunks = await chat(service, "claude", stream=True, tools=[{"function": {"name": "f"}}])
            pieces = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
            assert (pieces[0]["id"], pieces[0]["function"]["name"]) == ("t1", "f")
            assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"a": 1}'
            assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def said(chunks):
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def test_what_claude_cannot_be_told_goes_to_whoever_can_be_and_is_refused_where_nobody_can(tmp_path):
    audio = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}}]}]
    async with scripted_upstream() as upstream:
        config = CONFIG.format(url=upstream.url, root=upstream.root)
        async with farthing_serve(tmp_path, config=config) as service:
            upstream.plays(answer("heard"))
            code, body = await service.generate(model="claude", messages=audio)
            assert (code, outcomes(body)) == (200, [("openai", "ok")])
            code, body = await service.generate(model="anthropic:claude-sonnet-4-5", messages=audio)
            assert (code, body["code"], body["param"]) == (400, "invalid_request", "messages[0].content[0]")
            assert len(upstream.requests) == 1
