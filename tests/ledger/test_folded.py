"""A ceiling that comes into force after a prune starts with all that its window has seen, folded or not."""

import asyncio
import json
import tempfile
from itertools import product
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, Ceiling, scopes_of
from ledger.corrections import Correction, open_corrector
from ledger.sqlite.prune import prune_file
from ledger.upkeep import backup_ledger, prune_ledger
from ledger.values import Lead, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.homes import SqliteHome
from tests.ledger.test_looks import a_watched_ledger

# The first of the month that tests begin in, and its twentieth.
MONTH_MS = 1_793_491_200_000
NOW_MS = MONTH_MS + 19 * DAY_MS
WHO = {"key": "k1", "team": "t1", "user": "u1", "workflow": "w", "run": "r1"}
OTHERS = {"key": "k2", "team": "", "user": "*", "workflow": "\\*", "run": "r2"}
SCOPES = sorted({*scopes_of("p:m", WHO), *scopes_of("q:n", OTHERS)})
WINDOWS, UNITS = ("month", "total"), ("usd", "tokens", "calls")
ALL = tuple(
    Ceiling(scope=scope, window=window, unit=unit, limit=10**9)
    for scope, window, unit in product(SCOPES, WINDOWS, UNITS)
)
ENDINGS = ("settled", "released", "refused", "lapsed", "mended", "overrun")


def a_call_of(who, at_ms, deployment="p:m", held=1000):
    request = a_call(held=held, now_ms=at_ms, deployment=deployment)
    return msgspec.structs.replace(request, facts=msgspec.structs.replace(request.facts, attribution=who))


async def spend(ledger, clock, request, ending):
    """One call that ends like this. A lapse is a process that died, whose usage may come later."""
    await ledger.lease.rejoin(ledger.lease.owner)
    lead = await ledger.admit(request)
    assert isinstance(lead, Lead), lead
    if ending in {"lapsed", "mended"}:
        clock.at_ms += 60_000
        await ledger._sweep()
        await ledger.lease.rejoin(ledger.lease.owner)
    if ending == "released":
        await ledger.settle(a_settlement(request, lead, cost=None, outcome="error"))
    elif ending == "refused":
        await ledger.settle(a_settlement(request, lead, cost=None, outcome="error", status=400))
    elif ending != "lapsed":
        await ledger.settle(a_settlement(request, lead, cost=1500 if ending == "overrun" else 400))
    return lead


async def a_history(home, days, *, ceilings=(), then=()):
    """A call of each kind on each of these days, by one caller and the other; half of them under these ceilings."""
    clock = Clock(MONTH_MS + days[0][0] * DAY_MS)
    leads = []
    async with a_ledger(home, clock=clock, ceilings=ceilings) as ledger:
        for number, (day, ending) in enumerate(days):
            if number == len(days) // 2:
                await ledger.configure_ceilings(tuple(then))
            clock.at_ms = max(clock.at_ms, MONTH_MS + day * DAY_MS) + 1
            who, deployment = ((WHO, "p:m"), (OTHERS, "q:n"))[number % 2]
            leads.append(await spend(ledger, clock, a_call_of(who, clock.at_ms, deployment), ending))
    return leads


def prune(home, day):
    return prune_ledger(home.url, MONTH_MS + day * DAY_MS, now_ms=NOW_MS, on_step=str)


def is_clean(home):
    return verify_ledger(home.url, on_rule=str).violations == ()


async def spent_under(home, ceilings):
    """{(scope, window, unit): what it starts with}, as everybody is told who asks for the ceilings."""
    async with a_ledger(home, clock=Clock(NOW_MS), ceilings=ceilings) as ledger:
        found = await ledger.ceilings()
    return {
        (it["scope"], it["window"], it["unit"]): it["spent_nanousd" if it["unit"] == "usd" else "spent"]
        for it in found
    }  # fmt: skip


DAYS = [(-1, "settled"), (-1, "settled"), *((2, ending) for ending in ENDINGS), (3, "settled"), (18, "settled")]


async def test_every_new_ceiling_starts_with_what_was_folded_whatever_it_counts(home):
    await a_history(home, DAYS)
    assert prune(home, 5).holds == 9
    found = await spent_under(home, ALL)
    # Settled, mended and overrun cost what they did, lapsed what was held; u1's came first, third and so on.
    assert {unit: found["global", "total", unit] for unit in UNITS} == {"usd": 4900, "tokens": 35, "calls": 10}
    assert {unit: found["global", "month", unit] for unit in UNITS} == {"usd": 4100, "tokens": 25, "calls": 8}
    for scope in ("key:k1", "team:t1", "user:u1", "workflow:w", "run:r1"):
        assert [found[scope, window, "usd"] for window in WINDOWS] == [1200, 1600], scope
    for scope in ("key:k2", r"user:\*", r"workflow:\\*", "run:r2"):
        assert [found[scope, window, "usd"] for window in WINDOWS] == [2900, 3300], scope
    # A deployment's are attempts, and one that was never sent is none.
    assert [found[scope, "total", "calls"] for scope in ("provider:q", "model:q:n", "key:k2")] == [4, 4, 5]
    assert is_clean(home)


async def test_a_limit_that_is_used_up_refuses_after_a_prune_what_it_refused_before(home):
    await a_history(home, [(day, "settled") for day in (1, 1, 2, 2, 18)])
    prune(home, 5)
    async with a_ledger(home, clock=Clock(NOW_MS)) as ledger:
        for scope, spent in (("global", 2000), ("user:u1", 1200)):
            await ledger.configure_ceilings((Ceiling(scope=scope, window="month", limit=spent + 999),))
            refused = await ledger.admit(a_call_of(WHO, NOW_MS))
            assert isinstance(refused, Refused)
            assert (refused.tight.spent, refused.tight.limit) == (spent, spent + 999)
            await ledger.configure_ceilings((Ceiling(scope=scope, window="month", limit=spent + 1000),))
            await spend(ledger, ledger._clock_ms, a_call_of(WHO, NOW_MS), "refused")
    assert is_clean(home)


@pytest.mark.parametrize("window", WINDOWS)
async def test_a_template_begins_at_a_names_next_call_with_what_was_folded_of_it(home, window):
    await a_history(home, [(1, "settled"), (1, "overrun"), (2, "settled"), (18, "overrun")])
    prune(home, 5)
    async with a_ledger(home, clock=Clock(NOW_MS)) as ledger:
        limits = [Ceiling(scope=f"{kind}:*", window=window, limit=1700) for kind in ("user", "run")]
        await ledger.configure_ceilings(tuple(limits))
        kept = {it["scope"]: it["spent_nanousd"] for it in await ledger.ceilings()}
        assert kept == {r"user:\*": 3000, "run:r2": 3000}, "who has detail left has his own at once"
        refused = await ledger.admit(a_call_of(WHO, NOW_MS))
        assert isinstance(refused, Refused)
        assert refused.tight.spent == 800
        await spend(ledger, ledger._clock_ms, a_call_of({**WHO, "user": "new", "run": "new"}, NOW_MS), "settled")
        spent = {it["scope"]: it["spent_nanousd"] for it in await ledger.ceilings()}
        assert spent == {**kept, "user:u1": 800, "run:r1": 800, "user:new": 400, "run:new": 400}
    assert is_clean(home)


async def test_a_window_that_begins_beyond_its_limit_tells_of_it(home):
    await a_history(home, [(1, "settled"), (1, "settled"), (2, "settled"), (18, "settled")])
    prune(home, 5)
    async with a_ledger(home, clock=Clock(NOW_MS)) as ledger:
        await ledger.configure_ceilings((Ceiling(scope="user:*", window="month", limit=500),))
        assert isinstance(await ledger.admit(a_call_of(WHO, NOW_MS)), Refused)
    facts = [json.loads(text) for (text,) in home.rows("SELECT facts FROM events ORDER BY seq")]
    assert ("user:u1", 1.0) in [(it["scope"], it["threshold"]) for it in facts]
    assert is_clean(home)


async def test_the_services_own_audit_takes_a_window_that_began_with_what_was_folded_for_what_it_is(home):
    await a_history(home, [(1, "settled"), (1, "settled"), (2, "settled"), (18, "settled")])
    prune(home, 5)
    clock = Clock(NOW_MS)
    async with a_watched_ledger(home, clock=clock) as (ledger, look):
        await look()
        await ledger.configure_ceilings(tuple(it for it in ALL if it.scope in {"global", "key:k1"}))
        assert (await look()).drift == 0
        users = Ceiling(scope="user:*", window="month", limit=10**9)
        await ledger.configure_ceilings((*ALL[:3], users))
        for _ in range(2):
            await spend(ledger, clock, a_call_of(WHO, clock.at_ms), "settled")
            assert (await look()).drift == 0
        with home.database() as db:
            db.execute("UPDATE ceiling_windows SET spent_amount = spent_amount + 1 WHERE ceiling_id = 'month user:u1'")
        await spend(ledger, clock, a_call_of(WHO, clock.at_ms), "settled")
        assert (await look()).drift == 1
    assert not is_clean(home)


async def test_a_ceiling_that_was_out_of_force_for_a_while_counts_nothing_twice_and_leaves_nothing_out(home):
    limits = (Ceiling(scope="global", window="total", limit=10**9),)
    await a_history(home, [(day, "settled") for day in (1, 1, 2, 2, 18)], ceilings=limits)
    assert prune(home, 5).holds == 4, "two that it counted, and two that it did not"
    for _ in range(2):
        assert await spent_under(home, limits) == {("global", "total", "usd"): 2000}
        assert await spent_under(home, ()) == {}
    assert is_clean(home)


async def test_a_correction_is_folded_with_what_it_corrects(home):
    first, *_ = await a_history(home, [(1, "settled"), (1, "settled"), (18, "settled")])
    async with open_corrector(home.url, clock_ms=Clock(MONTH_MS + 2 * DAY_MS)) as books:
        change = Correction(
            hold_id=first.hold_id, cost_nanousd=700, basis="estimated", reason="it was more", price_version="v1"
        )
        await books.correct([change])
    async with a_ledger(home, clock=Clock(NOW_MS)) as ledger:
        await admit_and_settle(ledger, a_call_of(WHO, NOW_MS))
    assert prune(home, 5).holds == 0, "a line after it is young"
    found = await spent_under(home, ALL)
    assert (found["user:u1", "month", "usd"], found["global", "total", "usd"]) == (1500, 1900)
    assert is_clean(home)


CALLS = st.lists(
    st.tuples(st.sampled_from([-40, -1, 0, 2, 4, 6, 18]), st.sampled_from(ENDINGS)), min_size=2, max_size=9
)
SOME = st.lists(st.sampled_from([it for it in ALL if it.window == "total"]), max_size=6, unique=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls=CALLS.map(sorted), day=st.sampled_from([0, 1, 5, 7]), at_once=st.integers(1, 4), before=SOME, then=SOME)
def test_ceilings_start_after_a_prune_as_they_do_without_one(calls, day, at_once, before, then):
    async def run(home, unpruned):
        await a_history(home, calls, ceilings=before, then=then)
        backup_ledger(home.url, unpruned.path, on_step=str)
        before_ms = MONTH_MS + day * DAY_MS
        prune_file(home.path, before_ms, now_ms=NOW_MS, dry_run=False, on_step=str, at_once=at_once)
        assert is_clean(home)
        assert await spent_under(home, ALL) == await spent_under(unpruned, ALL)
        assert is_clean(home)

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "unpruned").mkdir()
        asyncio.run(run(SqliteHome(Path(folder)), SqliteHome(Path(folder) / "unpruned")))
