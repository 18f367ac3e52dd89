"""What was spent: what is kept by the hour, the detail and a plain reckoning agree, whatever happened and was asked."""

import itertools
from collections import Counter
from functools import partial
from unittest import mock

import msgspec
import pytest
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.chain import Line
from ledger.corrections import Correction, open_corrector
from ledger.operations import spend as spending
from ledger.operations.postings import post
from ledger.operations.settle import SQL as SETTLE
from ledger.operations.spend import spend_by
from ledger.operations.spend_report import dearest
from ledger.operations.spend_sources import SQL
from ledger.reports import MOMENT_LENGTHS, SPEND_DIMENSIONS, Spend, SpendQuery, iso
from ledger.sql import migrations
from ledger.sqlite.proofs import NAMES
from ledger.upkeep import prune_ledger
from ledger.usage import Usage
from ledger.values import Lead, NextAttempt, Settlement
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_result, a_settlement, admit_and_settle, an_ending
from tests.ledger.drawn import holds

HOURS = 4
FATES = ["ok", "upstream_error", "aborted", "released", "open", "lapsed", "late", "corrected", "twice", "shared"]
BASES = ["priced_usage", "estimated", "provider_reported"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a random history. cost: what it was charged; late, corrected and second attempts cost `other`."""

    fate: str
    deployment: str
    offset_ms: int
    who: dict[str, str]
    basis: str
    other_basis: str
    cost: int
    other: int


CALLS = st.lists(
    st.builds(
        Call,
        fate=st.sampled_from(FATES),
        deployment=st.sampled_from(["a:m", "a:n", "b:m"]),
        offset_ms=st.integers(0, HOURS * HOUR_MS - 1) | st.integers(0, HOURS - 1).map(lambda hour: hour * HOUR_MS),
        who=st.fixed_dictionaries(
            {name: st.sampled_from(["", name]) for name in ("key", "team", "user", "workflow", "run")}
        ),
        basis=st.sampled_from(BASES),
        other_basis=st.sampled_from(BASES),
        cost=st.integers(0, 900),
        other=st.integers(0, 900),
    ),
    min_size=1,
    max_size=9,
)
EDGES = st.none() | st.integers(0, HOURS).map(lambda hour: hour * HOUR_MS) | st.integers(0, HOURS * HOUR_MS)
QUERIES = st.lists(
    st.tuples(
        EDGES,
        EDGES,
        st.lists(st.sampled_from(SPEND_DIMENSIONS), max_size=3, unique=True),
        st.lists(st.sampled_from(SPEND_DIMENSIONS), max_size=2, unique=True),
        st.integers(0, 99),
    ),
    min_size=8,
    max_size=8,
)


SOME = {"sqlite": 30, "postgresql": 4}
MANY = {"sqlite": 1500, "postgresql": 100}


@pytest.mark.parametrize("examples", [SOME, pytest.param(MANY, marks=pytest.mark.soak)], ids=["some", "many"])
def test_what_is_kept_by_the_hour_the_detail_and_a_plain_reckoning_agree(home, examples):
    holds(check, home, CALLS, QUERIES, examples=examples)


async def check(home, calls, queries):
    clock = Clock(BEGAN_MS - BEGAN_MS % HOUR_MS + (HOURS + 1) * HOUR_MS)
    began_ms = clock.at_ms - (HOURS + 1) * HOUR_MS
    facts = []
    async with a_ledger(home, clock=clock) as ledger:
        dying = [(call, request_of(call, began_ms)) for call in calls if call.fate in {"lapsed", "late"}]
        leads = [await ledger.admit(request) for _, request in dying]
        await ledger.lease.rejoin(ledger.lease.owner)
        await ledger._sweep()
        for (call, request), lead in zip(dying, leads, strict=True):
            await finish(ledger, call, request, lead)
            facts += reckoned(call, request)
        for call in calls:
            if call.fate not in {"lapsed", "late"}:
                request = request_of(call, began_ms)
                await play(ledger, call, request)
                facts += reckoned(call, request)
        for since, until, group_by, filtered, pick in queries:
            known = facts[pick % len(facts)][0]
            query = SpendQuery(
                since_ms=None if since is None else began_ms + since,
                until_ms=None if until is None else began_ms + until,
                group_by=tuple(group_by),
                filters={name: known[name] for name in filtered},
            )
            wanted = plainly(facts, query)
            assert await ledger._readers.read(partial(spend_by, query=query, by_hour=False)) == wanted
            assert await ledger._readers.read(partial(spend_by, query=query)) == wanted
            few = msgspec.structs.replace(query, top=1)
            assert await ledger._readers.read(partial(dearest, query=few)) == plainly_dearest(wanted, few)
    findings = verify_ledger(home.url, on_rule=lambda _: None)
    assert [found.rule for found in findings.violations if "hour" in found.rule] == []


def request_of(call, began_ms):
    request = a_call(deployment=call.deployment, now_ms=began_ms + call.offset_ms)
    facts = msgspec.structs.replace(request.facts, attribution=call.who, route=f"to {call.deployment[0]}")
    return msgspec.structs.replace(request, facts=facts)


async def play(ledger, call, request):
    if call.fate == "shared":
        ending = an_ending(request, deployment=call.deployment, saved=call.cost)
        await ledger.record_follower(request.facts, ending, leader_id="gen_leader")
        return
    lead = await ledger.admit(request)
    assert isinstance(lead, Lead)
    if call.fate != "open":
        await finish(ledger, call, request, lead)


async def finish(ledger, call, request, lead):
    ending = an_ending(request, outcome=outcome_of(call), deployment=call.deployment)
    result = a_result(lead, cost=call.cost, outcome=outcome_of(call), basis=call.basis, usage=used(call.cost))
    if call.fate == "late":
        result = msgspec.structs.replace(result, cost_nanousd=call.other)
    elif call.fate == "released":
        result = msgspec.structs.replace(result, cost_nanousd=None)
    elif call.fate == "lapsed":
        return
    elif call.fate == "twice":
        failed = msgspec.structs.replace(result, outcome="upstream_error")
        again = NextAttempt(facts=request.facts, closed=(failed,), attempt=2, bids=request.bids, now_ms=request.now_ms)
        second = await ledger.hold_next(again)
        result = a_result(second, cost=call.other, basis=call.other_basis, usage=used(call.other))
    await ledger.settle(Settlement(attempts=(result,), ending=ending))
    if call.fate == "corrected":
        line = Line(
            hold_id=lead.hold_id,
            kind="correction",
            cost_nanousd=call.other - call.cost,
            cost_basis=call.other_basis,
            usage=None,
            price_version="v2",
            posted_at_ms=request.now_ms,
            reason="the invoice says so",
        )
        await ledger._store.write(partial(post, line=line))


def used(cost):
    return Usage(input_tokens=cost, cached_tokens=1, output_tokens=2, reasoning_tokens=3)


def outcome_of(call):
    return {"released": "upstream_error"}.get(call.fate, call.fate if call.fate in FATES[:3] else "ok")


def reckoned(call, request):
    """[(dimensions, moment, measures)] of one call, written down without looking at any table."""
    moment = iso(request.now_ms)
    where = {
        **call.who,
        "route": request.facts.route,
        "model": call.deployment,
        "provider": call.deployment[0],
        "hour": moment[:13] + ":00:00Z",
        "day": moment[:10],
        "month": moment[:7],
    }
    outcome = {"open": "open", "lapsed": "lost"}.get(call.fate, outcome_of(call))
    sure = "unknown" if call.fate in {"open", "lapsed"} else "priced_usage"
    generation = {"generations": 1}
    if call.fate == "shared":
        generation |= {"coalesced": 1, "saved_nanousd": call.cost}
    facts = [({**where, "basis": sure, "outcome": outcome}, request.now_ms, generation)]
    tokens = {"prompt_tokens": call.cost + 1, "completion_tokens": 5, "cached_tokens": 1, "reasoning_tokens": 3}

    def attempt(basis, outcome, cost, tokens=tokens, **more):
        money = {"cost_nanousd": cost, "attempts": 1, **tokens, **more}
        money["wasted_nanousd"] = cost if outcome not in {"ok", "open"} else 0
        money["estimated_nanousd"] = cost if basis in {"estimated", "unknown"} else 0
        facts.append(({**where, "basis": basis, "outcome": outcome}, request.now_ms, money))

    match call.fate:
        case "open":
            attempt("unknown", "open", 0, {}, held_nanousd=1000)
        case "lapsed":
            attempt("unknown", "lost", 1000, {})
        case "late":
            attempt(call.basis, "lost", call.other)
        case "released":
            attempt("free", "upstream_error", 0, {})
        case "corrected":
            attempt(call.other_basis, "ok", call.other)
        case "twice":
            attempt(call.basis, "upstream_error", call.cost)
            attempt(call.other_basis, "ok", call.other, {**tokens, "prompt_tokens": call.other + 1})
        case "ok" | "upstream_error" | "aborted":
            attempt(call.basis, outcome, call.cost)
    return facts


def plainly(facts, query):
    groups = {}
    for dimensions, at_ms, measures in facts:
        inside = (query.since_ms or 0) <= at_ms and (query.until_ms is None or at_ms < query.until_ms)
        if inside and all(dimensions[name] == value for name, value in query.filters.items()):
            groups.setdefault(tuple(dimensions[name] for name in query.group_by), Counter()).update(measures)
    return {key: Spend(**counts) for key, counts in groups.items()}


def plainly_dearest(groups, query):
    """The only name that costs most, the others together at each moment."""
    places = [place for place, name in enumerate(query.group_by) if name not in MOMENT_LENGTHS]
    totals, folded = {}, {}
    for key, spend in groups.items():
        totals.setdefault(tuple(key[place] for place in places), Spend()).add(spend)
    kept = min(totals, key=lambda name: (-totals[name].cost_nanousd, -totals[name].generations, name), default=None)
    for key, spend in groups.items():
        is_kept = tuple(key[place] for place in places) == kept
        of = tuple(value if is_kept or place not in places else None for place, value in enumerate(key))
        folded.setdefault(of, Spend()).add(spend)
    return folded


async def test_a_line_put_right_twice_counts_once_under_its_newest_basis(home):
    async with a_ledger(home) as ledger:
        lead = await admit_and_settle(ledger, a_call(), cost=400)
        for number, basis in enumerate(["estimated", "provider_reported"], 1):
            line = Line(
                hold_id=lead.hold_id,
                kind="correction",
                cost_nanousd=number,
                cost_basis=basis,
                usage=None,
                price_version="v1",
                posted_at_ms=BEGAN_MS,
            )
            await ledger._store.write(partial(post, line=line))
        for by_hour in (True, False):
            query = SpendQuery(group_by=("basis",), filters={"model": "p:m"})
            groups = await ledger._readers.read(partial(spend_by, query=query, by_hour=by_hour))
            assert {key: (spend.cost_nanousd, spend.attempts) for key, spend in groups.items()} == {
                ("provider_reported",): (403, 1),
                ("priced_usage",): (0, 0),
            }


async def test_a_long_span_is_read_in_pieces_and_each_hour_once(home):
    days = [0, 1, 29, 30, 31, 59, 60, 61, 95]
    async with a_ledger(home, clock=Clock(BEGAN_MS + 96 * DAY_MS)) as ledger:
        for number, day in enumerate(days):
            await admit_and_settle(ledger, a_call(now_ms=BEGAN_MS + day * DAY_MS), cost=1 << number)
        await ledger.admit(a_call(now_ms=BEGAN_MS + 95 * DAY_MS + 1))
        groupings = [(), ("user",), ("day", "user"), ("hour", "workflow")]
        for group_by, since, until in itertools.product(groupings, [None, 0, 30], [None, 60, 90]):
            query = SpendQuery(
                group_by=group_by,
                since_ms=None if since is None else BEGAN_MS + since * DAY_MS,
                until_ms=None if until is None else BEGAN_MS + until * DAY_MS,
            )
            kept = await ledger._readers.read(partial(spend_by, query=query))
            assert kept == await ledger._readers.read(partial(spend_by, query=query, by_hour=False))
            inside = [number for number, day in enumerate(days) if (since or 0) <= day < (until or 99)]
            assert sum(spend.cost_nanousd for spend in kept.values()) == sum(1 << number for number in inside)


async def test_a_hit_is_a_call_without_attempts_that_says_what_it_saved(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(key="k"), cost=400)
        await ledger.admit(a_call(key="k"))
        query = SpendQuery(group_by=("basis", "outcome"))
        for by_hour in (True, False):
            groups = await ledger._readers.read(partial(spend_by, query=query, by_hour=by_hour))
            assert groups["free", "ok"] == Spend(generations=1, cache_hits=1, saved_nanousd=400)
            assert (groups["priced_usage", "ok"].attempts, groups["priced_usage", "ok"].saved_nanousd) == (1, 0)


async def test_a_ledger_that_kept_no_names_by_the_hour_does_so_after_its_migration(sqlite_home):
    async with a_ledger(sqlite_home) as ledger:
        await admit_and_settle(ledger, a_call(key="k"), cost=400)
        await ledger.admit(a_call(key="k"))
        await admit_and_settle(ledger, a_call(), cost=None, outcome="upstream_error")
        corrected = await admit_and_settle(ledger, a_call(), cost=300)
        await ledger.admit(a_call())
        async with open_corrector(sqlite_home.url, clock_ms=Clock()) as books:
            change = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
            await books.correct([Correction(hold_id=corrected.hold_id, cost_nanousd=250, **change)])
    (script,) = (script for _, script in migrations("sqlite") if "TABLE spend_hours_by_name" in script)
    _, _, added = script.rpartition("END;")
    everything = (
        "SELECT * FROM spend_hours_by_name WHERE attempts + generations > 0 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    )
    with sqlite_home.database() as db:
        kept = db.execute(everything).fetchall()
        db.execute("DELETE FROM spend_hours_by_name")
        db.execute(added)
        assert db.execute(everything).fetchall() == kept
    assert len(kept) == 2 * 5, (
        "of a user and a workflow: charged, a hit, an attempt without charge and its call, corrected"
    )


async def test_a_ledger_that_kept_no_days_by_name_does_so_after_its_migration(sqlite_home):
    async with a_ledger(sqlite_home) as ledger:
        for cost in (400, 300):
            await admit_and_settle(ledger, a_call(), cost=cost)
    (script,) = (script for _, script in migrations("sqlite") if "TABLE spend_days_by_name" in script)
    _, _, added = script.rpartition("END;")
    everything = "SELECT * FROM spend_days_by_name ORDER BY 1, 2, 3"
    with sqlite_home.database() as db:
        kept = db.execute(everything).fetchall()
        db.execute("DELETE FROM spend_days_by_name")
        db.execute(added)
        assert db.execute(everything).fetchall() == kept
    assert [row[9:12] for row in kept] == [(BEGAN_MS - BEGAN_MS % DAY_MS, 700, 0)] * 2, "of a user and a workflow"


async def test_spend_by_name_is_what_its_lines_come_to_on_either_engine(home):
    clock = Clock()
    named = [{"user": "u1", "run": "r1"}, {"user": "u1", "workflow": "w2"}, {}, {"run": "r1"}]
    async with a_ledger(home, clock=clock) as ledger:
        for number, who in enumerate(named):
            for fate in ("ok", "released", "corrected", "hit"):
                key = f"{number}" if fate in {"ok", "hit"} else None
                request = a_call(key=key, deployment=f"p:{fate}", now_ms=clock.at_ms)
                attribution = dict.fromkeys(("key", "team", "user", "workflow", "run"), "") | who
                facts = msgspec.structs.replace(request.facts, attribution=attribution)
                request = msgspec.structs.replace(request, facts=facts)
                lead = await ledger.admit(request)
                if fate != "hit":
                    failed = (
                        {"cost": None, "outcome": "upstream_error"} if fate == "released" else {"cost": 100 + number}
                    )
                    await ledger.settle(a_settlement(request, lead, **failed))
                if fate == "corrected":
                    change = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
                    async with open_corrector(home.url, clock_ms=clock) as books:
                        await books.correct([Correction(hold_id=lead.hold_id, cost_nanousd=250, **change)])
            clock.at_ms += DAY_MS
            await ledger.lease.rejoin(ledger.lease.owner)
        await ledger.admit(a_call(now_ms=clock.at_ms))
        for dimension, wanted in (
            ("user", {"u1": 701, "": 705}),
            ("workflow", {"w2": 351, "": 1055}),
            ("run", {"r1": 703, "": 703}),
        ):
            for group_by in ((dimension,), ("day", dimension, "outcome"), ("basis", dimension, "model")):
                for since_ms, until_ms in ((None, None), (BEGAN_MS + 1, None), (None, BEGAN_MS + 2 * DAY_MS + HOUR_MS)):
                    query = SpendQuery(group_by=group_by, since_ms=since_ms, until_ms=until_ms, top=1)
                    kept = await ledger._readers.read(partial(spend_by, query=query))
                    assert kept == await ledger._readers.read(partial(spend_by, query=query, by_hour=False))
                    few = await ledger._readers.read(partial(dearest, query=query))
                    assert few == plainly_dearest(kept, query)
            kept = await ledger._readers.read(partial(spend_by, query=SpendQuery(group_by=(dimension,))))
            assert {name: it.cost_nanousd for (name,), it in kept.items() if it.cost_nanousd} == wanted
    assert verify_ledger(home.url, on_rule=str).violations == ()
    now_ms = clock.at_ms + 2 * DAY_MS
    assert prune_ledger(home.url, BEGAN_MS + DAY_MS, now_ms=now_ms, on_step=str).generations == 4
    with home.database() as db:
        for kept in ("SELECT MIN(hour_ms) FROM spend_hours_by_name", "SELECT MIN(day_ms) FROM spend_days_by_name"):
            assert db.execute(kept).fetchone()[0] > BEGAN_MS
        assert verify_ledger(home.url, on_rule=str).violations == ()
        db.execute("UPDATE spend_hours_by_name SET cost_nanousd = cost_nanousd + 1 WHERE name = 'w2' AND attempts > 0")
    (found,) = verify_ledger(home.url, on_rule=str).violations
    assert (found.rule, {row["name"] for row in found.rows}) == (NAMES, {"w2"})


async def test_a_report_on_two_names_reads_detail_of_the_hours_of_the_rarer_one_alone(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        for number, names in enumerate(
            [{"user": "u1", "workflow": "w1"}, {"user": "u2", "workflow": "w1"}, {"workflow": "w1", "run": "r1"}] * 2
        ):
            clock.at_ms += HOUR_MS
            await ledger.lease.rejoin(ledger.lease.owner)
            for cost in (1 << number, None):  # The second one lapses.
                request = a_call(now_ms=clock.at_ms)
                attribution = dict.fromkeys(("key", "team", "user", "workflow", "run"), "") | names
                facts = msgspec.structs.replace(request.facts, attribution=attribution)
                request = msgspec.structs.replace(request, facts=facts)
                lead = await ledger.admit(request)
                if cost is not None:
                    await ledger.settle(a_settlement(request, lead, cost=cost))
        # One more is open, in an hour in which nobody has spent anything.
        clock.at_ms += HOUR_MS
        await ledger.lease.rejoin(ledger.lease.owner)
        facts = msgspec.structs.replace(
            request.facts, attribution=attribution | {"user": "u1"}, generation_id="gen_open"
        )
        await ledger.admit(msgspec.structs.replace(a_call(now_ms=clock.at_ms), facts=facts))
        for filters, hours, calls in (
            ({"user": "u1"}, 2, 5),
            ({"user": "u2", "workflow": "w1"}, 2, 4),
            ({"workflow": "w1"}, 6, 13),
        ):
            read = []
            for group_by in (("user", "workflow", "run"), ("hour", "user", "run"), ("workflow", "day")):
                query = SpendQuery(group_by=group_by, filters=filters, until_ms=clock.at_ms + 3 * HOUR_MS)
                kept = await ledger._readers.read(partial(spend_by, query=query))
                assert kept == await ledger._readers.read(partial(spend_by, query=query, by_hour=False))
                assert sum(it.generations for it in kept.values()) == calls
                read.append(await ledger._readers.read(partial(detail_hours, query=query)))
            assert read == [hours] * 3
        with mock.patch.object(spending, "MOST_TIMES", 1):
            assert await ledger._readers.read(partial(detail_hours, query=SpendQuery(filters={"user": "u1"}))) == 4


def detail_hours(db, query):
    """How many whole hours are read call by call."""
    found = spending._where_named(db, query, 0, spending.FAR_MS // HOUR_MS * HOUR_MS)
    return sum((ends_ms - begins_ms) // HOUR_MS for source, begins_ms, ends_ms in found if source == "spend_detail")


async def test_a_late_settlement_finds_its_lines_without_reading_all(sqlite_home):
    async with a_ledger(sqlite_home):
        pass
    with sqlite_home.database() as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {SETTLE['find_closed_hold']}", {"hold_id": "x"})]
    assert not [step for step in plan if step.startswith("SCAN") and "lines_of_holds" not in step], plan


@pytest.mark.parametrize(
    "name",
    [
        "spend_detail",
        "spend_hours",
        "spend_hours_by_name",
        "spend_days_by_name",
        "spend_days_by_pair",
        "spend_open",
        "postings_of_generation",
        "attempts_of_generation",
        "ceilings_of_generation",
        "generations",
    ],
)
async def test_no_reading_walks_a_whole_table_of_history(sqlite_home, name):
    async with a_ledger(sqlite_home):
        pass
    values = dict.fromkeys(
        [
            *SPEND_DIMENSIONS,
            "dimension",
            "period_ms",
            "since_ms",
            "until_ms",
            "generation_id",
            "before_ms",
            "before_id",
            "most",
        ]
    )
    with sqlite_home.database() as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values)]
    assert not [step for step in plan if step.startswith("SCAN") and "USING INDEX open_" not in step], plan
    assert not [step for step in plan if "AUTOMATIC" in step], plan
