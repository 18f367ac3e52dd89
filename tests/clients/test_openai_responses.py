"""The official `openai` package's `responses`, unchanged, against the service in front of scripted providers."""

import json
from contextlib import asynccontextmanager

import openai
import pytest
from pydantic import BaseModel

from ledger.ceilings import Ceiling
from tests import anthropic_scripts as claude
from tests.openai_scripts import a_response, event_stream, events, last, responded, text_item
from tests.router.gateways import a_deployment, open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import answer, scripted_upstream, status, stream

CHAT, RESPONSES, ANTHROPIC = "chat completions", "responses", "anthropic"
SPEAKERS = (CHAT, RESPONSES, ANTHROPIC)
PATHS = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", ANTHROPIC: "/v1/messages"}
DEFAULTS = {CHAT: answer(), RESPONSES: responded(), ANTHROPIC: claude.message()}
WEIGH = {
    "type": "function",
    "name": "weigh",
    "description": "Weighs a coin.",
    "parameters": {"type": "object", "properties": {"coin": {"type": "string"}}},
    "strict": False,
}
ARGUMENTS = '{"coin":"farthing"}'


class Coin(BaseModel):
    """What the model is to answer in."""

    name: str
    pence: float


COIN = '{"name":"farthing","pence":0.25}'


@asynccontextmanager
async def a_service(tmp_path, speaks, **gateway):
    """The service with one deployment that answers so, and an SDK for it."""
    async with scripted_upstream() as upstream:
        upstream.default = DEFAULTS[speaks]
        is_openai = speaks != ANTHROPIC
        target = a_deployment(
            "up",
            upstream.url if is_openai else upstream.root,
            dialect="openai" if is_openai else "anthropic",
            has_responses=speaks == RESPONSES,
        )
        async with (
            open_gateway(tmp_path, upstream, targets=(target,), **gateway) as house,
            an_edge(gateway=house.gateway) as (edge, _),
            openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=0) as sdk,
        ):
            yield upstream, sdk


def saying(speaks, text):
    """A script that says this text, whole or streamed."""
    return {CHAT: answer, RESPONSES: responded, ANTHROPIC: claude.message}[speaks](text)


def calling(speaks):
    """A script that thinks and then calls the tool, whole or streamed."""
    if speaks == CHAT:
        called = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weigh", "arguments": ARGUMENTS}}
        message = {"content": None, "reasoning_content": "Hm.", "tool_calls": [called]}
        return stream([message], finish_reason="tool_calls"), answer("", message=message, finish_reason="tool_calls")
    if speaks == ANTHROPIC:
        content = [
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
            {"type": "tool_use", "id": "c1", "name": "weigh", "input": json.loads(ARGUMENTS)},
        ]
        said = [
            claude.start(),
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "id": "c1", "name": "weigh", "input": {}},
            },
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": ARGUMENTS},
            },
            {"type": "content_block_stop", "index": 1},
            claude.end(stop_reason="tool_use"),
            {"type": "message_stop"},
        ]
        return claude.events(said), status(200, claude.whole(content, stop_reason="tool_use"))
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA",
    }
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "weigh",
        "arguments": ARGUMENTS,
        "status": "completed",
    }
    place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    said = [
        {"type": "response.created", "response": a_response(status="in_progress", usage=None)},
        {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "summary": []}},
        {"type": "response.reasoning_summary_part.added", **place, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **place, "delta": "Hm."},
        {"type": "response.reasoning_summary_text.done", **place, "text": "Hm."},
        {"type": "response.reasoning_summary_part.done", **place, "part": thought["summary"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "arguments": ""}},
        {
            "type": "response.function_call_arguments.delta",
            "item_id": "fc_1",
            "output_index": 1,
            "delta": ARGUMENTS,
        },
        {
            "type": "response.function_call_arguments.done",
            "item_id": "fc_1",
            "output_index": 1,
            "arguments": ARGUMENTS,
        },
        {"type": "response.output_item.done", "output_index": 1, "item": call},
        last(a_response(thought, call)),
    ]
    return event_stream(events(*said)), status(200, a_response(thought, call))


async def heard(sdk, **fields):
    """(all events, the response that they come to)."""
    async with sdk.responses.stream(model="chat", **fields) as coming:
        told = [event async for event in coming]
        return told, await coming.get_final_response()


@pytest.mark.parametrize("speaks", SPEAKERS)
async def test_a_response_its_stream_its_replay_and_its_form(tmp_path, speaks):
    async with a_service(tmp_path, speaks) as (upstream, sdk):
        response = await sdk.responses.create(
            model="chat", input="hello", instructions="Be kind.", max_output_tokens=50, temperature=0.5
        )
        assert upstream.requests[0].path.endswith(PATHS[speaks])
        assert response.output_text == "Hello there."
        assert (response.status, response.object, response.error) == ("completed", "response", None)
        assert (response.instructions, response.temperature, response.max_output_tokens) == ("Be kind.", 0.5, 50)
        assert (response.tools, response.tool_choice, response.parallel_tool_calls) == ([], "auto", True)
        usage = response.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert usage.input_tokens_details.cached_tokens == (0 if speaks == CHAT else 4)
        assert usage.cost_nanousd > 0
        told, final = await heard(sdk, input="hi", max_output_tokens=50)
        assert [event.sequence_number for event in told] == list(range(len(told)))
        pieces = [event.delta for event in told if event.type == "response.output_text.delta"]
        assert pieces == ["Hello ", "there."]
        assert (final.output_text, final.status, final.usage.total_tokens) == (
            "Hello there.",
            "completed",
            16 if speaks == RESPONSES else final.usage.total_tokens,
        )
        again, replayed = await heard(sdk, input="hi", max_output_tokens=50)
        assert {event.type for event in told} - {event.type for event in again} == set()
        assert [item.to_dict() for item in replayed.output] == [
            {**item.to_dict(), "id": replayed.output[place].id} for place, item in enumerate(final.output)
        ]
        assert replayed.usage.cost_nanousd == 0
        assert len(upstream.requests) == 2
        upstream.plays(saying(speaks, COIN), saying(speaks, COIN))
        parsed = await sdk.responses.parse(model="chat", input="Which coin?", text_format=Coin)
        assert parsed.output_parsed == Coin(name="farthing", pence=0.25)
        _, final = await heard(sdk, input="Which coin is it?", text_format=Coin)
        assert final.output_parsed == Coin(name="farthing", pence=0.25)


@pytest.mark.parametrize("speaks", SPEAKERS)
async def test_thoughts_and_tools_there_and_back(tmp_path, speaks):
    streamed, whole = calling(speaks)
    async with a_service(tmp_path, speaks) as (upstream, sdk):
        asked = {"tools": [WEIGH], "reasoning": {"effort": "low", "summary": "auto"}, "max_output_tokens": 2000}
        upstream.plays(whole, streamed)
        first = await sdk.responses.create(model="chat", input="Weigh it.", **asked)
        told, second = await heard(sdk, input="Weigh it again.", **asked)
        assert "response.reasoning_summary_text.delta" in {event.type for event in told}
        assert "response.function_call_arguments.done" in {event.type for event in told}
        for response in (first, second):
            thought, call = response.output
            assert (thought.type, thought.summary[0].text) == ("reasoning", "Hm.")
            assert (call.type, call.call_id, call.name, call.arguments) == ("function_call", "c1", "weigh", ARGUMENTS)
            assert response.tools[0].name == "weigh"
            items = [item.to_dict() for item in response.output]
            result = {"type": "function_call_output", "call_id": "c1", "output": "43.3 grains"}
            sent = [{"role": "user", "content": "Weigh it."}, *items, result]
            done = await sdk.responses.with_raw_response.create(model="chat", input=sent, store=False, **asked)
            body = upstream.requests[-1].body
            if speaks == RESPONSES:
                assert (body["input"], body["tools"], done.headers.get("x-farthing-dropped")) == (sent, [WEIGH], None)
                assert items[0]["encrypted_content"] == "gAAA"
            elif speaks == ANTHROPIC:
                said, results = body["messages"][1:]
                assert [block["type"] for block in said["content"]] == ["thinking", "tool_use"]
                assert said["content"][0]["signature"] == "sig"
                assert results["content"][0]["type"] == "tool_result"
            else:
                assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
                dropped = set(done.headers["x-farthing-dropped"].split(","))
                assert dropped == {"input.reasoning", "reasoning.summary"}


async def test_what_only_openai_has_reaches_it_and_its_answer_comes_back_whole(tmp_path):
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    source = {"type": "url_citation", "url": "http://h", "title": "t", "start_index": 0, "end_index": 5}
    text = text_item("Small.", annotations=[source])
    said = [
        {"type": "response.created", "response": a_response(status="in_progress", usage=None)},
        {"type": "response.output_item.added", "output_index": 0, "item": {**search, "status": "in_progress"}},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
        {"type": "response.output_item.done", "output_index": 0, "item": search},
        {"type": "response.output_item.added", "output_index": 1, "item": {**text, "content": []}},
        {
            "type": "response.content_part.added",
            "output_index": 1,
            "item_id": "msg_1",
            "content_index": 0,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        {
            "type": "response.output_text.delta",
            "output_index": 1,
            "item_id": "msg_1",
            "content_index": 0,
            "delta": "Small.",
            "logprobs": [],
        },
        {"type": "response.output_item.done", "output_index": 1, "item": text},
        last(a_response(search, text, conversation={"id": "conv_1"}, service_tier="flex")),
    ]
    asked = {
        "model": "chat",
        "input": "Which coin is small?",
        "tools": [{"type": "web_search"}],
        "truncation": "auto",
        "include": ["web_search_call.action.sources"],
    }
    async with a_service(tmp_path, RESPONSES) as (upstream, sdk):
        upstream.plays(event_stream(events(*said)))
        told = [event async for event in await sdk.responses.create(**asked, stream=True)]
        sent = upstream.requests[0].body
        assert {name: sent[name] for name in asked if name not in {"model", "input"}} == {
            name: asked[name] for name in asked if name not in {"model", "input"}
        }
        assert "store" not in sent
        assert "response.web_search_call.searching" in {event.type for event in told}
        assert [event.sequence_number for event in told] == list(range(len(told)))
        stored = await sdk.responses.create(**asked)
        for response in (told[-1].response, stored):
            assert [item.to_dict() for item in response.output] == [search, text]
            assert (response.conversation.id, response.service_tier) == ("conv_1", "flex")
        assert stored.usage.cost_nanousd == 0
        # Whoever listens to a stored answer hears the same items.
        again = [event async for event in await sdk.responses.create(**asked, stream=True)]
        assert [item.to_dict() for item in again[-1].response.output] == [search, text]
        assert len(upstream.requests) == 1
        # It is gone on with where it was given, under the provider's own name for it.
        await sdk.responses.create(model="chat", input="And smaller?", previous_response_id=stored.id)
        assert upstream.requests[1].body["previous_response_id"] == "resp_1"
        unkept = await sdk.responses.create(model="chat", input="Forget this.", store=False)
        for name in (unkept.id, "resp_68a1"):
            with pytest.raises(openai.BadRequestError) as caught:
                await sdk.responses.create(model="chat", input="And now?", previous_response_id=name)
            assert caught.value.param == "previous_response_id"


async def test_what_has_no_words_elsewhere_is_dropped_or_refused_by_name(tmp_path):
    async with a_service(tmp_path, CHAT) as (upstream, sdk):
        done = await sdk.responses.with_raw_response.create(
            model="chat", input="hello", tools=[{"type": "web_search"}, WEIGH], truncation="auto"
        )
        assert done.headers["x-farthing-dropped"] == "truncation,tools[0]"
        assert [tool["function"]["name"] for tool in upstream.requests[0].body["tools"]] == ["weigh"]
        # There nothing is kept that could be gone on with.
        for fields, param in (
            ({"previous_response_id": done.parse().id}, "previous_response_id"),
            ({"conversation": "conv_1"}, "conversation"),
            ({"background": True}, "background"),
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                await sdk.responses.create(model="chat", input="hello", **fields)
            assert (caught.value.param, caught.value.code) == (param, "invalid_request")
        upstream.plays(answer("Half", finish_reason="length"), stream(["Half"], then="cut"))
        short = await sdk.responses.create(model="chat", input="Tell me all.", max_output_tokens=1)
        assert (short.status, short.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        with pytest.raises(openai.APIError) as failed:
            await heard(sdk, input="Tell me more.")
        assert failed.value.code == "upstream_failed"


async def test_under_a_ceiling_what_no_hold_can_bound_is_refused(tmp_path):
    ceiling = Ceiling(scope="global", window="month", limit=10**12)
    async with a_service(tmp_path, RESPONSES, ceilings=(ceiling,)) as (_, sdk):
        kept = await sdk.responses.create(model="chat", input="hello", max_output_tokens=5)
        for fields, param in (
            ({"previous_response_id": kept.id}, "previous_response_id"),
            ({"tools": [{"type": "web_search"}]}, "tools"),
        ):
            with pytest.raises(openai.APIStatusError) as caught:
                await sdk.responses.create(model="chat", input="hello", max_output_tokens=5, **fields)
            assert (caught.value.status_code, caught.value.code) == (402, "unbounded_cost")
            assert param in caught.value.message
