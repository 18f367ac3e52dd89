"""The service in front of the Gemini API: it answers for another wire format, whole and in events, accounted."""

import json

from tests.gemini_scripts import content, error, events, said
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
name = "gemini"
dialect = "gemini"
base_url = "{root}"
api_key = "AIza-ours"
[[routes]]
name = "chat"
targets = ["gemini:gemini-2.5-flash", "openai:gpt-4o-mini"]
"""
USAGE = {"promptTokenCount": 13, "cachedContentTokenCount": 4, "candidatesTokenCount": 7, "thoughtsTokenCount": 5}
# 9 tokens read, 4 from the cache, 12 written or thought, at the book's prices of gemini-2.5-flash.
COST_NANOUSD = 9 * 300 + 4 * 30 + 12 * 2500


async def chat(service, model, **more):
    """A streamed chat completion: its model and its chunks."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": True, **more}
    async with service.http.post(f"{service.url}/v1/chat/completions", json=body) as response:
        lines = [line async for line in response.content if line.startswith(b"data: {")]
        return response.headers["x-farthing-model"], [json.loads(line[6:]) for line in lines]


def text(chunks):
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def test_gemini_answers_for_chat_completions_whole_and_in_events(tmp_path):
    async with (
        scripted_upstream() as upstream,
        farthing_serve(tmp_path, config=CONFIG.format(url=upstream.url, root=upstream.root)) as service,
    ):
        upstream.plays(content("from Gemini", usage=USAGE))
        params = {"logit_bias": {"1": 1}, "temperature": 0}
        code, body = await service.generate(model="chat", prompt="hi", params=params)
        assert (code, body["output"], body["provider"]) == (200, "from Gemini", "gemini")
        assert (body["prompt_tokens"], body["cached_tokens"], body["completion_tokens"]) == (13, 4, 12)
        assert (body["reasoning_tokens"], body["cost_nanousd"]) == (5, COST_NANOUSD)
        assert body["dropped_params"] == ["logit_bias"]
        assert upstream.requests[-1].headers["x-goog-api-key"] == "AIza-ours"

        upstream.plays(status(503, error(503, "UNAVAILABLE")), answer("from GPT"))
        code, body = await service.generate(model="chat", prompt="hi")
        assert (code, body["output"]) == (200, "from GPT")
        assert [attempt["outcome"] for attempt in body["attempts"]] == ["upstream_error", "ok"]

        # Known by its other name too.
        upstream.plays(content("from Gemini", usage=USAGE))
        model, chunks = await chat(service, "google:gemini-2.5-flash", stream_options={"include_usage": True})
        assert (model, text(chunks)) == ("gemini:gemini-2.5-flash", "from Gemini")
        assert chunks[-1]["usage"]["cost_nanousd"] == COST_NANOUSD

        upstream.plays(events([error(503, "UNAVAILABLE")]), stream(["from ", "GPT"]))
        model, chunks = await chat(service, "chat")
        assert (model, text(chunks)) == ("openai:gpt-4o-mini", "from GPT")

        call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}
        upstream.plays(events([said(call, reason="STOP")]))
        _, chunks = await chat(service, "chat", tools=[{"function": {"name": "f"}}])
        (piece,) = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
        assert (piece["id"], piece["function"]) == ("call_r1_0_0", {"name": "f", "arguments": '{"a":1}'})
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
