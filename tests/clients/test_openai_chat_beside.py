"""What a provider says beside a chat completion's words, by the official `openai` package, unchanged."""

import json

import openai
import pytest
from pydantic import BaseModel

from tests import anthropic_scripts as claude
from tests import gemini_scripts as gemini
from tests.clients.serving import HELLO, a_chat_service
from tests.openai_scripts import event_stream
from tests.upstream import answer, status, stream

CITATIONS = [{"type": "char_location", "cited_text": text, "document_index": 0} for text in "ab"]
THOUGHTS = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "x"}]
SEARCHES = [{"type": "server_tool_use", "id": name, "name": "web_search", "input": {}} for name in ("s1", "s2")]


class Coin(BaseModel):
    """What a tool takes."""

    name: str


async def gathered(completions, seed):
    """The message that the package's own helper makes of a stream."""
    async with completions.stream(model="chat", messages=HELLO, seed=seed) as coming:
        assert [event async for event in coming]
        return (await coming.get_final_completion()).choices[0].message.to_dict()


def numbered(entries):
    return [{**entry, "index": index} for index, entry in enumerate(entries)]


async def test_what_a_provider_adds_to_a_call_comes_whole_streamed_and_from_the_store_and_goes_back(tmp_path):
    """Gemini 3 at Google's own OpenAI-compatible endpoint refuses a call that lost its signature."""
    signed = {
        "id": "c1",
        "type": "function",
        "function": {"name": "Coin", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "SIG"}},
    }
    asked = {"model": "chat", "messages": HELLO, "tools": [openai.pydantic_function_tool(Coin)]}
    said = answer("", message={"content": None, "tool_calls": [signed]}, finish_reason="tool_calls")
    streamed = stream([{"tool_calls": [{**signed, "index": 0}]}], finish_reason="tool_calls")
    async with a_chat_service(tmp_path) as (upstream, completions):
        for seed, script in enumerate((said, streamed)):
            upstream.plays(script)
            for is_stream in (bool(seed), False, True):
                if is_stream:
                    chunks = [it async for it in await completions.create(**asked, seed=seed, stream=True)]
                    (call,) = [call for it in chunks for call in it.choices[0].delta.tool_calls or ()]
                    assert call.to_dict() == {**signed, "index": 0}
                else:
                    message = (await completions.create(**asked, seed=seed)).choices[0].message
                    assert message.to_dict()["tool_calls"] == [signed]
        assert len(upstream.requests) == 2
        upstream.plays(answer())
        result = {"role": "tool", "tool_call_id": "c1", "content": "a farthing"}
        await completions.create(model="chat", messages=[*HELLO, message, result])
        assert upstream.requests[-1].body["messages"][1]["tool_calls"] == [signed]


async def test_what_a_provider_says_of_a_choice_stays_beside_its_message(tmp_path):
    """Azure's verdicts and OpenRouter's own ending, in whole answers and from the store."""
    of_choice = {"content_filter_results": {"hate": {"filtered": False}}, "native_finish_reason": "STOP"}
    said = {"role": "assistant", "content": "Hi", "annotations": []}
    choice = {"index": 0, "message": said, "finish_reason": "stop", "logprobs": None, **of_choice}
    asked = {"model": "chat", "messages": HELLO}
    async with a_chat_service(tmp_path) as (upstream, completions):
        upstream.plays(status(200, {"id": "c", "choices": [choice]}))
        for _ in ("live", "stored"):
            whole = (await completions.create(**asked)).choices[0].to_dict()
            assert whole == {**choice, "message": {**said, "refusal": None}}
        chunks = [chunk async for chunk in await completions.create(**asked, stream=True)]
        assert chunks[0].choices[0].to_dict() == {
            "index": 0,
            "delta": said,
            "finish_reason": "stop",
            "logprobs": None,
            **of_choice,
        }
        assert len(upstream.requests) == 1


async def test_what_a_provider_counts_beside_tokens_is_in_the_usage_whole_streamed_and_from_the_store(tmp_path):
    counted = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 2, "text_tokens": 9},
        "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 3},
        "queue_time": 0.1,
        "cost": 0.001,
    }
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    piece = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    chunks = ({**said, "choices": [piece]}, {**said, "choices": [], "usage": counted})
    script = event_stream(b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks))
    asked = {"model": "chat", "messages": HELLO}
    async with a_chat_service(tmp_path) as (upstream, completions):
        upstream.plays(script)
        for _ in ("live", "stored"):
            options = {"stream": True, "stream_options": {"include_usage": True}}
            told = [chunk async for chunk in await completions.create(**asked, **options)]
            usage = told[-1].usage.to_dict()
            assert {name: usage[name] for name in counted} == counted
        usage = (await completions.create(**asked)).usage.to_dict()
        assert {name: usage[name] for name in counted} == counted
        assert usage["cost_basis"]
        assert len(upstream.requests) == 1


async def test_what_claude_says_beside_its_words_is_added_up_by_the_stream_helper_and_goes_back(tmp_path):
    blocks = [*THOUGHTS, *SEARCHES, {"type": "text", "text": "It is.", "citations": CITATIONS}]
    async with a_chat_service(tmp_path, "anthropic") as (upstream, completions):
        upstream.plays(claude.events(claude.streamed_blocks(blocks)))
        live, stored = await gathered(completions, 1), await gathered(completions, 1)
        assert len(upstream.requests) == 1
        for message in (live, stored):
            assert message["content"] == "It is."
            assert message["thinking_blocks"] == numbered(THOUGHTS)
            assert message["content_blocks"] == numbered(SEARCHES)
            assert message["citations"] == numbered(CITATIONS)
        whole = await completions.create(model="chat", messages=HELLO, seed=1)
        assert whole.choices[0].message.to_dict()["thinking_blocks"] == THOUGHTS
        upstream.plays(claude.message())
        await completions.create(model="chat", messages=[*HELLO, live, *HELLO])
        (_, said, _) = upstream.requests[-1].body["messages"]
        assert said["content"] == [*THOUGHTS, {"type": "text", "text": "It is."}]


async def test_what_gemini_says_beside_its_words_is_added_up_by_the_stream_helper(tmp_path):
    rated = {"safetyRatings": [{"category": "HARM", "probability": "LOW"}]}
    found = [{"groundingMetadata": {"groundingChunks": [{"web": {"uri": uri}}]}} for uri in "ab"]
    signed = [{"text": text, "thoughtSignature": text} for text in "ab"]
    script = gemini.events(
        [gemini.said(signed[0], **rated, **found[0]), gemini.said(signed[1], reason="STOP", **rated, **found[1])]
    )
    async with a_chat_service(tmp_path, "gemini") as (upstream, completions):
        upstream.plays(script)
        message = await gathered(completions, 1)
        assert message["content"] == "ab"
        assert message["safetyRatings"] == numbered(rated["safetyRatings"] * 2)
        assert message["thought_signatures"] == numbered([{"signature": text} for text in "ab"])
        assert message["groundingMetadata"]["groundingChunks"] == numbered([{"web": {"uri": uri}} for uri in "ab"])


async def test_the_package_knows_each_request_by_the_name_that_it_has_here(tmp_path):
    async with a_chat_service(tmp_path) as (upstream, completions):
        upstream.plays(answer())
        for _ in range(2):
            raw = await completions.with_raw_response.create(model="chat", messages=HELLO)
            assert raw.parse()._request_id == raw.headers["x-farthing-id"]
        with pytest.raises(openai.NotFoundError) as raised:
            await completions.create(model="no such model", messages=HELLO)
        assert raised.value.request_id == raised.value.response.headers["x-farthing-id"]
