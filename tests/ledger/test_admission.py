"""Admission and settlement on a real file: hits, flights, holds, refusals, and what repeats do."""

import asyncio

import msgspec
import pytest

from ledger.ceilings import DAY_MS, Ceiling
from ledger.errors import UsageDiffers
from ledger.operations import failed_flights
from ledger.operations.failed_flights import FAILURE_SHARED_MS
from ledger.operations.prices import find_price
from ledger.prices import Price, Tier
from ledger.values import Bid, CacheBounds, Follow, Hit, Lead, Missing, NextAttempt, Refused
from tests.ledger.calls import (
    BEGAN_MS,
    Clock,
    a_call,
    a_ledger,
    a_result,
    a_settlement,
    admit_and_settle,
    an_ending,
    key_of,
)


def query(home, sql):
    with home.database() as db:
        return db.execute(sql).fetchall()


def ceiling(limit, scope="global", window="day"):
    return Ceiling(scope=scope, window=window, limit=limit)


async def test_a_call_leads_an_equal_one_follows_and_the_next_one_is_a_hit(home):
    async with a_ledger(home) as ledger:
        first, second, third = (a_call(key="k") for _ in range(3))
        lead = await ledger.admit(first)
        assert isinstance(lead, Lead)
        assert await ledger.admit(second) == Follow(leader_id=first.facts.generation_id, owner_id=ledger.owner_id)
        assert not await ledger.flight_is_over(key_of("k"), first.facts.generation_id)
        await ledger.settle(a_settlement(first, lead))
        assert await ledger.flight_is_over(key_of("k"), first.facts.generation_id)
        await ledger.record_follower(second.facts, an_ending(second, saved=400), leader_id=first.facts.generation_id)
        hit = await ledger.admit(third)
        assert isinstance(hit, Hit)
        assert (hit.response.body, hit.response.cost_nanousd) == (b"answer", 400)
        report = await ledger.generation(third.facts.generation_id)
        assert (report["cache"], report["saved_nanousd"], report["attempts"]) == ("hit", 400, [])
    assert query(home, "SELECT kind, cost_nanousd FROM postings") == [("settlement", 400)]


async def test_how_a_flight_failed_is_kept_a_while_where_another_process_may_have_waited(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:

        async def fail(failure=b"how it failed"):
            call = a_call(key="k", held=0)
            lead = await ledger.admit(call)
            settlement = a_settlement(call, lead, cost=None, outcome="upstream_error")
            await ledger.settle(msgspec.structs.replace(settlement, failure=failure))
            return call.facts.generation_id

        alone = await fail()
        assert await ledger.failure_of(alone) is None
        async with a_ledger(home, clock=clock) as other:
            own_reason, failed = await fail(None), await fail()
            assert [await other.failure_of(leader) for leader in (own_reason, failed)] == [None, b"how it failed"]
            clock.at_ms += FAILURE_SHARED_MS
            assert await other.failure_of(failed) is None
            await other._sweep()
            assert query(home, "SELECT COUNT(*) FROM failed_flights") == [(0,)]


async def test_who_lost_the_lead_shares_no_failure_and_only_the_newest_are_kept(home, monkeypatch):
    monkeypatch.setattr(failed_flights, "FAILURES_SHARED", 3)
    async with a_ledger(home) as ledger, a_ledger(home):
        calls = [a_call(key=f"k{number}", held=0) for number in range(6)]
        for call in calls:
            lead = await ledger.admit(call)
            if call is calls[-1]:
                await ledger._store.write(lambda db: db.execute("DELETE FROM flights").rowcount)
            settlement = a_settlement(call, lead, cost=None, outcome="upstream_error")
            await ledger.settle(msgspec.structs.replace(settlement, failure=b"how"))
        kept = [call.facts.generation_id for call in calls if await ledger.failure_of(call.facts.generation_id)]
        assert kept == [call.facts.generation_id for call in calls[2:5]]


async def test_a_stored_answer_is_gone_when_its_time_is_over(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(key="k"), ttl_ms=1000)
        assert isinstance(await ledger.admit(a_call(key="k", now_ms=BEGAN_MS + 999)), Hit)
        assert isinstance(await ledger.admit(a_call(key="k", now_ms=BEGAN_MS + 1000)), Lead)


async def test_what_does_not_fit_the_bounds_pushes_out_what_expires_soonest(home):
    async with a_ledger(home, bounds=CacheBounds(max_entries=2, max_bytes=100)) as ledger:
        for name, ttl_ms in (("a", 3000), ("b", 1000), ("c", 2000)):
            await admit_and_settle(ledger, a_call(key=name), ttl_ms=ttl_ms)
        outcomes = [await ledger.admit(a_call(key=name, bids=())) for name in "abc"]
        assert [type(outcome) for outcome in outcomes] == [Hit, Missing, Hit]
        await admit_and_settle(ledger, a_call(key="huge"), body=b"x" * 101)
        assert isinstance(await ledger.admit(a_call(key="huge", bids=())), Missing)
    assert query(home, "SELECT entries, bytes FROM response_totals") == [(2, 12)]


async def test_a_ceiling_admits_what_fits_and_tells_held_from_spent(home):
    clock = Clock()
    async with a_ledger(home, clock=clock, ceilings=[ceiling(2500)]) as ledger:
        one, two, three = (a_call() for _ in range(3))
        leads = [await ledger.admit(one), await ledger.admit(two)]
        refused = await ledger.admit(three)
        assert isinstance(refused, Refused)
        assert refused.held
        assert (refused.tight.held, refused.tight.spent, refused.tight.asked) == (2000, 0, 1000)
        for request, lead in zip((one, two), leads, strict=True):
            await ledger.settle(a_settlement(request, lead, cost=900))
        refused = await ledger.admit(three)
        assert isinstance(refused, Refused)
        assert not refused.held
        assert refused.tight.spent == 1800
        assert refused.tight.window_ends_at_ms == BEGAN_MS - BEGAN_MS % DAY_MS + DAY_MS
        assert isinstance(await ledger.admit(a_call(held=700)), Lead)
        assert isinstance(await ledger.admit(a_call(held=0)), Lead), "what costs nothing passes under any ceiling"
        clock.at_ms += DAY_MS
        tomorrow = await ledger.admit(a_call(now_ms=clock.at_ms))
        assert isinstance(tomorrow, Lead)
    assert query(home, "SELECT code, count FROM refusals ORDER BY code") == [
        ("ceiling_exceeded", 1),
        ("ceiling_held", 1),
    ]


async def test_a_hold_takes_room_in_all_of_its_scopes_or_in_none(home):
    limits = [ceiling(5000), ceiling(5000, "provider:p"), ceiling(500, "model:p:m", "month"), ceiling(1, "model:p:x")]
    async with a_ledger(home, ceilings=limits) as ledger:
        assert isinstance(await ledger.admit(a_call(held=501)), Refused)
        assert query(home, "SELECT SUM(held_amount) FROM ceiling_windows") == [(0,)]
        assert isinstance(await ledger.admit(a_call(held=500)), Lead)
    held = query(home, "SELECT ceiling_id, held_amount FROM ceiling_windows ORDER BY ceiling_id")
    assert held == [("day global", 500), ("day provider:p", 500), ("month model:p:m", 500)]


async def test_the_first_bid_that_fits_is_taken(home):
    bids = tuple(Bid(deployment=name, held_nanousd=1000, price_version="v") for name in ("a:m", "b:m"))
    async with a_ledger(home, ceilings=[ceiling(10, "provider:a")]) as ledger:
        lead = await ledger.admit(a_call(bids=bids))
        assert isinstance(lead, Lead)
        assert lead.bid == 1


async def test_a_repeated_request_gets_its_first_result_and_takes_nothing_more(home):
    async with a_ledger(home, ceilings=[ceiling(1000)]) as ledger:
        request = a_call(key="k")
        lead = await ledger.admit(request)
        assert await ledger.admit(request) == lead
        settlement = a_settlement(request, lead)
        await ledger.settle(settlement)
        await ledger.settle(settlement)
        with pytest.raises(UsageDiffers):
            await ledger.settle(a_settlement(request, lead, cost=401))
    assert query(home, "SELECT held_amount, spent_amount FROM ceiling_windows") == [(0, 400)]
    assert query(home, "SELECT COUNT(*) FROM postings") == [(1,)]


async def test_a_failed_attempt_is_closed_and_the_next_held_in_one_step_also_when_repeated(home):
    async with a_ledger(home, ceilings=[ceiling(1500)]) as ledger:
        request = a_call()
        lead = await ledger.admit(request)
        following = NextAttempt(
            facts=request.facts,
            closed=(a_result(lead, cost=None, outcome="upstream_error"),),
            attempt=2,
            bids=(Bid(deployment="q:m", held_nanousd=1500, price_version="v"),),
            now_ms=BEGAN_MS,
        )
        second = await ledger.hold_next(following)
        assert isinstance(second, Lead)
        assert await ledger.hold_next(following) == second
    states = query(home, "SELECT attempt, state, outcome FROM holds ORDER BY attempt")
    assert states == [(1, "released", "upstream_error"), (2, "held", None)]
    assert query(home, "SELECT held_amount, spent_amount FROM ceiling_windows") == [(1500, 0)]


async def test_a_settlement_above_its_hold_is_posted_whole_and_named_an_overrun(home):
    async with a_ledger(home, ceilings=[ceiling(1000)]) as ledger:
        await admit_and_settle(ledger, a_call(), cost=1300)
        assert isinstance(await ledger.admit(a_call(held=1)), Refused)
    assert query(home, "SELECT cost_nanousd, overrun_nanousd FROM postings") == [(1300, 300)]


async def test_a_dead_owners_holds_lapse_into_unknown_charges_and_late_usage_mends_them(home):
    clock = Clock()
    request = a_call(key="k")
    async with a_ledger(home, clock=clock, ceilings=[ceiling(5000)]) as stalled:
        lead = await stalled.admit(request)
        clock.at_ms += 16_000
        async with a_ledger(home, clock=clock, ceilings=[ceiling(5000)]) as other:
            await other._sweep()
            assert query(home, "SELECT kind, cost_nanousd, cost_basis FROM postings") == [("lapse", 1000, "unknown")]
            assert isinstance(await other.admit(a_call(key="k", now_ms=clock.at_ms)), Lead), "the lead is free again"
        await stalled.settle(a_settlement(request, lead, cost=400))
        await stalled.settle(a_settlement(request, lead, cost=400))
    lines = query(home, "SELECT kind, cost_nanousd FROM postings ORDER BY seq")
    assert lines == [("lapse", 1000), ("correction", -600)]
    assert query(home, "SELECT spent_amount FROM ceiling_windows") == [(400,)]
    assert query(home, "SELECT COUNT(*) FROM responses") == [(0,)], "a fenced-off leader stores nothing"


async def test_a_new_ceiling_counts_what_its_window_has_seen_and_a_retired_one_comes_back_exact(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(), cost=300)
        assert isinstance(await ledger.admit(a_call(held=100)), Lead)
        await ledger.configure_ceilings((ceiling(1000),))
        (status,) = await ledger.ceilings()
        assert (status["spent_nanousd"], status["held_nanousd"], status["room_nanousd"]) == (300, 100, 600)
        assert status["warn_at"] == [0.8, 1.0]
        await ledger.configure_ceilings(())
        await admit_and_settle(ledger, a_call(), cost=50)
        await ledger.configure_ceilings((ceiling(200),))
        (status,) = await ledger.ceilings()
        assert (status["spent_nanousd"], status["held_nanousd"], status["room_nanousd"]) == (350, 100, 0)
        assert isinstance(await ledger.admit(a_call(held=1)), Refused)


async def test_a_process_taken_for_dead_holds_nothing_until_it_has_a_new_lease(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        asleep, first = ledger.owner_id, await ledger.admit(before := a_call())
        clock.at_ms += 20_000
        async with a_ledger(home, clock=clock) as other:
            await other._sweep()
        leads = await asyncio.gather(*(ledger.admit(a_call(now_ms=clock.at_ms)) for _ in range(5)))
        assert all(isinstance(lead, Lead) for lead in leads)
        assert ledger.owner_id != asleep
        await ledger.settle(a_settlement(before, first, cost=400))
    owners = query(home, "SELECT owner_id, state, COUNT(*) FROM holds GROUP BY 1, 2 ORDER BY MIN(taken_at_ms)")
    assert owners == [(asleep, "lapsed", 1), (ledger.owner_id, "held", 5)]
    lines = query(home, "SELECT kind, cost_nanousd FROM postings ORDER BY seq")
    assert lines == [("lapse", 1000), ("correction", -600)]


async def test_a_price_is_on_record_before_the_first_hold_that_names_it(home):
    price = Price(version="v7", base=Tier(input=150_000_000, output=600_000_000), tiers=((1000, Tier(input=1)),))
    bid = Bid(deployment="p:m", held_nanousd=10, price_version="v7", price=price)
    async with a_ledger(home) as ledger:
        assert isinstance(await ledger.admit(a_call(bids=(bid,))), Lead)
    with home.database() as db:
        assert find_price(db, "p:m", "v7") == price
        assert find_price(db, "p:m", "v8") is None
