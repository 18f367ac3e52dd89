"""Pruning folds detail away; the audit stays clean and the reports by the hour say what they said."""

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS, Ceiling
from ledger.errors import TooRecent
from ledger.events import EventRaised
from ledger.ledger import open_reports
from ledger.prices import Price, Tier
from ledger.reports import SpendQuery, iso
from ledger.sqlite.prune import prune_file
from ledger.upkeep import prune_ledger
from ledger.values import Lead
from ledger.verify import NoSuchLine, verify_ledger
from tests.forked import forked
from tests.ledger import killed
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.homes import REFUSED, SqliteHome

HOUR_0 = BEGAN_MS - BEGAN_MS % HOUR_MS
LATER_MS = HOUR_0 + 40 * DAY_MS
CEILINGS = (
    Ceiling(scope="global", window="total", limit=10**9),
    Ceiling(scope="model:p:m", window="hour", limit=10**9),
)
BY_HOUR = SpendQuery(group_by=("hour", "model", "route", "key", "team", "basis", "outcome"))


def prune(home, hours, **options):
    return prune_ledger(home.url, HOUR_0 + hours * HOUR_MS, now_ms=LATER_MS, on_step=lambda _: None, **options)


def audit(home, *, since=None):
    return verify_ledger(home.url, on_rule=lambda _: None, since=since)


async def spend(home, query=BY_HOUR):
    async with open_reports(home.url, clock_ms=lambda: LATER_MS) as reports:
        return await reports.spend(query)


async def a_history(home, calls):
    """calls: (the hour of each, how it ended). A lapse comes from a process that died, its usage may come later."""
    clock = Clock(HOUR_0)
    async with a_ledger(home, clock=clock, ceilings=CEILINGS) as ledger:
        await ledger.record_prices({"p:m": Price(version="v1", base=Tier(input=100_000_000, output=50_000_000))})
        for hour, ending in sorted(calls):
            clock.at_ms = max(clock.at_ms, HOUR_0 + hour * HOUR_MS + 1)
            await ledger.lease.renew()
            request = a_call(now_ms=clock.at_ms)
            if ending == "settled":
                await admit_and_settle(ledger, request)
                continue
            lead = await ledger.admit(request)
            assert isinstance(lead, Lead)
            if ending == "released":
                await ledger.settle(a_settlement(request, lead, cost=None, outcome="error"))
            elif ending in {"lapsed", "mended"}:
                clock.at_ms += 60_000
                await ledger._sweep()
                await ledger.lease.renew()
                if ending == "mended":
                    await ledger.settle(a_settlement(request, lead))
        # What is left open is still held by a process that lives.


def rows(home, table):
    with home.database() as db:
        return db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]


MIXED = [(0, "settled"), (0, "released"), (1, "lapsed"), (2, "mended"), (3, "settled"), (5, "settled"), (6, "settled")]


async def test_detail_goes_and_sums_stay(home):
    await a_history(home, MIXED)
    before = await spend(home)
    pruned = prune(home, 5)
    assert (pruned.postings, pruned.holds, pruned.generations) == (5, 5, 5)
    assert (rows(home, "postings"), rows(home, "holds"), rows(home, "generations")) == (2, 2, 2)
    assert audit(home).violations == ()
    assert await spend(home) == before
    assert prune(home, 5).postings == 0, "once is enough"
    async with a_ledger(home, clock=Clock(LATER_MS), ceilings=CEILINGS) as ledger:
        await admit_and_settle(ledger, a_call(now_ms=LATER_MS))
    assert audit(home).violations == ()


async def test_an_audit_begins_after_a_line_that_was_not_folded_away(home):
    await a_history(home, MIXED)
    folded = prune(home, 5).through_seq
    assert audit(home, since=folded).postings == 2
    with pytest.raises(NoSuchLine, match=f"no line 1 to begin after: those up to {folded} were folded away"):
        audit(home, since=1)


async def test_a_report_that_needs_what_is_gone_says_so(home):
    await a_history(home, MIXED)
    prune(home, 5)
    moment = iso(HOUR_0 + 5 * HOUR_MS)
    async with open_reports(home.url, clock_ms=lambda: LATER_MS) as reports:
        assert "pruned_before" not in await reports.spend(BY_HOUR)
        assert moment == (await reports.spend(SpendQuery(group_by=("workflow",))))["pruned_before"]
        assert moment == (await reports.spend(SpendQuery(since_ms=HOUR_0 + 1)))["pruned_before"]
        recent = SpendQuery(since_ms=HOUR_0 + 5 * HOUR_MS, group_by=("workflow",))
        assert "pruned_before" not in await reports.spend(recent)


async def test_spend_by_name_goes_with_its_detail_and_what_is_left_is_told(home):
    await a_history(home, MIXED)
    by_workflow = SpendQuery(group_by=("hour", "workflow"))
    before = await spend(home, by_workflow)
    prune(home, 5)
    kept = (await spend(home, by_workflow))["rows"]
    assert kept == [row for row in before["rows"] if row["hour"] >= iso(HOUR_0 + 5 * HOUR_MS)]
    assert {row["workflow"] for row in kept} == {"w"}
    assert rows(home, "spend_hours_by_name") == 4, "two names in each of two hours"


ENDINGS = st.sampled_from(["settled", "released", "lapsed", "mended", "open"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 4), ENDINGS), min_size=1, max_size=8), st.integers(0, 6), st.integers(1, 4))
def test_reports_by_the_hour_are_the_same_before_and_after(calls, hours, at_once):
    async def run(home):
        from ledger.sqlite.prune import prune_file

        await a_history(home, calls)
        before = await spend(home)
        prune_file(
            home.path, HOUR_0 + hours * HOUR_MS, now_ms=LATER_MS, dry_run=False, on_step=lambda _: None,
            at_once=at_once,
        )  # fmt: skip
        assert audit(home).violations == ()
        assert await spend(home) == before

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(SqliteHome(Path(folder))))


async def test_alerts_that_are_over_are_forgotten_with_what_they_are_as_old_as(home):
    await a_history(home, MIXED)
    async with a_ledger(home, clock=Clock(LATER_MS), ceilings=CEILINGS) as ledger:
        for number, at_ms in enumerate((HOUR_0, HOUR_0 + 5 * HOUR_MS, LATER_MS)):
            await ledger.raise_event(EventRaised(type="disk.low", dedup_key=str(number), at_ms=at_ms, facts={}))
    assert prune(home, 5).events == 1
    assert rows(home, "events") == 2
    assert audit(home).violations == ()


async def test_a_dry_run_says_what_would_go_and_changes_nothing(home):
    await a_history(home, MIXED)
    dry = prune(home, 5, dry_run=True)
    assert (dry.postings, rows(home, "postings"), rows(home, "closings")) == (5, 7, 0)
    assert prune(home, 5).through_seq == dry.through_seq


async def test_a_line_and_its_correction_go_together_however_few_go_at_once(sqlite_home):
    await a_history(sqlite_home, [(0, "mended"), (1, "settled"), (2, "settled")])
    before_ms = HOUR_0 + 5 * HOUR_MS
    found = prune_file(sqlite_home.path, before_ms, now_ms=LATER_MS, dry_run=False, on_step=lambda _: None, at_once=1)
    assert found.postings == 3


async def test_what_is_recent_or_newest_or_open_stays(home):
    await a_history(home, [(0, "open"), (0, "settled"), (1, "settled")])
    with pytest.raises(TooRecent, match="is not a day ago yet"):
        prune_ledger(home.url, LATER_MS, now_ms=LATER_MS, on_step=lambda _: None)
    assert prune(home, 20).postings == 1, "the newest line stays"
    assert rows(home, "holds") == 2


@pytest.mark.parametrize(
    ("words", "statement"),
    {
        "a posting never vanishes": "DELETE FROM postings",
        "a hold never vanishes": "DELETE FROM holds",
        "a closing never vanishes": "DELETE FROM closings",
        "a closing never changes": "UPDATE closings SET cost_nanousd = 0",
        "a closing is what its lines come to": (
            "INSERT INTO closings SELECT seq, chain, seq, 0, 1, 1 FROM postings ORDER BY seq LIMIT 1"
        ),
    }.items(),
)
async def test_nothing_else_may_go(home, words, statement):
    await a_history(home, MIXED)
    prune(home, 5)
    with home.database() as db, pytest.raises(REFUSED, match=words):
        db.execute(statement)


async def test_nothing_is_folded_from_where_a_line_is_missing_on(home):
    await a_history(home, [(hour, "settled") for hour in range(5)])
    with home.database(ruled=False) as db:
        db.execute("DELETE FROM postings WHERE seq = 2")
    assert prune(home, 20).through_seq == 1
    assert audit(home).violations, "the gap is still there to see"


async def test_a_forged_balance_breaks_the_audit(home):
    await a_history(home, MIXED)
    prune(home, 5)
    with home.database(ruled=False) as db:
        db.execute("UPDATE closings SET chain = ?", (bytes(32),))
    assert any("chain" in violation.rule for violation in audit(home).violations)


async def test_killed_between_two_steps_it_is_done_by_doing_it_again(sqlite_home):
    await a_history(sqlite_home, MIXED)
    before = await spend(sqlite_home)
    asked = (str(sqlite_home.path), HOUR_0 + 5 * HOUR_MS, LATER_MS)
    async with forked(killed.prune, *asked, folder=sqlite_home.folder, environ=os.environ) as process:
        assert await process.wait() == -signal.SIGKILL
    assert 2 < rows(sqlite_home, "postings") < 7
    assert (audit(sqlite_home).violations, await spend(sqlite_home)) == ((), before)
    prune(sqlite_home, 5)
    assert rows(sqlite_home, "postings") == 2
    assert (audit(sqlite_home).violations, await spend(sqlite_home)) == ((), before)
