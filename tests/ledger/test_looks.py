"""The service's own audit: it goes on from where it was, tells of drift once, and one process at a time looks."""

import logging
import os
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, Ceiling
from ledger.errors import LedgerUnavailable
from ledger.operations.sums import HOUR_SUM, WINDOW_SUM
from ledger.sqlite.proofs import CALLED
from ledger.store import looks
from ledger.store.looks import Looks
from ledger.upkeep import prune_ledger
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.drawn import holds

CEILINGS = (
    Ceiling(scope="global", window="month", limit=10**6),
    Ceiling(scope="model:p:m", window="minute", limit=10**6),
    Ceiling(scope="user:*", window="hour", limit=10**6),
    Ceiling(scope="provider:p", window="day", unit="tokens", limit=10**6),
    Ceiling(scope="global", window="minute", unit="calls", limit=10**6),
)


@asynccontextmanager
async def a_watched_ledger(home, *, clock=None, ceilings=()):
    clock = clock or Clock()
    async with a_ledger(home, clock=clock, ceilings=ceilings) as ledger:
        its = Looks(ledger._store, ledger._readers, clock_ms=clock, owner_id=lambda: ledger.owner_id, every_s=60)

        async def look_a_minute_later():
            clock.at_ms += 60_000
            await its.look()
            return await ledger.figures()

        yield ledger, look_a_minute_later


def damage(home, statement):
    with home.database(ruled=False) as db:
        assert db.execute(statement).rowcount > 0


def events(home):
    with home.database() as db:
        return db.execute("SELECT type, dedup_key, facts FROM events ORDER BY seq").fetchall()


async def test_a_look_goes_on_from_the_one_before(home):
    async with a_watched_ledger(home) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        await admit_and_settle(ledger, a_call())
        assert (await look()).verified_seq == 2
        await admit_and_settle(ledger, a_call())
        figures = await look()
        assert (figures.verified_seq, figures.drift) == (3, 0)
        assert (figures.wal_bytes > 0) == (home.engine == "sqlite")


async def test_drift_is_logged_and_told_once(home, caplog):
    async with a_watched_ledger(home) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        damage(home, "UPDATE postings SET cost_nanousd = cost_nanousd + 1")
        with caplog.at_level(logging.ERROR):
            assert (await look()).drift == 1
        assert "a whole chain" in caplog.text
        await admit_and_settle(ledger, a_call())
        assert (await look()).drift == 1
    ((kind, subject, facts),) = events(home)
    assert kind == "ledger.drift"
    assert "seq=1" in subject
    assert msgspec.json.decode(facts)["row"]["seq"] == 1


async def test_lines_that_were_folded_since_the_last_look_are_no_drift(home):
    clock = Clock()
    async with a_watched_ledger(home, clock=clock, ceilings=CEILINGS) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        await look()
        for _ in range(3):
            await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        later_ms = BEGAN_MS + 40 * DAY_MS
        assert prune_ledger(home.url, BEGAN_MS + DAY_MS, now_ms=later_ms, on_step=lambda _: None).through_seq == 3
        figures = await look()
        assert (figures.verified_seq, figures.drift) == (4, 0)


async def test_a_look_in_many_parts_compares_sums_once_it_has_them_all(home, monkeypatch):
    monkeypatch.setattr(looks, "LINES_AT_ONCE", 2)
    async with a_watched_ledger(home, ceilings=CEILINGS) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        await look()
        for _ in range(5):
            await admit_and_settle(ledger, a_call())
        figures = await look()
        assert (figures.verified_seq, figures.drift) == (6, 0)


async def test_a_ledger_that_lost_its_end_is_noticed(home):
    async with a_watched_ledger(home) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        await admit_and_settle(ledger, a_call())
        await look()
        damage(home, "DELETE FROM postings WHERE seq = 2")
        assert (await look()).drift == 1
    broken = verify_ledger(home.url, on_rule=lambda _: None).violations
    assert any("looked at is still there" in violation.rule for violation in broken)


async def test_a_page_that_cannot_be_read_is_drift(sqlite_home):
    async with a_watched_ledger(sqlite_home) as (ledger, look):
        await admit_and_settle(ledger, a_call())
    with sqlite_home.database() as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'postings'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    async with a_watched_ledger(sqlite_home) as (_, look):
        with (sqlite_home.path).open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"\xff", (page - 1) * size)
        assert (await look()).drift == 1


class Away:
    """Readers of a ledger that cannot be read just now."""

    async def read(self, work):
        raise LedgerUnavailable


async def test_a_ledger_that_cannot_be_read_just_now_is_no_drift(home):
    async with a_ledger(home) as ledger:
        looks = Looks(ledger._store, Away(), clock_ms=Clock(), owner_id=lambda: ledger.owner_id, every_s=60)
        with pytest.raises(LedgerUnavailable):
            await looks.look()
    assert events(home) == []


SUMS = {
    "a window that was there": ("UPDATE ceiling_windows SET spent_amount = spent_amount + 1", WINDOW_SUM, 1),
    "a window that is new": (
        "UPDATE ceiling_windows SET spent_amount = spent_amount + 1"
        " WHERE starts_at_ms = (SELECT MAX(starts_at_ms) FROM ceiling_windows)",
        WINDOW_SUM,
        2,
    ),
    "an hour that was there": ("UPDATE spend_hours SET cost_nanousd = cost_nanousd - 1", HOUR_SUM, 1),
    "a line that is in no window": ("DELETE FROM hold_windows WHERE hold_id = :hold_id", WINDOW_SUM, 2),
}


@pytest.mark.parametrize("what", SUMS)
async def test_a_sum_that_is_not_what_its_lines_add_up_to_is_drift(home, what):
    statement, rule, calls = SUMS[what]
    clock = Clock()
    async with a_watched_ledger(home, clock=clock, ceilings=CEILINGS) as (ledger, look):
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        assert (await look()).drift == 0, "what it meets first it trusts"
        for _ in range(calls):
            lead = await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        with home.database() as db:
            assert db.execute(statement, {"hold_id": lead.hold_id}).rowcount > 0
        assert (await look()).drift > 0
    assert rule in "".join(subject for _, subject, _ in events(home))


@pytest.mark.parametrize("scope", ["global", "user:*", "provider:p"])
async def test_calls_that_a_minute_counts_otherwise_than_they_were_made_are_drift(home, scope):
    clock, rate = Clock(), Ceiling(scope=scope, window="minute", unit="calls", limit=99)
    async with a_watched_ledger(home, clock=clock, ceilings=[rate]) as (ledger, look):
        for _ in range(2):
            for cost, status in ((400, 200), (None, 429), (None, None)):
                request = a_call(now_ms=clock.at_ms)
                lead = await ledger.admit(request)
                await ledger.settle(a_settlement(request, lead, cost=cost, status=status))
            await ledger.admit(a_call(now_ms=clock.at_ms))
            assert (await look()).drift == 0, events(home)
        with home.database() as db:
            newest = "SELECT MAX(starts_at_ms) FROM ceiling_windows"
            db.execute(f"UPDATE ceiling_windows SET spent_amount = spent_amount + 1 WHERE starts_at_ms = ({newest})")
        assert (await look()).drift == 1
    assert CALLED in events(home)[0][1]


async def test_sums_are_met_anew_after_a_look_by_a_process_that_does_not_follow_them(home):
    clock = Clock()
    async with a_watched_ledger(home, clock=clock, ceilings=CEILINGS) as (ledger, look):
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        await look()
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        with home.database() as db:
            db.execute("UPDATE audit SET (seq, chain) = (SELECT seq, chain FROM postings ORDER BY seq DESC LIMIT 1)")
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        assert (await look()).drift == 0, events(home)


STEPS = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 2000)),
    st.tuples(st.just("late"), st.integers(0, 2000)),
    st.tuples(st.just("time"), st.sampled_from([-3_600_000, -1000, 1000, 61_000, 3_600_000])),
    st.tuples(st.just("ceilings"), st.integers(0, 31)),
    st.tuples(st.just("look"), st.just(0)),
)


# After a new configuration the first line is one of an older window than the newest.
LATE_AFTER_A_CONFIGURATION = [
    ("late", 10), ("time", -61_000), ("late", 20), ("time", 61_000), ("late", 40), ("call", 80),
    ("look", 0), ("ceilings", 7), ("call", 160), ("look", 0), ("call", 320),
]  # fmt: skip


def test_no_look_takes_what_calls_clocks_and_configurations_do_for_drift(home):
    steps = st.lists(STEPS, min_size=4, max_size=20)
    holds(check, home, steps, examples={"sqlite": 15, "postgresql": 3}, also=[(LATE_AFTER_A_CONFIGURATION,)])


async def check(home, steps):
    clock, open_calls = Clock(BEGAN_MS + DAY_MS), []
    async with a_watched_ledger(home, clock=clock, ceilings=CEILINGS) as (ledger, look):
        for kind, value in [*steps, ("look", 0), ("late", 5), ("look", 0)]:
            if kind == "time":
                clock.at_ms += value
                await ledger._store.write(
                    lambda db: db.execute(f"UPDATE owners SET lease_until_ms = {1 << 60}").rowcount
                )
            elif kind == "ceilings":
                await ledger.configure_ceilings([it for bit, it in enumerate(CEILINGS) if value >> bit & 1])
            elif kind == "look":
                figures = await look()
                assert figures.drift == 0, events(home)
            else:
                request = a_call(now_ms=clock.at_ms)
                open_calls.append((request, await ledger.admit(request), value))
                if kind == "call" or len(open_calls) > 3:
                    request, lead, cost = open_calls.pop(0)
                    await ledger.settle(a_settlement(request, lead, cost=cost))


async def test_of_two_processes_one_looks(home):
    async with a_watched_ledger(home) as (ledger, look), a_watched_ledger(home) as (_, look_too):
        await admit_and_settle(ledger, a_call())
        assert (await look()).verified_seq == 1
        await admit_and_settle(ledger, a_call())
        assert (await look_too()).verified_seq == 1


async def test_writes_that_wait_are_added_up_over_processes(home):
    async with a_ledger(home) as one, a_ledger(home) as other:
        with home.database() as db:
            db.execute("UPDATE owners SET queue_depth = 7 WHERE owner_id = ?", (other.owner_id,))
        assert (await one.figures()).queue_depth == 7
        assert (await other.figures()).queue_depth == 0
