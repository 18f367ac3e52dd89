"""The official `openai` package's chat completions, unchanged: what its helpers need, and what they send, as it is."""

import openai
import pytest
from pydantic import BaseModel

from tests import anthropic_scripts as claude
from tests.clients.serving import HELLO, a_chat_service
from tests.upstream import answer, status, stream

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
    async with a_chat_service(tmp_path) as (upstream, completions):
        upstream.plays(status(200, two))
        completion = await completions.create(model="chat", **SAID)
        assert upstream.requests[0].body == {**SAID, "model": "model-up", "stream": False}
        assert [choice.message.content for choice in completion.choices] == ["a", "b"]
        assert completion.choices[1].logprobs.content[0].token == "Hi"
        assert (completion.system_fingerprint, completion.service_tier) == ("fp", "flex")


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_an_answer_in_a_form_is_parsed_whole_and_streamed(tmp_path, dialect):
    script = answer if dialect == "openai" else claude.message
    async with a_chat_service(tmp_path, dialect) as (upstream, completions):
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
    async with a_chat_service(tmp_path) as (upstream, completions):
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


async def test_a_legacy_call_and_sound_come_in_pieces_and_whole_from_the_store(tmp_path):
    legacy = [{"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}]
    sound = [
        {"audio": {"id": "a1", "data": "UklG", "transcript": "He"}},
        {"audio": {"data": "Rg==", "transcript": "y"}},
    ]
    async with a_chat_service(tmp_path) as (upstream, completions):
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
