"""Streams between a caller and a provider who speak the same format: the provider's own chunks, and our last word."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

import openai
import pytest

from tests.anthropic_scripts import end, start, streamed, text_delta
from tests.openai_scripts import event_stream, text_events
from tests.router.gateways import a_deployment, open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import answer, scripted_upstream, stream

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
BODY = {"model": "chat", "messages": [{"role": "user", "content": "a tale"}], "max_tokens": 50, "stream": True}
WITH_USAGE = {**BODY, "stream_options": {"include_usage": True}}
# In a way that nobody here would write it.
CHUNK = b'data: {"choices" : [{"index":0, "delta":{"content":"Four \\u0066arthings"}}],"id":"own-1", "odd":1.0}\n\n'
TALE = [CHUNK, " make a penny."]


@asynccontextmanager
async def a_service(tmp_path, **rules):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, **rules) as house,
        an_edge(gateway=house.gateway) as (edge, client),
    ):
        yield edge, house, upstream, client


@asynccontextmanager
async def a_service_by(tmp_path, dialect, **provider):
    async with scripted_upstream() as upstream:
        base_url = upstream.url if dialect == "openai" else upstream.root
        targets = (a_deployment("a", base_url, dialect=dialect, **provider),)
        async with (
            open_gateway(tmp_path, targets=targets) as house,
            an_edge(gateway=house.gateway) as (edge, client),
        ):
            yield edge, upstream, client


def payloads(content: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in content.split(b"\n\n") if line.startswith(b"data: {")]


def text_in(chunks: list[dict]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def test_a_providers_chunks_go_out_as_they_came_and_the_cost_comes_last(tmp_path):
    async with a_service(tmp_path) as (_, _, upstream, client):
        upstream.plays(stream(TALE, prompt_tokens=9, completion_tokens=6, top={"system_fingerprint": "fp"}))
        answer = await client.post(CHAT, json=WITH_USAGE)
        assert CHUNK in answer.content
        role, *_, stop, last = payloads(answer.content)
        assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert (stop["choices"][0]["finish_reason"], stop["system_fingerprint"]) == ("stop", "fp")
        # One chunk of usage, ours, by the names of those before it.
        assert (last["id"], last["created"], last["model"]) == ("chatcmpl-test", 1_700_000_000, "model-a")
        assert (last["usage"]["total_tokens"], last["usage"]["cost_nanousd"]) == (15, 9 * 100 + 6 * 400)
        assert answer.content.count(b"prompt_tokens") == 2  # The count, and its details.
        assert answer.content.endswith(b"data: [DONE]\n\n")


async def test_usage_that_nobody_asked_for_does_not_go_out(tmp_path):
    async with a_service(tmp_path) as (_, _, upstream, client):
        upstream.plays(stream(TALE))
        answer = await client.post(CHAT, json=BODY)
        assert CHUNK in answer.content
        assert b"prompt_tokens" not in answer.content


async def test_a_stored_answer_and_one_of_another_format_are_written_by_us(tmp_path):
    async with a_service(tmp_path) as (_, _, upstream, client):
        upstream.plays(stream(TALE))
        first = await client.post(CHAT, json=BODY)
        hit = await client.post(CHAT, json=BODY)
        native = await client.post("/generate", json={key: BODY[key] for key in ("messages", "stream")})
        assert hit.headers["x-farthing-cache"] == "hit"
        assert text_in(payloads(hit.content)) == text_in(payloads(first.content)) == "Four farthings make a penny."
        assert b'"odd"' not in hit.content + native.content


@pytest.mark.parametrize("leader", [CHAT, "/generate"])
async def test_callers_of_two_formats_share_a_flight_and_each_hears_its_own(tmp_path, leader):
    async with a_service(tmp_path) as (_, house, upstream, client):
        gate = asyncio.Event()
        upstream.plays(stream([CHUNK, gate, " make a penny."]))
        native = {"model": "chat", "messages": BODY["messages"], "params": {"max_tokens": 50}, "stream": True}
        asks = {CHAT: BODY, "/generate": native}
        (follower,) = asks.keys() - {leader}
        led = asyncio.create_task(client.post(leader, json=asks[leader]))
        await upstream.until(lambda it: len(it.requests) == 1)
        followed = asyncio.create_task(client.post(follower, json=asks[follower]))
        await house.until(lambda: any(len(it._listeners) == 2 for it in house.gateway._flights.values()))
        gate.set()
        heard = {leader: await led, follower: await followed}
        assert heard[follower].headers["x-farthing-cache"] == "coalesced"
        assert (CHUNK in heard[CHAT].content) == (leader == CHAT)
        assert text_in(payloads(heard[CHAT].content)) == "Four farthings make a penny."
        assert heard["/generate"].content.startswith(b'event: delta\ndata: {"text":"Four farthings"}\n\n')
        assert len(upstream.requests) == 1


async def test_the_sdk_reads_passed_chunks_and_what_broke_midway(tmp_path):
    async with a_service(tmp_path) as (edge, _, upstream, _):
        upstream.plays(stream(TALE), stream([CHUNK], then="cut"))
        async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="x", max_retries=0) as sdk:
            chunks = [chunk async for chunk in await sdk.chat.completions.create(**WITH_USAGE)]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
                "Four farthings make a penny."
            )
            assert chunks[-1].usage.cost_nanousd > 0
            broken = await sdk.chat.completions.create(**BODY, user="another", seed=2)
            assert (await anext(broken)).choices[0].delta.role == "assistant"
            assert (await anext(broken)).choices[0].delta.content == "Four farthings"
            with pytest.raises(openai.APIError) as caught:
                await anext(broken)
            assert caught.value.code == "upstream_failed"


def as_vendors_say(*events) -> bytes:
    """Named as APIs name them, in a way that nobody here would write."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (it["type"].encode(), json.dumps(it).encode()) for it in events)


async def test_anthropics_events_go_out_as_they_came_up_to_the_last_word(tmp_path):
    *events, delta, stop = streamed("Four farthings")
    future = {"type": "an_event_of_tomorrow", "x": 1.0}
    async with a_service_by(tmp_path, "anthropic") as (_, upstream, client):
        upstream.plays(event_stream(as_vendors_say(*events, future, delta, stop)))
        answer = await client.post(MESSAGES, json=BODY)
        passed, last = answer.content.split(b"event: message_delta\n")
        assert passed == as_vendors_say(*events, future)
        usage = json.loads(last.partition(b"\n")[0].removeprefix(b"data: "))["usage"]
        assert (usage["output_tokens"], usage["cost_nanousd"] > 0) == (7, True)
        assert last.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
        hit = await client.post(MESSAGES, json=BODY)
        assert hit.headers["x-farthing-cache"] == "hit"
        assert b"an_event_of_tomorrow" not in hit.content
        chat = await client.post(CHAT, json={**BODY, "seed": 2})
        assert b"message_start" not in chat.content


async def test_an_error_of_anthropics_midway_is_ours_to_tell(tmp_path):
    failing = {"type": "error", "error": {"type": "overloaded_error", "message": "sk-secret"}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    async with a_service_by(tmp_path, "anthropic") as (_, upstream, client):
        upstream.plays(event_stream(as_vendors_say(start(), block, text_delta("Four"), failing)))
        answer = await client.post(MESSAGES, json=BODY)
        assert answer.content.startswith(as_vendors_say(start(), block, text_delta("Four")))
        assert (answer.content.count(b"event: error"), b"upstream_failed" in answer.content) == (1, True)


async def test_a_message_shows_nothing_that_only_others_say(tmp_path):
    async with a_service(tmp_path) as (_, _, upstream, client):
        upstream.default = answer("Four farthings", top={"timings": {"prompt_n": 1}})
        for streams in (False, True):
            for path, is_shown in ((MESSAGES, False), (CHAT, True)):
                body = {**WITH_USAGE, "stream": streams, "seed": int(streams)}
                told = (await client.post(path, json=body if path == CHAT else {**BODY, "stream": streams})).content
                assert (b"Four" in told, b'"timings":' in told) == (True, is_shown), told


async def test_a_refusal_without_a_block_still_begins(tmp_path):
    async with a_service_by(tmp_path, "anthropic") as (_, upstream, client):
        events = start(), end(stop_reason="refusal"), {"type": "message_stop"}
        upstream.plays(event_stream(as_vendors_say(*events)))
        answer = await client.post(MESSAGES, json=BODY)
        assert answer.content.startswith(as_vendors_say(start()))
        assert b'"stop_reason":"refusal"' in answer.content


def events_in(content: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in content.splitlines() if line.startswith(b"data: ")]


def numbered(*events) -> list[dict]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


async def test_a_responses_events_go_out_as_they_came_between_our_first_and_last(tmp_path):
    created, going, *told, done = text_events("Four farthings")
    # Of another kind than anybody here knows.
    *head, middle, last = numbered(created, going, *told, {"type": "response.odd", "x": 1.0}, done)
    passed = as_vendors_say(*head[2:], middle)
    asked = {"model": "chat", "input": "a tale", "stream": True}
    async with a_service_by(tmp_path, "openai", has_responses=True) as (_, upstream, client):
        upstream.plays(event_stream(as_vendors_say(*head, middle, last)))
        once = {"Idempotency-Key": "a tale"}
        answer = await client.post(RESPONSES, json=asked, headers=once)
        assert (await client.post(RESPONSES, json=asked, headers=once)).content == answer.content
        begun, found, ended = answer.content.partition(passed)
        assert found, answer.text
        first, second, third = *events_in(begun), *events_in(ended)
        assert [event["type"] for event in (first, second, third)] == [created["type"], going["type"], done["type"]]
        names = {event["response"]["id"] for event in (first, second, third)}
        assert names == {first["response"]["id"]} != {"resp_1"}
        assert third["response"]["usage"]["cost_nanousd"] > 0
        assert [event["sequence_number"] for event in events_in(answer.content)] == list(range(len(head) + 2))
        hit = await client.post(RESPONSES, json=asked)
        assert hit.headers["x-farthing-cache"] == "hit"
        assert b"response.odd" not in hit.content
        # Whoever speaks otherwise hears none of it.
        upstream.plays(event_stream(as_vendors_say(*head, middle, last)))
        chat = await client.post(CHAT, json={**BODY, "seed": 2})
        assert b"sequence_number" not in chat.content


@pytest.mark.parametrize("number", [lambda at: at - 3, lambda at: 7, lambda at: None, lambda at: True, str])
async def test_events_of_a_response_are_in_order_however_their_provider_counts(tmp_path, number):
    said = [{**event, "sequence_number": number(at)} for at, event in enumerate(text_events("Four farthings"))]
    async with a_service_by(tmp_path, "openai", has_responses=True) as (_, upstream, client):
        upstream.plays(event_stream(as_vendors_say(*said)))
        answer = await client.post(RESPONSES, json={"model": "chat", "input": "a tale", "stream": True})
        told = events_in(answer.content)
        assert [event["type"] for event in told] == [event["type"] for event in said]
        numbers = [event["sequence_number"] for event in told]
        assert all(before < after for before, after in itertools.pairwise(numbers)), numbers
        assert told[4]["delta"] == "Four "


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_streams_heed_what_a_caller_wishes_of_the_cache(tmp_path, path):
    async with a_service(tmp_path) as (_, _, upstream, client):

        async def ask(mode):
            answer = await client.post(path, json=BODY, headers={"x-farthing-cache": mode})
            return answer.status_code, answer.headers.get("x-farthing-cache"), b"anew" in answer.content

        upstream.plays(stream(["first"]), stream(["anew"]), stream(["anew"]))
        code, _, _ = await ask("only")
        assert (code, len(upstream.requests)) == (404, 0)
        assert await ask("use") == (200, "miss", False)
        assert await ask("only") == (200, "hit", False)
        assert await ask("bypass") == (200, "bypass", True)
        assert await ask("use") == (200, "hit", False)
        assert await ask("refresh") == (200, "miss", True)
        assert await ask("only") == (200, "hit", True)
        assert len(upstream.requests) == 3


async def test_streams_in_flight_are_shared_only_where_that_is_wanted(tmp_path):
    async with a_service(tmp_path, coalesce=False) as (_, _, upstream, client):
        gate = asyncio.Event()
        upstream.plays(*[stream([CHUNK, gate])] * 2)
        asks = [asyncio.create_task(client.post(CHAT, json=BODY)) for _ in range(2)]
        await upstream.until(lambda it: len(it.requests) == 2)
        gate.set()
        assert [CHUNK in (await ask).content for ask in asks] == [True, True]


async def test_a_route_may_keep_its_streams_out_of_the_cache(tmp_path):
    async with a_service(tmp_path, route_cache=False) as (_, _, upstream, client):
        for _ in range(2):
            assert (await client.post(CHAT, json=BODY)).headers["x-farthing-cache"] != "hit"
        assert len(upstream.requests) == 2
