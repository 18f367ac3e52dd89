"""The official `openai` package's chat completions, unchanged: what its helpers need, and what they send, as it is."""

from contextlib import asynccontextmanager

import openai
import pytest
from pydantic import BaseModel

from tests import anthropic_scripts as claude
from tests import gemini_scripts as gemini
from tests.router.gateways import a_deployment, open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import answer, scripted_upstream, status, stream

HELLO = [{"role": "user", "content": "hello"}]
TOKEN = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}
ARGUMENTS = '{"name":"farthing","pence":0.25}'
PICTURE = "data:image/png;base64,iVBORw0KGgo="
# Everything that a caller can say to a model of OpenAI's own, which is to hear it as it was said.
SAID = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "name": "Ann",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            ],
        },
    ],
    "frequency_penalty": 0.5,
    "functions": [{"name": "weigh", "parameters": {"type": "object"}}],
    "function_call": "auto",
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "metadata": {"a": "b"},
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "half"},
    "presence_penalty": -0.5,
    "prompt_cache_key": "k",
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "safety_identifier": "s",
    "seed": 7,
    "service_tier": "flex",
    "stop": ["END"],
    "store": True,
    "temperature": 0.5,
    "tool_choice": "none",
    "tools": [{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object"}}}],
    "top_logprobs": 2,
    "top_p": 0.9,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}


class Coin(BaseModel):
    """What the model is to answer in."""

    name: str
    pence: float


FARTHING = Coin(name="farthing", pence=0.25)


@asynccontextmanager
async def a_service(tmp_path, dialect="openai"):
    """The service with one deployment of this dialect, and an SDK for it."""
    async with scripted_upstream() as upstream:
        target = a_deployment("up", upstream.url if dialect == "openai" else upstream.root, dialect=dialect)
        async with (
            open_gateway(tmp_path, upstream, targets=(target,)) as house,
            an_edge(gateway=house.gateway) as (edge, _),
            openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=0) as sdk,
        ):
            yield upstream, sdk.chat.completions


async def test_all_that_is_said_reaches_the_provider_as_it_was_said(tmp_path):
    two = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "logprobs": {"content": [TOKEN], "refusal": None},
                "finish_reason": "stop",
            }
            for index, text in enumerate(("a", "b"))
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        "system_fingerprint": "fp",
        "service_tier": "flex",
    }
    async with a_service(tmp_path) as (upstream, completions):
        upstream.plays(status(200, two))
        completion = await completions.create(model="chat", **SAID)
        assert upstream.requests[0].body == {**SAID, "model": "model-up", "stream": False}
        assert [choice.message.content for choice in completion.choices] == ["a", "b"]
        assert completion.choices[1].logprobs.content[0].token == "Hi"
        assert (completion.system_fingerprint, completion.service_tier) == ("fp", "flex")


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_an_answer_in_a_form_is_parsed_whole_and_streamed(tmp_path, dialect):
    script = answer if dialect == "openai" else claude.message
    async with a_service(tmp_path, dialect) as (upstream, completions):
        upstream.plays(script(ARGUMENTS), script(ARGUMENTS))
        parsed = await completions.parse(model="chat", messages=HELLO, response_format=Coin)
        assert parsed.choices[0].message.parsed == FARTHING
        async with completions.stream(model="chat", messages=HELLO, response_format=Coin, temperature=0) as coming:
            kinds = {event.type async for event in coming}
            final = await coming.get_final_completion()
        assert {"chunk", "content.delta", "content.done"} <= kinds
        assert final.choices[0].message.parsed == FARTHING


async def test_calls_of_every_kind_come_whole_streamed_and_from_the_store(tmp_path):
    function = {"name": "Coin", "arguments": ARGUMENTS}
    tool = {"index": 0, "id": "c1", "type": "function", "function": function}
    custom = {"index": 1, "id": "c2", "type": "custom", "custom": {"name": "g", "input": "raw"}}
    tools = [openai.pydantic_function_tool(Coin)]
    async with a_service(tmp_path) as (upstream, completions):
        # A call's name and arguments in pieces of their own, as OpenAI streams them.
        begun = {**tool, "function": {"name": "Coin", "arguments": ""}}
        pieces = [{"index": 0, "function": {"arguments": piece}} for piece in (ARGUMENTS[:9], ARGUMENTS[9:])]
        script = stream([{"tool_calls": [piece]} for piece in (begun, *pieces)], finish_reason="tool_calls")
        upstream.plays(script)
        async with completions.stream(model="chat", messages=HELLO, tools=tools) as coming:
            final = await coming.get_final_completion()
        (called,) = final.choices[0].message.tool_calls
        assert (called.id, called.function.parsed_arguments) == ("c1", FARTHING)
        stored = await completions.parse(model="chat", messages=HELLO, tools=tools)
        assert stored.choices[0].message.tool_calls[0].function.parsed_arguments == FARTHING
        upstream.plays(answer("", message={"content": None, "tool_calls": [tool, custom]}, finish_reason="tool_calls"))
        whole = await completions.create(model="chat", messages=HELLO, temperature=0)
        calls = [call.to_dict() for call in whole.choices[0].message.tool_calls]
        assert calls == [{key: value for key, value in call.items() if key != "index"} for call in (tool, custom)]
        streamed = [
            chunk async for chunk in await completions.create(model="chat", messages=HELLO, temperature=0, stream=True)
        ]
        assert streamed[0].choices[0].delta.to_dict()["tool_calls"][1]["custom"] == custom["custom"]


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
    async with a_service(tmp_path) as (upstream, completions):
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
    async with a_service(tmp_path) as (upstream, completions):
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


async def test_a_legacy_call_and_sound_come_in_pieces_and_whole_from_the_store(tmp_path):
    legacy = [{"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}]
    sound = [
        {"audio": {"id": "a1", "data": "UklG", "transcript": "He"}},
        {"audio": {"data": "Rg==", "transcript": "y"}},
    ]
    async with a_service(tmp_path) as (upstream, completions):
        upstream.plays(stream(legacy, finish_reason="function_call"), stream(sound))
        asked = {"model": "chat", "messages": HELLO}
        chunks = [chunk async for chunk in await completions.create(**asked, seed=1, stream=True)]
        arguments = [it.choices[0].delta.function_call.arguments for it in chunks if it.choices[0].delta.function_call]
        assert arguments == ["{", "}"]
        stored = await completions.create(**asked, seed=1)
        assert stored.choices[0].message.function_call.to_dict() == {"name": "f", "arguments": "{}"}
        assert [chunk async for chunk in await completions.create(**asked, seed=2, stream=True)]
        heard = await completions.create(**asked, seed=2)
        assert heard.choices[0].message.audio.to_dict() == {"id": "a1", "data": "UklGRg==", "transcript": "Hey"}
        assert len(upstream.requests) == 2


CITATIONS = [{"type": "char_location", "cited_text": text, "document_index": 0} for text in "ab"]
THOUGHTS = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "x"}]
SEARCHES = [{"type": "server_tool_use", "id": name, "name": "web_search", "input": {}} for name in ("s1", "s2")]


async def gathered(completions, seed):
    """The message that the package's own helper makes of a stream."""
    async with completions.stream(model="chat", messages=HELLO, seed=seed) as coming:
        assert [event async for event in coming]
        return (await coming.get_final_completion()).choices[0].message.to_dict()


def numbered(entries):
    return [{**entry, "index": index} for index, entry in enumerate(entries)]


async def test_what_claude_says_beside_its_words_is_added_up_by_the_stream_helper_and_goes_back(tmp_path):
    blocks = [*THOUGHTS, *SEARCHES, {"type": "text", "text": "It is.", "citations": CITATIONS}]
    async with a_service(tmp_path, "anthropic") as (upstream, completions):
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
    async with a_service(tmp_path, "gemini") as (upstream, completions):
        upstream.plays(script)
        message = await gathered(completions, 1)
        assert message["content"] == "ab"
        assert message["safetyRatings"] == numbered(rated["safetyRatings"] * 2)
        assert message["thought_signatures"] == numbered([{"signature": text} for text in "ab"])
        assert message["groundingMetadata"]["groundingChunks"] == numbered([{"web": {"uri": uri}} for uri in "ab"])
