"""Bids that are no bound: refused for it by the transaction that finds a ceiling on them, whoever knew of it before."""

import asyncio

import msgspec
import pytest

from ledger.errors import CeilingExceeded, HoldUnbounded
from ledger.values import NextAttempt, Refused
from tests.ledger.calls import BEGAN_MS, a_ledger, admit_and_settle
from tests.ledger.test_units import USED, bid, call, calls, counts, dollars, tokens, violations


def no_bound(deployment="p:m", *units, held=1000, tokens=100):
    return msgspec.structs.replace(bid(deployment, held=held, tokens=tokens), unbounded_in=units, unbounded_by="tools")


NO_BOUNDS = [
    (dollars(10**9), ("usd", "tokens"), True),
    (tokens(10**9, "model:*"), ("usd", "tokens"), True),
    (tokens(10**9), ("tokens",), True),
    (dollars(10**9, "user:*"), ("tokens",), False),
    (calls(9), ("usd", "tokens"), False),
    (dollars(10**9, "provider:q"), ("usd", "tokens"), False),
]


@pytest.mark.parametrize(("limit", "units", "is_refused"), NO_BOUNDS)
async def test_a_bid_that_is_no_bound_passes_under_no_ceiling_in_its_unit_whatever_room_there_is(
    home, limit, units, is_refused
):
    async with a_ledger(home, ceilings=[limit]) as ledger:
        await admit_and_settle(ledger, call(), usage=USED)
        request = call(no_bound("p:m", *units))
        prospect = await ledger.look_ahead(request)
        # Together with others, alone, and as a further attempt.
        admitted, _ = await asyncio.gather(ledger.admit(request), ledger.admit(call(bid(held=0, tokens=0))))
        began = call(bid(held=0, tokens=0))
        await ledger.admit(began)
        further = NextAttempt(facts=began.facts, closed=(), attempt=2, bids=(no_bound("p:m", *units),), now_ms=BEGAN_MS)
        found = [admitted, await ledger.admit(call(no_bound("p:m", *units))), await ledger.hold_next(further)]
        assert [isinstance(it, Refused) for it in (*found, prospect.fit)] == [is_refused] * 4
        for refused in found if is_refused else ():
            assert isinstance(refused.error, HoldUnbounded)
            assert (refused.error.code, refused.error.field) == ("unbounded_cost", "tools")
            assert not refused.may_yet_fit
            assert refused.tight.ceiling_id.endswith(limit.scope.replace("*", "p:m"))
    assert violations(home) == set()
    with home.database() as db:
        assert db.execute("SELECT code FROM refusals").fetchall() == []
        assert db.execute("SELECT dedup_key FROM events").fetchall() == []


async def test_a_bid_that_is_no_bound_leaves_the_call_to_the_next_one_and_is_told_of_last(home):
    limits = [dollars(1500, "provider:p"), tokens(10**6, "provider:q")]
    async with a_ledger(home, ceilings=limits) as ledger:
        lead = await ledger.admit(call(no_bound("p:m", "usd"), bid("q:m")))
        assert (lead.bid, (await counts(ledger))["provider:p", "usd"]) == (1, (0, 0))
        refused = await ledger.admit(call(no_bound("q:m", "tokens"), bid("p:m", held=2000)))
        assert (refused.bid, type(refused.error)) == (1, CeilingExceeded)


async def test_what_was_admitted_before_its_ceiling_stays_so(home):
    async with a_ledger(home) as ledger:
        request = call(no_bound("p:m", "usd"))
        lead = await ledger.admit(request)
        await ledger.configure_ceilings((dollars(10**9),))
        assert await ledger.admit(request) == lead
