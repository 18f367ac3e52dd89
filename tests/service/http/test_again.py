"""Requests like one that was a hit are answered without being read: the same bytes, and only if the ledger says so."""

import re
from contextlib import asynccontextmanager

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.pepper import Pepper
from router.again import TRIES
from router.answer import Answer, Choice
from service.auth.keyring import Keyring
from service.form import Forms, names_of
from service.http import again as again_module
from service.http import repeats as repeats_module
from service.http.repeats import Repeat, Repeats
from service.openai_chat import OpenAIChatWire
from tests.openai_scripts import embedded
from tests.router.gateways import a_call, now_ms, open_gateway
from tests.router.test_ledger_trouble import Between
from tests.service.http.scripted import an_edge, finished
from tests.service.http.test_access import made
from tests.upstream import answer, scripted_upstream

NATIVE, CHAT, EMBEDDINGS = "/generate", "/v1/chat/completions", "/v1/embeddings"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
# What the stored answer says when it is read: nothing. Whoever is still given it has it from somewhere else.
SPOIL = "UPDATE responses SET body = zeroblob(length(body))"
CALLS = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"what": "a \\"farthing\\""}'}}]


def a_ring(ledger):
    return Keyring(ledger, lambda: Pepper(b"a pepper for these tests"), are_needed=False, now_ms=now_ms)


def asked(path, text, *, stream=False):
    messages = [{"role": "user", "content": text}]
    body = {
        NATIVE: {"prompt": text},
        CHAT: {"model": "chat", "messages": messages},
        RESPONSES: {"model": "chat", "input": text},
        MESSAGES: {"model": "chat", "max_tokens": 50, "messages": messages},
        EMBEDDINGS: {"model": "chat", "input": text},
    }[path]
    return {**body, "stream": True} if stream else body


@asynccontextmanager
async def a_service(tmp_path, *, keyring_of=lambda ledger: None, **rules):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, **rules) as house,
        an_edge(gateway=house.gateway, keyring=keyring_of(house.ledger)) as (edge, client),
    ):
        house.edge = edge
        yield house, upstream, client


async def ask(client, path=NATIVE, text="tell me", *, stream=False, headers=None):
    return await client.post(path, json=asked(path, text, stream=stream), headers=headers)


async def ask_until_at_hand(client, **request):
    """The second is a hit, and the third is like it."""
    answers = [await ask(client, **request) for _ in range(2)]
    assert [it.headers["x-farthing-cache"] for it in answers] == ["miss", "hit"]
    return answers[0]


def said(response):
    """What an answer says, with the names of its call taken out, and how long it took."""
    names = (response.headers["x-farthing-id"].removeprefix("gen_"), response.headers["x-farthing-trace-id"])
    text = re.sub("|".join(names), "NAME", response.text)
    text = re.sub(r'"(created|created_at|latency_ms)":[\d.]+', r'"\1":0', text)
    headers = [(name, re.sub("|".join(names), "NAME", value)) for name, value in response.headers.multi_items()]
    if "content-length" in response.headers:
        assert int(response.headers["content-length"]) == len(response.content)
    varying = {"date", "content-length"}
    told = [(name, re.sub(r"[\d.]+", "0", value)) for name, value in headers if name not in varying]
    return response.status_code, told, text


async def test_on_every_surface_an_equal_request_gets_what_the_one_before_got_and_nothing_is_read(tmp_path):
    async with a_service(tmp_path) as (house, upstream, client):
        for path in (NATIVE, CHAT, RESPONSES, MESSAGES, EMBEDDINGS):
            for stream in (False, True) if path != EMBEDDINGS else (False,):
                embeds, message = path == EMBEDDINGS, {"tool_calls": CALLS}
                upstream.plays(embedded() if embeds else answer("so 17 be it", message=message, reasoning_tokens=3))
                text = f"{path} {stream}"
                first = await ask(client, path, text, stream=stream)
                read = await ask(client, path, text, stream=stream)
                house.write(SPOIL)
                again = [await ask(client, path, text, stream=stream) for _ in range(2)]
                assert [it.headers["x-farthing-cache"] for it in (first, read)] == ["miss", "hit"]
                assert said(again[0]) == said(again[1]) == said(read)
                ids = [it.headers["x-farthing-id"] for it in (read, *again)]
                assert len(set(ids)) == 3
                rows = [house.generation(it) for it in ids]
                own = {"generation_id", "trace_id", "created_at_ms", "finished_at_ms", "latency_us"}
                assert len({str({it: row[it] for it in row if it not in own}) for row in rows}) == 1
                assert [row["trace_id"] for row in rows] == [it.headers["x-farthing-trace-id"] for it in (read, *again)]
        assert len(upstream.requests) == 9


async def test_its_span_says_what_the_one_before_said(tmp_path):
    async with a_service(tmp_path) as (house, _, client):
        await ask_until_at_hand(client)
        read = await house.edge.telemetry.next()
        house.write(SPOIL)
        again_id = (await ask(client)).headers["x-farthing-id"]
        again = await house.edge.telemetry.next()
    assert (again.generation_id, again.chat.generation_id) == (again_id, again_id)
    assert again.chat.span_id != read.chat.span_id
    assert again.chat.started_at_ns < again.chat.ended_at_ns
    assert [it[0] for it in again.chat.events] == [it[0] for it in read.chat.events]
    own = {"generation_id": "", "span_id": "", "started_at_ns": 0, "ended_at_ns": 0, "events": ()}
    assert msgspec.structs.replace(again.chat, **own) == msgspec.structs.replace(read.chat, **own)


async def test_it_is_counted_as_the_one_before_was(tmp_path):
    async with a_service(tmp_path) as (house, _, client):
        await ask_until_at_hand(client)
        house.write(SPOIL)
        await ask(client)
        counted, reported = house.counted(), await house.reported()
    assert (counted["cache_hits"], counted["saved_nanousd"]) == (2, reported["saved_nanousd"])


async def test_who_asks_for_something_else_is_read(tmp_path):
    async with a_service(tmp_path) as (house, upstream, client):
        await ask_until_at_hand(client)
        house.write(SPOIL)
        for headers in (
            {"x-farthing-workflow": "another"},
            {"OpenAI-Beta": "another"},
            {"x-farthing-cache": "bypass"},
            {"Idempotency-Key": "one"},
            {"x-farthing-cache": "refresh"},
        ):
            assert (await ask(client, headers=headers)).headers["x-farthing-cache"] in {"miss", "bypass"}, headers
        assert len(upstream.requests) == 6


async def test_another_process_s_newer_answer_is_given_at_once(tmp_path):
    async with (
        # What each process counts is its own.
        a_service(tmp_path, ends_at_rest=False) as (_, upstream, client),
        open_gateway(tmp_path, upstream, ends_at_rest=False) as elsewhere,
        an_edge(gateway=elsewhere.gateway) as (_, other),
    ):
        upstream.plays(answer("old"), answer("new"))
        await ask_until_at_hand(client)
        assert (await ask(other, headers={"x-farthing-cache": "refresh"})).json()["output"] == "new"
        answers = [await ask(client) for _ in range(3)]
        assert [(it.json()["output"], it.headers["x-farthing-cache"]) for it in answers] == [("new", "hit")] * 3


async def test_one_that_has_expired_or_was_dropped_is_asked_for_anew(tmp_path):
    async with a_service(tmp_path, ttl_s=300) as (house, upstream, client):
        await ask_until_at_hand(client)
        assert (await ask(client)).headers["x-farthing-cache"] == "hit"
        await house.pass_time(301)
        await ask_until_at_hand(client)
        house.write("DELETE FROM responses")
        await ask_until_at_hand(client)
        assert len(upstream.requests) == 3


async def test_a_key_that_was_revoked_in_another_process_gets_nothing_more(tmp_path):
    async with (
        a_service(tmp_path, keyring_of=a_ring) as (house, upstream, client),
        open_gateway(tmp_path, upstream, ends_at_rest=False) as elsewhere,
    ):
        secrets = [await made(house.edge.keyring) for _ in range(2)]
        mine, theirs = ({"authorization": f"Bearer {secret.text.decode()}"} for secret in secrets)
        for headers in (mine, theirs):
            await ask_until_at_hand(client, headers=headers)
            assert (await ask(client, headers=headers)).headers["x-farthing-cache"] == "hit"
        await elsewhere.ledger.revoke_api_key(secrets[0].key_id)
        before = house.count("generations")
        assert (await ask(client, headers=mine)).json()["code"] == "unauthenticated"
        assert house.count("generations") == before
        assert (await ask(client, headers=theirs)).headers["x-farthing-cache"] == "hit"


async def test_a_route_that_the_config_made_something_else_of_is_looked_at_anew(tmp_path):
    async with a_service(tmp_path) as (house, _, client):
        await ask_until_at_hand(client)
        menu = house.gateway.hits._routes
        (route,) = menu.routes
        menu._route = msgspec.structs.replace(route, cache=False)
        assert (await ask(client)).headers["x-farthing-cache"] == "miss"
        menu._route = msgspec.structs.replace(route)
        assert (await ask(client)).headers["x-farthing-cache"] == "hit"
        menu._route = msgspec.structs.replace(route, name="other")
        assert (await client.post(CHAT, json=asked(CHAT, "tell me"))).status_code == 404


async def test_a_commit_that_nobody_knows_of_counts_once_and_a_ledger_that_is_away_says_so(tmp_path):
    between = Between()
    async with a_service(tmp_path, between=between) as (house, _, client):
        await ask_until_at_hand(client)
        between.unsteady.fails_after["hit_again"] = TRIES - 1
        assert (await ask(client)).headers["x-farthing-cache"] == "hit"
        assert house.count("generations") == 3
        between.unsteady.fails_before["hit_again"] = 1
        refused = await ask(client)
        assert refused.json()["code"] == "ledger_unavailable"
        assert {"x-farthing-id", "x-farthing-trace-id", "server-timing"} <= refused.headers.keys()
        assert (await ask(client)).headers["x-farthing-cache"] == "hit"
        assert house.count("generations") == 4


async def test_what_is_long_is_read_each_time(tmp_path, monkeypatch):
    async with a_service(tmp_path) as (house, _, client):
        for module, bound in ((again_module, "LONGEST_ANSWER_BYTES"), (repeats_module, "LONGEST_REQUEST_BYTES")):
            with monkeypatch.context() as shorter:
                shorter.setattr(module, bound, 10)
                await ask_until_at_hand(client, text=bound)
                house.write(SPOIL)
                assert (await ask(client, text=bound)).headers["x-farthing-cache"] == "miss"


async def test_who_watches_calls_sees_them_too(tmp_path):
    async with a_service(tmp_path) as (house, _, client):
        await ask_until_at_hand(client)
        with house.edge.parts.live.listening() as listener:
            await ask(client)
            assert b'"cache":"hit"' in await listener.next(within_s=5)


def a_repeat(size):
    return Repeat(again=None, form=None, headers=[], size=size)


def test_only_so_many_are_kept_and_so_many_bytes_those_that_were_asked_for_last():
    kept = Repeats(most=3, most_bytes=1000)
    for number in range(4):
        kept.keep(number, a_repeat(100))
        kept.find(0)
    assert [kept.find(number) is not None for number in range(4)] == [True, False, True, True]
    kept.keep(4, a_repeat(850))
    assert ([kept.find(number) is not None for number in range(5)], kept.bytes) == ([False] * 3 + [True, True], 950)
    kept.keep(4, a_repeat(10))
    kept.drop(3)
    kept.drop(3)
    assert (len(kept), kept.bytes) == (1, 10)
    kept.keep(5, a_repeat(1001))
    assert (len(kept), kept.bytes) == (0, 0)


TEXTS = st.text() | st.from_regex(r"[0-9a-v]{26}|[0-9.]{10,16}|gen_|\\u0000")


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(0, 2**40), st.integers(0, 2**31))
def test_a_form_filled_in_is_what_is_rendered(text, at_ms, created_at_s):
    first, other = (msgspec.structs.replace(a_call(), received_at_ms=at_ms + 5000 * number) for number in range(2))
    said = Answer(choices=(Choice(text=text, reasoning=f"{at_ms}"),), usage=None, created_at_s=created_at_s)
    render = OpenAIChatWire().answer
    form = Forms().of(render, first, finished(first, answer=said))
    assert form is not None
    again = finished(other, answer=said)
    assert form.filled(names_of(other, again)) == render(other, again)
