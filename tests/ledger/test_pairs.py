"""What users and workflows spent together: added up afterwards, told late or not, it is what detail comes to."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from unittest import mock

import asyncpg
import msgspec
import pytest
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.corrections import Correction, open_corrector
from ledger.ledger import open_reports
from ledger.loops import stop
from ledger.operations import spend as spending
from ledger.operations.owners import sweep
from ledger.operations.pairs import ADDED_UP_AFTER_MS, CALLS_AT_ONCE, add_up_pairs, pairs_kept
from ledger.operations.spend import PAIR, spend_by
from ledger.operations.spend_report import dearest
from ledger.reports import SPEND_DIMENSIONS, SpendQuery, iso
from ledger.sql import migrations
from ledger.sqlite.migrate import scripts
from ledger.sqlite.postpone import MANY as MANY_WORKS
from ledger.sqlite.proofs import PAIRS
from ledger.store import pairs
from ledger.upkeep import prune_ledger
from ledger.values import Hit
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.drawn import holds
from tests.ledger.test_spend import BASES, FATES, Call, finish, plainly, plainly_dearest, play, reckoned, request_of

DAYS = 3
FIRST_MS = BEGAN_MS - BEGAN_MS % DAY_MS
NAMED = ["", "x", "y"]
CALLS = st.lists(
    st.builds(
        Call,
        fate=st.sampled_from(FATES),
        deployment=st.sampled_from(["a:m", "b:m"]),
        offset_ms=st.integers(0, DAYS * DAY_MS - 1) | st.integers(0, DAYS - 1).map(lambda day: day * DAY_MS),
        who=st.fixed_dictionaries(
            {"key": st.just("k"), "team": st.just(""), "run": st.sampled_from(["", "r"])}
            | {name: st.sampled_from(NAMED) for name in ("user", "workflow")}
        ),
        basis=st.sampled_from(BASES),
        other_basis=st.sampled_from(BASES),
        cost=st.integers(0, 900),
        other=st.integers(0, 900),
    ),
    min_size=1,
    max_size=9,
)
# After which call it is added up: until when, and how many at once.
LATER_MS = FIRST_MS + 40 * DAY_MS
PARTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, DAYS * DAY_MS), st.integers(1, 3)), max_size=4)
EDGES = st.none() | st.integers(0, DAYS).map(lambda day: day * DAY_MS) | st.integers(0, DAYS * DAY_MS)
OTHERS = [name for name in SPEND_DIMENSIONS if name not in {"hour", "run"}]
QUERIES = st.lists(
    st.tuples(
        EDGES,
        EDGES,
        st.sampled_from([("user", "workflow"), ("workflow",), ("user",), ()]),
        st.lists(st.sampled_from(OTHERS), max_size=2, unique=True),
        st.lists(st.sampled_from(OTHERS), max_size=2, unique=True),
        st.integers(0, 99),
    ),
    min_size=6,
    max_size=6,
)
EXAMPLES = {"sqlite": 30, "postgresql": 4}
MANY = {"sqlite": 1500, "postgresql": 100}


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY, marks=pytest.mark.soak)], ids=["some", "many"])
def test_sums_of_pairs_detail_and_a_plain_reckoning_agree(home, examples):
    holds(check, home, CALLS, PARTS, QUERIES, st.integers(0, DAYS * 24), examples=examples)


async def check(home, calls, parts, queries, pruned_hours):
    clock, facts = Clock(FIRST_MS + DAYS * DAY_MS), []
    calls = sorted(calls, key=lambda call: call.fate in {"lapsed", "late"}, reverse=True)
    async with a_ledger(home, clock=clock) as ledger:
        dying = [request_of(call, FIRST_MS) for call in calls if call.fate in {"lapsed", "late"}]
        leads = [await ledger.admit(request) for request in dying]
        await ledger.lease.rejoin(ledger.lease.owner)
        await ledger._store.write(partial(sweep, now_ms=clock.at_ms))
        for number, call in enumerate(calls):
            for _, until_ms, most in (part for part in parts if part[0] == number):
                await added_up(ledger, FIRST_MS + until_ms, most=most)
            if number < len(dying):
                request = dying[number]
                await finish(ledger, call, request, leads[number])
            else:
                request = request_of(call, FIRST_MS)
                await play(ledger, call, request)
            facts += reckoned(call, request)
        for query in map(partial(query_of, facts), queries):
            wanted = plainly(facts, query)
            assert await ledger._readers.read(partial(spend_by, query=query, by_hour=False)) == wanted
            assert await ledger._readers.read(partial(spend_by, query=query)) == wanted
            few = msgspec.structs.replace(query, top=1)
            assert await ledger._readers.read(partial(dearest, query=few)) == plainly_dearest(wanted, few)
    assert untrue(home) == []
    # What is left once some is folded away.
    prune_ledger(home.url, FIRST_MS + pruned_hours * HOUR_MS, now_ms=LATER_MS, on_step=str)
    async with a_ledger(home, clock=clock) as ledger:
        for _ in range(2):
            for query in map(partial(query_of, facts), queries):
                left = await ledger._readers.read(partial(spend_by, query=query, by_hour=False))
                assert await ledger._readers.read(partial(spend_by, query=query)) == left
            await added_up(ledger, clock.at_ms)
    assert untrue(home) == []


def query_of(facts, drawn):
    since, until, pair, grouped, filtered, pick = drawn
    known = facts[pick % len(facts)][0]
    narrowed = {*filtered, *PAIR} - {*pair}
    return SpendQuery(
        since_ms=None if since is None else FIRST_MS + since,
        until_ms=None if until is None else FIRST_MS + until,
        group_by=(*pair, *(name for name in grouped if name not in pair)),
        filters={name: known[name] for name in sorted(narrowed)},
    )


async def added_up(ledger, before_ms, *, most=CALLS_AT_ONCE):
    """Add up all that came before."""
    while await ledger._store.write(partial(add_up_pairs, before_ms=before_ms, most=most)):
        pass


def untrue(home):
    """Sums that are not what they are sums of."""
    return [found for found in verify_ledger(home.url, on_rule=str).violations if found.rule.startswith("reports:")]


BOTH = SpendQuery(group_by=("user", "workflow"))
PAIRS_THERE = "SELECT user_id, workflow, SUM(cost_nanousd), SUM(generations), SUM(attempts) FROM spend_days_by_pair "


async def calls_at(ledger, *moments_ms, cost=400):
    """Calls that came then and are settled, one after the other."""
    return [await admit_and_settle(ledger, a_call(now_ms=at_ms), cost=cost) for at_ms in moments_ms]


def detail_of(db, query):
    """Of which spans this report reads call by call."""
    spans = spending._by_pair(db, query, 0, spending.FAR_MS)
    return [(begins_ms, ends_ms) for source, begins_ms, ends_ms in spans if source == "spend_detail"]


async def test_a_minute_after_a_call_it_is_added_up_and_a_report_reads_no_older_one(home):
    clock = Clock(FIRST_MS)
    async with a_ledger(home, clock=clock) as ledger:
        await calls_at(ledger, FIRST_MS, FIRST_MS + 1)
        clock.at_ms = FIRST_MS + ADDED_UP_AFTER_MS
        await ledger.pair_sums().add_up()
        assert await ledger._readers.read(pairs_kept) == (0, 0)
        clock.at_ms += 1
        await ledger.pair_sums().add_up()
        assert await ledger._readers.read(pairs_kept) == (0, FIRST_MS + 1)
        clock.at_ms += HOUR_MS
        await ledger.pair_sums().add_up()
        until_ms = clock.at_ms - ADDED_UP_AFTER_MS
        assert await ledger._readers.read(pairs_kept) == (0, until_ms)
        assert await ledger._readers.read(partial(detail_of, query=BOTH)) == [(0, 0), (until_ms, spending.FAR_MS)]
        # Not of what came after the end of a report, though that is added up, too.
        early = SpendQuery(group_by=("user", "workflow"), until_ms=FIRST_MS + 1)
        told = await ledger._readers.read(partial(spend_by, query=early))
        assert (
            told
            == {("u1", "w"): told["u1", "w"]}
            == await ledger._readers.read(partial(spend_by, query=early, by_hour=False))
        )
        assert told["u1", "w"].generations == 1
        clock.at_ms += HOUR_MS
        await ledger.pair_sums().add_up()
        assert await ledger._readers.read(pairs_kept) == (0, until_ms), "nothing is written where nobody calls"
    with home.database() as db:
        assert db.execute(PAIRS_THERE + "GROUP BY 1, 2").fetchall() == [("u1", "w", 800, 2, 2)]


@pytest.mark.parametrize(("moments", "reached"), [((0, 1, 2, 3, 4), [2, 4, 9]), ((0, 3, 3, 3, 8), [3, 4, 9])])
async def test_so_many_calls_are_added_up_at_once_and_of_one_millisecond_all(home, moments, reached):
    async with a_ledger(home, clock=Clock(FIRST_MS + DAY_MS)) as ledger:
        await calls_at(ledger, *(FIRST_MS + moment for moment in moments))
        found = []
        while await ledger._store.write(partial(add_up_pairs, before_ms=FIRST_MS + 9, most=2)):
            found.append((await ledger._readers.read(pairs_kept))[1] - FIRST_MS)
    assert found == reached


async def test_a_clock_that_was_set_back_changes_nothing(home):
    async with a_ledger(home, clock=Clock(FIRST_MS + DAY_MS)) as ledger:
        await calls_at(ledger, FIRST_MS, FIRST_MS + HOUR_MS)
        for before_ms in (FIRST_MS + 1, FIRST_MS, FIRST_MS - DAY_MS):
            await added_up(ledger, before_ms)
            assert await ledger._readers.read(pairs_kept) == (0, FIRST_MS + 1)


async def test_what_is_told_late_is_in_the_sums_at_once(home):
    clock = Clock(FIRST_MS + DAY_MS)
    async with a_ledger(home, clock=clock) as ledger:
        open_calls = [a_call(now_ms=FIRST_MS) for _ in range(3)]
        leads = [await ledger.admit(call) for call in open_calls]
        (settled,) = await calls_at(ledger, FIRST_MS)
        await added_up(ledger, FIRST_MS + HOUR_MS)
        await ledger.settle(a_settlement(open_calls[0], leads[0], cost=70))
        await ledger.settle(a_settlement(open_calls[1], leads[1], cost=None, outcome="upstream_error"))
        async with open_corrector(home.url, clock_ms=clock) as books:
            change = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
            await books.correct([Correction(hold_id=settled.hold_id, cost_nanousd=300, **change)])
        told = await ledger._readers.read(partial(spend_by, query=BOTH))
        assert told == await ledger._readers.read(partial(spend_by, query=BOTH, by_hour=False))
        assert (told["u1", "w"].generations, told["u1", "w"].attempts, told["u1", "w"].held_nanousd) == (4, 4, 1000)
    with home.database() as db:
        assert db.execute(PAIRS_THERE + "GROUP BY 1, 2").fetchall() == [("u1", "w", 370, 3, 3)]
        by_basis = (
            "SELECT basis, SUM(cost_nanousd), SUM(attempts) FROM spend_days_by_pair GROUP BY basis ORDER BY basis"
        )
        assert db.execute(by_basis).fetchall() == [
            ("free", 0, 1),
            ("priced_usage", 70, 1),
            ("provider_reported", 300, 1),
        ]
    assert verify_ledger(home.url, on_rule=str).violations == ()


async def test_a_hit_of_a_moment_that_is_added_up_is_in_the_sums_whoever_it_was_for(home):
    who = [("", ""), ("u1", "w"), ("u1", "")]
    async with a_ledger(home, clock=Clock(FIRST_MS + DAY_MS)) as ledger:
        await admit_and_settle(ledger, a_call(key="k", now_ms=FIRST_MS), ttl_ms=DAY_MS)
        await added_up(ledger, FIRST_MS + HOUR_MS)
        hits = []
        for user, workflow in who * MANY_WORKS:
            call = a_call(key="k", now_ms=FIRST_MS + 1)
            named = {**call.facts.attribution, "user": user, "workflow": workflow}
            facts = msgspec.structs.replace(call.facts, attribution=named)
            hits.append(msgspec.structs.replace(call, facts=facts))
        # Some alone, and some in a batch that postpones what it adds to names.
        answers = [await ledger.admit(hit) for hit in hits[: len(who)]]
        answers += await asyncio.gather(*map(ledger.admit, hits[len(who) :]))
        assert [type(answer) for answer in answers] == [Hit] * len(hits)
    hits_of = "SELECT user_id, workflow, cache_hits FROM spend_days_by_pair WHERE cache_hits > 0"
    with home.database() as db:
        assert sorted(db.execute(hits_of).fetchall()) == sorted((*names, MANY_WORKS) for names in who)
    assert verify_ledger(home.url, on_rule=str).violations == ()


async def test_what_is_not_what_its_lines_come_to_is_named(home):
    async with a_ledger(home, clock=Clock(FIRST_MS + DAY_MS)) as ledger:
        await calls_at(ledger, FIRST_MS)
        await added_up(ledger, FIRST_MS + HOUR_MS)
    with home.database() as db:
        for damage in ("SET cost_nanousd = cost_nanousd + 1", "SET workflow = 'another'", "SET generations = 0"):
            db.execute(f"UPDATE spend_days_by_pair {damage} WHERE attempts > 0")
            (found,) = verify_ledger(home.url, on_rule=str).violations
            assert (found.rule, {row["user_id"] for row in found.rows}) == (PAIRS, {"u1"}), damage
        db.execute("DELETE FROM spend_days_by_pair")
    (found,) = verify_ledger(home.url, on_rule=str).violations
    assert (found.rule, [row["by"] for row in found.rows]) == (PAIRS, ["lines"])


async def test_of_days_that_were_folded_no_row_is_left(home):
    moments = [FIRST_MS + hours * HOUR_MS for hours in (0, 20, 30, 60)]
    async with a_ledger(home, clock=Clock(FIRST_MS + 3 * DAY_MS)) as ledger:
        await calls_at(ledger, *moments)
        await added_up(ledger, FIRST_MS + 3 * DAY_MS)
    prune_ledger(home.url, FIRST_MS + 25 * HOUR_MS, now_ms=LATER_MS, on_step=str)
    with home.database() as db:
        days = db.execute("SELECT DISTINCT day_ms FROM spend_days_by_pair ORDER BY 1").fetchall()
        assert db.execute("SELECT since_ms FROM pairs_added_up").fetchall() == days == [(FIRST_MS + 2 * DAY_MS,)]
    async with open_reports(home.url, clock_ms=lambda: LATER_MS) as reports:
        told = await reports.spend(BOTH)
    assert (told["total"]["cost_nanousd"], told["pruned_before"]) == (800, iso(FIRST_MS + 25 * HOUR_MS))
    assert verify_ledger(home.url, on_rule=str).violations == ()


async def test_a_day_too_dear_to_be_added_up_is_counted_call_by_call(sqlite_home, caplog):
    dear = 2**62
    async with a_ledger(sqlite_home, clock=Clock(FIRST_MS + DAY_MS)) as ledger:
        for hour in range(3):
            call = a_call(now_ms=FIRST_MS + hour * HOUR_MS)
            facts = msgspec.structs.replace(call.facts, attribution=dict.fromkeys(call.facts.attribution, ""))
            await admit_and_settle(ledger, msgspec.structs.replace(call, facts=facts), cost=dear)
        with mock.patch.object(pairs, "EVERY_S", 0):
            adding_up = asyncio.create_task(ledger.pair_sums().run())
            async with asyncio.timeout(30):
                while caplog.text.count("reports on both count call by call") < 2:
                    await asyncio.sleep(0)
            await stop(adding_up)
        assert await ledger._readers.read(pairs_kept) == (0, 0)
        assert ledger.is_ready


def make_older(home):
    """Take all that the migration brought away again, and what came after it."""
    (number,) = (number for number, script in migrations("sqlite") if "TABLE spend_days_by_pair" in script)
    with closing(sqlite3.connect(":memory:")) as older, home.database() as db:
        older.executescript("".join(scripts(since=0, to=number - 1)))
        rules = dict(older.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
        for (rule,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {rule}")
        for gone in ("VIEW closed_spend", "TABLE spend_days_by_pair", "TABLE pairs_added_up", "TABLE folded_months"):
            db.execute(f"DROP {gone}")
        for rule in rules.values():
            db.execute(rule)
        db.execute(f"PRAGMA user_version = {number - 1}")


@pytest.mark.parametrize("before_ms", [None, FIRST_MS + 25 * HOUR_MS])
async def test_a_ledger_that_kept_no_pairs_does_so_after_its_migration(sqlite_home, before_ms):
    async with a_ledger(sqlite_home, clock=Clock(FIRST_MS + 3 * DAY_MS)) as ledger:
        await calls_at(ledger, *(FIRST_MS + hours * HOUR_MS for hours in (0, 20, 30, 60)))
    if before_ms is not None:
        prune_ledger(sqlite_home.url, before_ms, now_ms=LATER_MS, on_step=str)
    make_older(sqlite_home)
    async with a_ledger(sqlite_home, clock=Clock(FIRST_MS + 3 * DAY_MS)) as ledger:
        first_ms = 0 if before_ms is None else FIRST_MS + 2 * DAY_MS
        assert await ledger._readers.read(pairs_kept) == (first_ms, first_ms)
        before = await ledger._readers.read(partial(spend_by, query=BOTH))
        await ledger.pair_sums().add_up()
        assert await ledger._readers.read(partial(spend_by, query=BOTH)) == before
        assert await ledger._readers.read(pairs_kept) == (first_ms, FIRST_MS + 3 * DAY_MS - ADDED_UP_AFTER_MS)
    assert sum(spend.cost_nanousd for spend in before.values()) == (1600 if before_ms is None else 800)
    assert verify_ledger(sqlite_home.url, on_rule=str).violations == ()


async def test_a_month_that_is_being_folded_holds_nobody_up_who_adds_up(postgres_home):
    folding = (
        "BEGIN; INSERT INTO closings (through_seq, chain, postings, cost_nanousd, before_ms, closed_at_ms) "
        f"SELECT 1, chain, 1, cost_nanousd, {FIRST_MS + 1}, 1 FROM postings WHERE seq = 1"
    )
    async with a_ledger(postgres_home, clock=Clock(FIRST_MS + DAY_MS // 2)) as ledger:
        await calls_at(ledger, FIRST_MS, FIRST_MS + 1, FIRST_MS + 2)
        another = await asyncpg.connect(postgres_home.url)
        await another.execute(folding)
        await ledger.pair_sums().add_up()
        assert await ledger._readers.read(pairs_kept) == (0, FIRST_MS + DAY_MS // 2 - ADDED_UP_AFTER_MS)
        await another.execute("COMMIT")
        assert await ledger._readers.read(pairs_kept) == (FIRST_MS + DAY_MS, FIRST_MS + DAY_MS)
        await another.close()
