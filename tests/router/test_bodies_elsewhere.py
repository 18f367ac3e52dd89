"""Stored answers whose bodies are on a cache server: what that does wrong costs hits, and never an answer or a cent."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest

from router.errors import DeadlineExceeded, NotCached
from tests.ledger.calls import an_idempotency_key
from tests.router.gateways import a_call, open_gateway, text_of
from tests.upstream import answer, scripted_upstream
from tests.valkey import a_cache_server, asked


@asynccontextmanager
async def served(tmp_path, *, houses=1, timeout_s=5.0, starts=True, **settings):
    """(server, upstream, houses on one ledger, what became of requests to the server)."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(a_cache_server(starts=starts, **settings))
        upstream = await stack.enter_async_context(scripted_upstream())
        upstream.default = answer("the answer", prompt_tokens=7)
        bodies, outcomes = await stack.enter_async_context(asked(server.url, timeout_s=timeout_s))
        opened = [
            await stack.enter_async_context(open_gateway(tmp_path, upstream, bodies=bodies, ends_at_rest=houses == 1))
            for _ in range(houses)
        ]
        yield server, upstream, opened, outcomes


async def asked_for(house, call=None):
    """How a call was answered, and that it was."""
    finished = await house.ask(call or a_call())
    assert text_of(finished) == "the answer"
    return finished.receipt.cache


def hits_on_record(house):
    """(hits, what was saved by them in units of one answer's cost)."""
    (row,) = house.rows("SELECT COUNT(*) AS hits, SUM(saved_nanousd) AS saved FROM generations WHERE cache = 'hit'")
    (cost,) = {row["cost_nanousd"] for row in house.rows("SELECT cost_nanousd FROM postings")}
    return row["hits"], (row["saved"] or 0) / cost


async def test_a_body_is_kept_there_alone_and_serves_every_replica(tmp_path):
    async with served(tmp_path, houses=2) as (server, upstream, (one, other), outcomes):
        assert await asked_for(one) == "miss"
        (row,) = one.rows("SELECT length(body) AS here, elsewhere_bytes, length(checksum) AS checksum FROM responses")
        (name,) = server.names()
        assert row == {"here": 0, "elsewhere_bytes": server.run("STRLEN", name), "checksum": 32}
        assert one.rows("SELECT bytes FROM response_totals") == [{"bytes": row["elsewhere_bytes"]}]
        assert [await asked_for(other), await asked_for(one), await asked_for(one, a_call(stream=True))] == ["hit"] * 3
        assert len(upstream.requests) == 1
        assert outcomes == {("keep", "kept"): 1, ("find", "found"): 3}
        assert hits_on_record(one) == (3, 3.0)
        (row,) = one.rows("SELECT expires_at_ms - stored_at_ms AS for_ms FROM responses")
        assert server.run("PTTL", name) > row["for_ms"], "it does not go before its row"


@pytest.mark.parametrize("spoil", [lambda server: server.run("FLUSHALL"), lambda server: server.flip()])
async def test_one_that_is_dropped_or_spoilt_is_asked_for_anew_and_no_hit_is_counted(tmp_path, spoil):
    async with served(tmp_path) as (server, upstream, (house,), outcomes):
        assert await asked_for(house) == "miss"
        spoil(server)
        missed = a_call()
        assert await asked_for(house, missed) == "miss"
        row = house.generation(missed.generation_id)
        assert (row["cache"], row["saved_nanousd"], row["served_by"]) == ("miss", 0, None)
        assert await asked_for(house) == "hit"
        assert (len(upstream.requests), hits_on_record(house)) == (2, (1, 1.0))
        assert outcomes["find", "absent"] + outcomes["find", "wrong"] == 1


async def test_sixty_equal_calls_of_which_none_finds_it_are_one(tmp_path):
    async with served(tmp_path, houses=3) as (server, upstream, houses, _):
        await asked_for(houses[0])
        server.run("FLUSHALL")
        answered = await asyncio.gather(*(asked_for(house) for house in houses for _ in range(20)))
        assert len(upstream.requests) == 2
        assert answered.count("miss") == 1
        assert hits_on_record(houses[0])[0] == answered.count("hit")


async def test_a_server_that_is_not_there_is_done_without(tmp_path):
    async with served(tmp_path, starts=False) as (_, upstream, (house,), outcomes):
        assert [await asked_for(house) for _ in range(3)] == ["miss", "hit", "hit"]
        assert len(upstream.requests) == 1
        assert outcomes == {("keep", "unreachable"): 1}


async def test_a_server_that_stops_costs_one_wait_and_then_nobody_waits(tmp_path):
    async with served(tmp_path) as (server, upstream, (house,), outcomes):
        await asyncio.gather(*(asked_for(house, a_call(f"question {n}")) for n in range(30)))
        house.ledger._bodies._timeout_s = 0.1
        server.stop()
        assert await asked_for(house, a_call("question 0")) == "miss"
        assert [await asked_for(house, a_call(f"question {n}")) for n in range(1, 30)] == ["miss"] * 29
        again = [await asked_for(house, a_call(f"question {n}")) for n in range(30)]
        assert again == ["hit"] * 30, "the ledger keeps what the server does not take"
        assert len(upstream.requests) == 60
        waited = outcomes["find", "slow"] + outcomes["keep", "slow"]
        assert waited < outcomes["find", "paused"]
        server.go_on()


async def test_a_server_that_is_killed_under_load_loses_bodies_and_no_answer(tmp_path):
    async with served(tmp_path, houses=2) as (server, upstream, houses, _):

        async def load(house, name):
            return [await asked_for(house, a_call(f"{name} {n // 3}")) for n in range(30)]

        loads = [asyncio.create_task(load(house, name)) for house in houses for name in "abcd"]
        await upstream.until(lambda it: len(it.requests) >= 12)
        server.kill()
        answered = [cache for each in await asyncio.gather(*loads) for cache in each]
        assert len(answered) == 240
        assert answered.count("miss") == len(upstream.requests)
        assert hits_on_record(houses[0])[0] == answered.count("hit") > 0


async def test_a_full_server_takes_none_and_the_ledger_does(tmp_path):
    async with served(tmp_path, maxmemory="100kb") as (_, upstream, (house,), outcomes):
        assert [await asked_for(house), await asked_for(house)] == ["miss", "hit"]
        assert (len(upstream.requests), outcomes["keep", "refused"]) == (1, 1)


async def test_a_key_answers_for_itself_whatever_becomes_of_the_body(tmp_path):
    async with served(tmp_path) as (server, upstream, (house,), _):
        await asked_for(house)

        def keyed():
            return msgspec.structs.replace(a_call(), idempotency=an_idempotency_key())

        assert await asked_for(house, keyed()) == "hit"
        server.run("FLUSHALL")
        assert await asked_for(house, keyed()) == "hit"
        assert (len(upstream.requests), hits_on_record(house)) == (1, (1, 1.0))


async def test_a_call_that_may_not_go_out_is_told_that_there_is_none(tmp_path):
    async with served(tmp_path) as (server, upstream, (house,), _):
        await asked_for(house)
        assert await asked_for(house, a_call(mode="only")) == "hit"
        server.run("FLUSHALL")
        with pytest.raises(NotCached):
            await house.ask(a_call(mode="only"))
        assert len(upstream.requests) == 1


async def test_nobody_waits_for_it_beyond_a_deadline(tmp_path):
    async with served(tmp_path, timeout_s=30.0) as (server, _, (house,), _):
        await asked_for(house)
        server.stop()
        with pytest.raises(DeadlineExceeded) as late:
            await house.ask(a_call(deadline_s=1.0))
        assert late.value.waited_for == "a stored answer"
        server.go_on()


async def test_a_refreshed_answer_is_the_one_that_is_served_and_the_other_ones_place_is_given_back(tmp_path):
    async with served(tmp_path) as (server, upstream, (house,), _):
        upstream.plays(answer("the first"))
        await house.ask(a_call())
        assert await asked_for(house, a_call(mode="refresh")) == "miss"
        assert await asked_for(house) == "hit"
        assert house.count("responses") == 1
        assert len(server.names()) == 2, "what no row names any more goes when its time is over"


async def test_without_the_server_in_its_config_a_process_asks_anew(tmp_path):
    async with served(tmp_path, houses=2) as (_, upstream, (house, _), _):
        await asked_for(house)
        async with open_gateway(tmp_path, upstream, ends_at_rest=False) as without:
            assert [await asked_for(without), await asked_for(without)] == ["miss", "hit"]
        assert await asked_for(house) == "hit"
        assert len(upstream.requests) == 2


async def test_a_body_that_is_larger_than_all_may_be_is_not_sent_there(tmp_path):
    async with served(tmp_path) as (server, _, (house,), _):
        house.ledger._bounds = msgspec.structs.replace(house.ledger._bounds, max_bytes=10)
        assert [await asked_for(house), await asked_for(house)] == ["miss", "miss"]
        assert server.names() == []


async def test_whoever_leaves_while_it_is_looked_for_leaves_nothing_behind(tmp_path):
    async with served(tmp_path, timeout_s=30.0) as (server, _, (house,), _):
        await asked_for(house)
        server.stop()
        leaving = [asyncio.create_task(house.ask(a_call())) for _ in range(5)]
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        server.go_on()
        assert await asked_for(house) == "hit"
