"""Ceilings in tokens and calls, from a call's side: what it asks for, and what becomes of it without room."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import MINUTE_MS, Ceiling
from ledger.errors import CeilingExceeded, RateLimited, Tight
from ledger.prices import FREE
from ledger.values import Refused
from router.bounds import input_bound_tokens
from router.clamp import clamped
from router.deployments import HedgeRule
from router.errors import UnboundedCost
from router.lines import LAST_TRY_S, POLL_S, RATE_POLL_S, next_look_s
from router.plan import Candidate
from tests.router.gateways import PRICE, House, a_call, a_deployment, open_gateway
from tests.upstream import answer, hang, scripted_upstream, status

CALL = a_call("call 0")
READ = input_bound_tokens(CALL.body, None)
ONE = READ + 50


def tokens(limit, scope="global", window="month", **more):
    return Ceiling(scope=scope, window=window, unit="tokens", limit=limit, **more)


def calls(limit, scope="global", window="month", **more):
    return Ceiling(scope=scope, window=window, unit="calls", limit=limit, **more)


async def early_in_a_minute(house: House) -> None:
    """No minute ends while the test looks at this one."""
    past_ms = house.clock.now_ms() % MINUTE_MS
    await house.pass_time((MINUTE_MS - past_ms) / 1000 + 1)


def spent(house: House) -> dict[str, tuple[int, int]]:
    """{ceiling id: (spent, held)} over all windows."""
    rows = house.rows(
        "SELECT ceiling_id, SUM(spent_amount) AS s, SUM(held_amount) AS h FROM ceiling_windows GROUP BY 1"
    )
    return {row["ceiling_id"]: (row["s"], row["h"]) for row in rows}


async def test_a_call_holds_all_that_it_may_read_and_write_and_settles_for_its_usage(tmp_path: Path):
    limits = (tokens(ONE), calls(1))
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        upstream.default = answer("hi", prompt_tokens=9, completion_tokens=3)
        gate = asyncio.Event()
        upstream.plays(answer("hi", prompt_tokens=9, completion_tokens=3, gate=gate))
        asking = asyncio.create_task(house.ask(a_call("call 0")))
        await upstream.until(lambda it: len(it.requests) == 1)
        assert spent(house) == {"tokens/month global": (0, ONE), "calls/month global": (0, 1)}
        gate.set()
        await asking
        assert spent(house) == {"tokens/month global": (12, 0), "calls/month global": (1, 0)}
        assert (await house.ask(a_call("call 0"))).receipt.cache == "hit"
        with pytest.raises(RateLimited):
            await house.ask(a_call("call 1"))
        assert [(row["code"], row["count"]) for row in house.rows("SELECT * FROM refusals")] == [("rate_limited", 1)]


async def test_a_failover_is_one_call_and_what_was_refused_gives_its_tokens_back(tmp_path: Path):
    limits = (calls(9), calls(9, "provider:*"), tokens(9 * ONE, "provider:*"))
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        upstream.plays(status(500), answer("hi", prompt_tokens=9, completion_tokens=3))
        await house.ask(CALL)
        assert spent(house) == {
            "calls/month global": (1, 0),
            "calls/month provider:a": (1, 0),
            "calls/month provider:b": (1, 0),
            "tokens/month provider:a": (0, 0),
            "tokens/month provider:b": (12, 0),
        }


async def test_a_rate_sends_calls_to_the_next_deployment(tmp_path: Path):
    limits = (calls(1, "model:a:model-a"),)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        providers = [(await house.ask(a_call(f"call {number}"))).receipt.provider for number in range(3)]
        assert providers == ["a", "b", "b"]


async def test_who_may_wait_is_let_through_by_the_next_minute_in_order(tmp_path: Path):
    limits = (calls(1, window="minute", when_tight="wait"),)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        await early_in_a_minute(house)
        await house.ask(a_call("call 0", deadline_s=200.0))
        tasks = []
        for number in (1, 2):
            tasks.append(asyncio.create_task(house.ask(a_call(f"call {number}", deadline_s=200.0))))
            await house.until(lambda number=number: house.waiting() == number)
        for number in (1, 2):
            await house.pass_time(60)
            await tasks[number - 1]
            assert house.waiting() == 2 - number
        contents = [request.body["messages"][0]["content"] for request in upstream.requests]
        assert contents == ["call 0", "call 1", "call 2"]
        assert house.rows("SELECT * FROM refusals") == []


async def test_nobody_waits_for_a_window_that_ends_too_late(tmp_path: Path):
    limits = (calls(1, window="hour", when_tight="wait"), tokens(ONE - 1, "user:u", when_tight="wait"))
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        await early_in_a_minute(house)
        with pytest.raises(RateLimited) as refused:
            await house.ask(a_call("call 0", user="u", deadline_s=10**7))
        assert refused.value.tight.can_never_fit
        await house.ask(CALL)
        with pytest.raises(RateLimited):
            await house.ask(a_call("call 1", deadline_s=1.0))
        assert upstream.requests[1:] == []


async def test_tokens_that_are_held_may_be_given_back_sooner_than_the_window_ends(tmp_path: Path):
    limits = (tokens(ONE + 40, when_tight="wait"),)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        gate = asyncio.Event()
        upstream.plays(answer("0", prompt_tokens=9, completion_tokens=1, gate=gate), answer("1"))
        first = asyncio.create_task(house.ask(CALL))
        await upstream.until(lambda it: len(it.requests) == 1)
        second = asyncio.create_task(house.ask(a_call("call 1")))
        await house.until(lambda: house.waiting() == 1)
        gate.set()
        await asyncio.gather(first, second)


async def test_an_answer_is_made_as_short_as_the_tokens_that_are_left(tmp_path: Path):
    limits = (tokens(READ + 20, when_tight="clamp"),)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        upstream.default = answer("short", prompt_tokens=0, completion_tokens=0)
        assert (await house.ask(CALL)).receipt.clamped == {"max_tokens": 20}
        assert upstream.requests[0].body["max_tokens"] == 20


async def test_what_costs_nothing_is_counted_in_tokens_and_bounded_where_they_are_limited(tmp_path: Path):
    async with scripted_upstream() as upstream:
        free = (a_deployment("a", upstream.url, price=FREE),)
        limits = (Ceiling(scope="global", window="month", limit=0), tokens(ONE, "user:u"), calls(9, "user:v"))
        endless = {"max_tokens": None}
        async with open_gateway(tmp_path, targets=free, ceilings=limits) as house:
            upstream.default = answer("hi", prompt_tokens=9, completion_tokens=3)
            await house.ask(a_call("call 0", user="u"))
            with pytest.raises(RateLimited):
                await house.ask(a_call("call 1", user="u"))
            with pytest.raises(UnboundedCost):
                await house.ask(a_call("call 1", user="u", body=endless))
            await house.ask(a_call("call 1", user="v", body=endless))


async def test_a_ceiling_in_calls_asks_for_no_bound(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=(calls(1),)) as house:
        await house.ask(a_call("call 0", body={"max_tokens": None}))
        with pytest.raises(RateLimited):
            await house.ask(a_call("call 1", body={"max_tokens": None}))
    (tmp_path / "more").mkdir()
    limits = (calls(9), Ceiling(scope="global", window="month", limit=1))
    async with scripted_upstream() as upstream, open_gateway(tmp_path / "more", upstream, ceilings=limits) as house:
        with pytest.raises(UnboundedCost):
            await house.ask(a_call("call 0", body={"max_tokens": None}))
        with pytest.raises(CeilingExceeded):
            await house.ask(CALL)


async def test_a_fallback_that_no_rate_has_room_for_is_refused_as_such(tmp_path: Path):
    limits = (calls(0, "provider:b"),)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=limits) as house:
        upstream.plays(status(500))
        with pytest.raises(RateLimited):
            await house.ask(CALL)


async def test_a_hedge_is_the_same_call(tmp_path: Path):
    limits = (calls(1), calls(9, "provider:*"))
    rule = HedgeRule(after_s=0.05, stagger_s=0.05, max_ratio=1.0)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=rule, ceilings=limits) as house:
        upstream.plays(hang(), answer("second"))
        await house.ask(CALL)
        await house.gateway.aclose()
        assert spent(house)["calls/month global"] == (1, 0)
        assert [spent(house)[f"calls/month provider:{name}"] for name in "ab"] == [(1, 0), (1, 0)]


NOW_MS = 1_000_000


@given(
    st.sampled_from(["refuse", "wait", "clamp"]),
    st.sampled_from(["usd", "tokens", "calls"]),
    st.booleans(),
    st.integers(1, 12),
    st.none() | st.integers(-5_000, 90_000),
    st.floats(0.0, 80.0),
)
def test_a_wait_is_as_long_as_there_is_something_to_wait_for(when_tight, unit, held, asked, ends_in_ms, left_s):
    tight = Tight(
        scope="global", window="minute", unit=unit, limit=10, spent=0, held=10, asked=asked,
        window_ends_at_ms=None if ends_in_ms is None else NOW_MS + ends_in_ms,
    )  # fmt: skip
    refused = Refused(tight, held=held, when_tight=when_tight)
    wait_s = next_look_s(refused, now_ms=NOW_MS, left_s=left_s)
    if when_tight != "wait":
        assert wait_s is None
    elif held:
        assert wait_s == POLL_S
    elif unit == "usd" or asked > 10 or ends_in_ms is None or max(1, ends_in_ms) / 1000 >= left_s - LAST_TRY_S:
        assert wait_s is None
    else:
        assert wait_s == min(RATE_POLL_S, max(1, ends_in_ms) / 1000)


@given(st.none() | st.integers(0, 10**6), st.integers(0, 5000), st.integers(1, 3))
def test_the_longest_answer_that_fits_in_both_units_is_chosen(room_nanousd, room_tokens, answers):
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2000, "n": answers}
    read = input_bound_tokens(body, 8000)
    deployment = msgspec.structs.replace(a_deployment("a", "http://x"), context_window=8000)

    def fits(length):
        cost = PRICE.bound_nanousd(read, length * answers)
        return read + length * answers <= room_tokens and (room_nanousd is None or cost <= room_nanousd)

    held = PRICE.bound_nanousd(read, 2000 * answers)
    candidate = Candidate(
        deployment=deployment, held_nanousd=held, held_tokens=read + 2000 * answers, read_tokens=read, body=body
    )
    chosen = clamped(candidate, room_nanousd, room_tokens)
    longest = max((length for length in range(1, 2001) if fits(length)), default=None)
    if longest is None:
        assert chosen is None
    else:
        assert chosen is not None
        assert chosen.body["max_tokens"] == longest
        assert chosen.held_tokens == read + longest * answers
