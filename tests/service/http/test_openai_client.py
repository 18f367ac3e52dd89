"""The official `openai` package, unchanged, against the /v1 paths."""

from contextlib import asynccontextmanager

import openai
import pytest

from ledger.errors import CeilingExceeded
from router.answer import Answer, Choice, Delta, ToolCall, ToolCallDelta
from router.errors import Overloaded, UnknownModel, UpstreamFailed
from tests.service.http.scripted import an_edge, finished, text
from tests.service.http.test_generation import TIGHT

MESSAGES = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def an_sdk(**limits):
    async with (
        an_edge(**limits) as (edge, _),
        openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=0) as sdk,
    ):
        yield edge, sdk


async def test_a_completion_has_text_usage_and_cost():
    async with an_sdk() as (edge, sdk):
        completion = await sdk.chat.completions.create(model="chat", messages=MESSAGES, max_tokens=5)
        assert completion.choices[0].message.content == "half a farthing"
        assert completion.choices[0].finish_reason == "stop"
        assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (21, 29)
        assert completion.usage.cost_nanousd == 7950
        assert completion.model == "gpt-4o-mini-2024"
        assert completion.id == edge.gateway.calls[0].generation_id.replace("gen_", "chatcmpl-")


async def test_unknown_fields_reach_the_provider_and_ours_do_not():
    async with an_sdk() as (edge, sdk):
        await sdk.chat.completions.create(
            model="chat", messages=MESSAGES, user="u7", extra_body={"top_k": 3, "nested": {"a": [1, None]}}
        )
        (call,) = edge.gateway.calls
        assert call.model == "chat"
        assert call.body == {"messages": MESSAGES, "user": "u7", "top_k": 3, "nested": {"a": [1, None]}}
        assert call.attribution.user == "u7"


async def test_a_stream_begins_with_the_role_and_ends_with_usage_when_asked():
    async with an_sdk() as (edge, sdk):
        edge.gateway.script = lambda call: [*text("half", " a farthing"), finished(call)]
        stream = await sdk.chat.completions.create(
            model="chat", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "stream_options" not in edge.gateway.calls[0].body
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [chunk.choices[0].delta.role for chunk in chunks[1:-1]] == [None, None]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "half a farthing"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage.cost_nanousd == 7950
        assert {chunk.model for chunk in chunks} == {"gpt-4o-mini"}
        assert len({chunk.id for chunk in chunks}) == 1


async def test_no_usage_chunk_comes_unasked():
    async with an_sdk() as (edge, sdk):
        edge.gateway.script = lambda call: [*text("half"), finished(call)]
        chunks = [
            chunk async for chunk in await sdk.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        ]
        assert len(chunks) == 2
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_streamed_tool_calls_reasoning_and_unknown_delta_fields_arrive():
    pieces = [
        Delta(reasoning="hm", extra={"annotations": [1]}),
        Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="weigh", arguments=""),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments='{"coin"'),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"),), finish_reason="tool_calls"),
        Delta(choice=1, text="other", logprobs={"content": []}),
    ]
    async with an_sdk() as (edge, sdk):
        edge.gateway.script = lambda call: [*pieces, finished(call)]
        stream = await sdk.chat.completions.create(model="chat", messages=MESSAGES, stream=True, n=2)
        choices = [chunk.choices[0] async for chunk in stream]
        assert choices[0].delta.reasoning_content == "hm"
        assert choices[0].delta.annotations == [1]
        assert choices[1].delta.tool_calls[0].id == "call_1"
        assert choices[1].delta.tool_calls[0].function.name == "weigh"
        assert "".join(choice.delta.tool_calls[0].function.arguments for choice in choices[1:4]) == '{"coin":1}'
        assert choices[3].finish_reason == "tool_calls"
        assert (choices[4].index, choices[4].delta.role, choices[4].delta.content) == (1, "assistant", "other")


async def test_whole_tool_calls_arrive():
    tool = ToolCall(id="call_1", name="weigh", arguments='{"coin":1}')
    answer = Answer(choices=(Choice(text=None, tool_calls=(tool,), finish_reason="tool_calls"),), usage=None)
    async with an_sdk() as (edge, sdk):
        edge.gateway.script = lambda call: [finished(call, answer=answer)]
        completion = await sdk.chat.completions.create(model="chat", messages=MESSAGES)
        assert completion.choices[0].message.content is None
        assert completion.choices[0].message.tool_calls[0].function.arguments == '{"coin":1}'


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (UnknownModel("nope", ("chat",)), openai.NotFoundError, "unknown_model"),
        (CeilingExceeded(TIGHT), openai.APIStatusError, "ceiling_exceeded"),
        (Overloaded(), openai.InternalServerError, "overloaded"),
    ],
)
async def test_refusals_are_the_sdks_own_exceptions(refusal, kind, code):
    async with an_sdk() as (edge, sdk):
        edge.gateway.refusal = refusal
        with pytest.raises(kind) as caught:
            await sdk.chat.completions.create(model="chat", messages=MESSAGES)
        assert caught.value.code == code
        assert caught.value.body["message"]


async def test_an_error_midway_is_raised_by_the_sdk():
    async with an_sdk() as (edge, sdk):
        edge.gateway.script = lambda _call: [Delta(text="half"), UpstreamFailed(())]
        stream = await sdk.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        assert (await anext(stream)).choices[0].delta.content == "half"
        with pytest.raises(openai.APIError) as caught:
            await anext(stream)
        assert caught.value.code == "upstream_failed"


async def test_models_are_the_routes_and_their_deployments():
    async with an_sdk() as (_, sdk):
        models = [model async for model in await sdk.models.list()]
        assert [model.id for model in models] == ["chat", "openai:gpt-4o-mini", "hub:org/model:free"]
        assert [model.owned_by for model in models] == ["farthing", "openai", "hub"]
        assert (await sdk.models.retrieve("hub:org/model:free")).id == "hub:org/model:free"
        with pytest.raises(openai.NotFoundError) as caught:
            await sdk.models.retrieve("nope")
        assert caught.value.code == "unknown_model"


async def test_an_sdk_retries_what_may_pass_and_not_what_cannot():
    async with an_edge() as (edge, _):
        for refusal, calls in ((Overloaded(retry_after_s=0.01), 2), (CeilingExceeded(TIGHT), 1)):
            edge.gateway.calls.clear()
            edge.gateway.refusal = refusal
            async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=1) as sdk:
                with pytest.raises(openai.APIStatusError):
                    await sdk.chat.completions.create(model="chat", messages=MESSAGES)
            assert len(edge.gateway.calls) == calls
