"""Months that are over are dropped whole, and everything comes to what it came to before."""

import asyncio

import asyncpg
import pytest

from ledger.ceilings import DAY_MS, HOUR_MS, UNIT_OF, Ceiling
from ledger.corrections import Correction, open_corrector
from ledger.errors import NotALedger
from ledger.ledger import open_reports
from ledger.postgres import fold
from ledger.postgres.connection import run_to_end
from ledger.postgres.months import make_months
from ledger.upkeep import prune_ledger
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_ledger, a_settlement, admit_and_settle
from tests.ledger.postgres.test_months import AUGUST_MS, JULY_MS, JUNE_MS, MAY_MS, a_call_at, home, parts_of
from tests.ledger.test_prune import BY_HOUR

__all__ = ["home"]
CEILINGS = (
    Ceiling(scope="global", window="total", limit=10**9),
    Ceiling(scope="model:p:m", window="hour", limit=10**9),
    Ceiling(scope="user:*", window="day", unit="calls", limit=10**6),
    Ceiling(scope="provider:p", window="month", unit="tokens", limit=10**9),
)
ENDINGS = ("settled", "released", "lapsed", "overrun", "settled")


async def move_to(ledger, at_ms):
    """The clock is put on, as if nobody had called meanwhile: open holds stay open."""
    ledger._clock_ms.at_ms = at_ms
    await ledger.lease.rejoin(ledger.lease.owner)
    await ledger._store.write(lambda db: make_months(db, now_ms=at_ms))


async def call_at(ledger, at_ms):
    await move_to(ledger, at_ms)
    await admit_and_settle(ledger, a_call_at(at_ms))


async def a_history(home, *months, after=()):
    """Calls that end in each way on the third of each month, and one that is settled at each of `after`."""
    leads = []
    async with a_ledger(home, clock=Clock(months[0]), ceilings=CEILINGS) as ledger:
        for month_ms in months:
            for number, ending in enumerate(ENDINGS):
                at_ms = month_ms + 2 * DAY_MS + number * HOUR_MS
                await move_to(ledger, at_ms)
                call = a_call_at(at_ms)
                lead = await ledger.admit(call)
                leads.append(lead)
                if ending == "lapsed":
                    await move_to(ledger, at_ms + 60_000)
                    await ledger._sweep()
                else:
                    cost = {"released": None, "overrun": 1500}.get(ending, 400)
                    await ledger.settle(a_settlement(call, lead, cost=cost, outcome="ok" if cost else "error"))
        for at_ms in after:
            await call_at(ledger, at_ms)
    return leads


def prune(home, before_ms, now_ms=AUGUST_MS + 20 * DAY_MS):
    return prune_ledger(home.url, before_ms, now_ms=now_ms, on_step=str)


async def spend(home):
    async with open_reports(home.url, clock_ms=lambda: AUGUST_MS) as reports:
        return await reports.spend(BY_HOUR)


def audit(home):
    return verify_ledger(home.url, on_rule=str).violations


def size_of(home, part):
    """Bytes of a part's tables; 0: it has none."""
    sizes = " + ".join(f"COALESCE(pg_total_relation_size(to_regclass('{whole}_{part}')), 0)" for whole in WHOLES)
    return home.server.run(home.name, f"SELECT {sizes}")[0][0]


WHOLES = ("generations", "holds", "hold_windows", "postings")


async def test_months_that_are_over_are_dropped_and_sums_stay(home):
    await a_history(home, MAY_MS, JUNE_MS, after=[JULY_MS + DAY_MS])
    before, given = await spend(home), home.server.run(home.name, "SELECT chain FROM postings ORDER BY seq")
    assert audit(home) == ()
    assert min(size_of(home, part) for part in ("2041_05", "2041_06")) > 0
    pruned = await asyncio.to_thread(prune, home, JULY_MS)
    assert (pruned.postings, pruned.holds, pruned.generations, pruned.through_seq) == (8, 10, 10, 8)
    assert parts_of(home) == {"2041_07": [1, 1, 4, 1]}
    assert [size_of(home, part) for part in ("2041_05", "2041_06")] == [0, 0], "the disk is given back"
    closing = home.server.run(home.name, "SELECT chain FROM closings ORDER BY through_seq DESC LIMIT 1")
    assert closing == given[7:8], "the chain goes on from the line that was folded last"
    assert (audit(home), await spend(home)) == ((), before)
    async with a_ledger(home, clock=Clock(JULY_MS + 3 * DAY_MS), ceilings=CEILINGS) as ledger:
        await admit_and_settle(ledger, a_call_at(JULY_MS + 3 * DAY_MS))
    assert audit(home) == ()
    assert (await asyncio.to_thread(prune, home, JULY_MS)).postings == 0, "once is enough"


async def test_a_ceiling_that_comes_after_its_months_were_dropped_starts_with_what_they_came_to(home):
    await a_history(home, MAY_MS, JUNE_MS, after=[JULY_MS + DAY_MS])
    ((cost, tokens),) = home.server.run(home.name, "SELECT SUM(cost_nanousd), SUM(tokens) FROM postings")
    await asyncio.to_thread(prune, home, JULY_MS)
    assert parts_of(home) == {"2041_07": [1, 1, 4, 1]}
    scopes = ("global", "provider:p", "model:p:m", "user:u1", "workflow:w")
    late = [Ceiling(scope=it, window="total", unit=unit, limit=10**9) for it in scopes for unit in UNIT_OF.values()]
    async with a_ledger(home, clock=Clock(JULY_MS + 3 * DAY_MS), ceilings=late) as ledger:
        found = {(it["scope"], it["unit"]): it for it in await ledger.ceilings()}
    assert {found[scope, "usd"]["spent_nanousd"] for scope in scopes} == {cost}
    assert {found[scope, "tokens"]["spent"] for scope in scopes} == {tokens}
    assert [found[scope, "calls"]["spent"] for scope in scopes] == [11, 9, 9, 11, 11], "released was never sent"
    kept = "SELECT month_ms, attempts FROM folded_months WHERE scope = 'global' ORDER BY month_ms"
    assert [tuple(row) for row in home.server.run(home.name, kept)] == [(MAY_MS, 4), (JUNE_MS, 4)]
    assert audit(home) == ()


async def test_what_was_under_way_at_the_months_end_keeps_its_month_until_the_next_time(home):
    async with a_ledger(home, clock=Clock(MAY_MS), ceilings=CEILINGS) as ledger:
        await call_at(ledger, MAY_MS)
        await move_to(ledger, JUNE_MS - 1)
        call = a_call_at(JUNE_MS - 1)
        lead = await ledger.admit(call)
        await move_to(ledger, JUNE_MS + 5)
        await ledger._sweep()
        await ledger.settle(a_settlement(call, lead))
        await call_at(ledger, JUNE_MS + DAY_MS)
        await call_at(ledger, JULY_MS)
    before = await spend(home)
    await asyncio.to_thread(prune, home, JUNE_MS)
    assert parts_of(home)["2041_05"] == [1, 1, 4, 2]
    assert (audit(home), await spend(home)) == ((), before)
    await asyncio.to_thread(prune, home, JUNE_MS + 2 * DAY_MS)
    assert size_of(home, "2041_05") == 0
    assert (audit(home), await spend(home)) == ((), before)


async def corrected(home, lead, at_ms):
    async with open_corrector(home.url, clock_ms=Clock(at_ms)) as books:
        change = Correction(
            hold_id=lead.hold_id, cost_nanousd=300, basis="estimated", reason="it was less", price_version="v1"
        )
        assert await books.correct([change])


async def test_a_correction_that_came_later_goes_with_its_month_and_what_came_before_it(home):
    first, *_ = await a_history(home, MAY_MS, JUNE_MS)
    await corrected(home, first, JULY_MS - DAY_MS)
    async with a_ledger(home, clock=Clock(JULY_MS), ceilings=CEILINGS) as ledger:
        await admit_and_settle(ledger, a_call_at(JULY_MS))
    before = await spend(home)
    await asyncio.to_thread(prune, home, JUNE_MS + DAY_MS)
    assert parts_of(home)["2041_05"][3] == 5, "not without its last line"
    assert (audit(home), await spend(home)) == ((), before)
    await asyncio.to_thread(prune, home, JULY_MS)
    assert [size_of(home, part) for part in ("2041_05", "2041_06")] == [0, 0]
    assert (audit(home), await spend(home)) == ((), before)


async def test_what_comes_to_a_month_while_it_is_added_up_is_not_lost(home, monkeypatch):
    first, *_ = await a_history(home, MAY_MS, after=[JULY_MS])
    in_turn, times = fold._in_turn, []

    def later(db, work):
        if not times.append(1) and len(times) == 1:
            run_to_end(corrected(home, first, JULY_MS + 1))
        in_turn(db, work)

    monkeypatch.setattr(fold, "_in_turn", later)
    await asyncio.to_thread(prune, home, JUNE_MS)
    assert parts_of(home)["2041_05"][3] == 5, "its newest line is the newest of all"
    assert audit(home) == ()


async def test_whoever_reads_what_is_to_go_holds_nobody_up(home, monkeypatch):
    monkeypatch.setattr(fold, "_PAUSE_S", 0.01)
    await a_history(home, MAY_MS, after=[JULY_MS])
    reader = await asyncpg.connect(home.url)
    reading = reader.transaction()
    await reading.start()
    await reader.execute("SELECT COUNT(*) FROM postings")
    async with a_ledger(home, clock=Clock(JULY_MS + 1), ceilings=CEILINGS) as ledger:
        pruning = asyncio.create_task(asyncio.to_thread(prune, home, JUNE_MS))
        for _ in range(5):
            await admit_and_settle(ledger, a_call_at(JULY_MS + 1))
        assert not pruning.done()
        await reading.rollback()
        assert (await pruning).postings == 4
    await reader.close()
    assert audit(home) == ()


async def test_a_reader_that_never_ends_is_told_of_and_nothing_is_half_done(home, monkeypatch):
    monkeypatch.setattr(fold, "TRIES", 1)
    await a_history(home, MAY_MS, after=[JULY_MS])
    reader = await asyncpg.connect(home.url)
    async with reader.transaction():
        await reader.execute("SELECT COUNT(*) FROM postings")
        with pytest.raises(NotALedger, match="nothing is half done"):
            await asyncio.to_thread(prune, home, JUNE_MS)
    await reader.close()
    assert parts_of(home)["2041_05"] == [5, 5, 20, 4]
    assert audit(home) == ()
