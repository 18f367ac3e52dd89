"""What is proved quickly is so: whatever is done to a ledger, the audit finds what it finds without any proof."""

import asyncio
import itertools
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS, Ceiling
from ledger.chain import LINE_COLUMNS, link
from ledger.corrections import Correction, open_corrector
from ledger.operations.lines import CHAIN, LineAudit, rates_of
from ledger.operations.lines import PRICE as PRICED
from ledger.operations.pairs import add_up_pairs
from ledger.prices import Price, Tier
from ledger.sqlite import gathered, links, moment, verify
from ledger.sqlite.proofs import (
    CALLED,
    COUNTED,
    DAYS,
    HOURS,
    LATENCY,
    NAMES,
    NUMBERED,
    PROVABLE,
    REFERENCES,
    REFERENCES_PROVED,
    SPENT,
    proved,
)
from ledger.sqlite.reading import connect
from ledger.sqlite.weights import draw_seed
from ledger.upkeep import prune_ledger
from ledger.usage import Usage
from ledger.verify import NoSuchLine, verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle

PRICE = Price(version="v1", base=Tier(input=100_000_000, output=50_000_000))
TIERED = Price(version="v1", base=PRICE.base, tiers=((100, Tier(input=1)),))
CEILINGS = (
    Ceiling(scope="global", window="total", limit=10**6),
    Ceiling(scope="model:p:m", window="hour", limit=10**6),
    Ceiling(scope="provider:q", window="month", limit=10**6),
    Ceiling(scope="user:*", window="day", limit=10**6),
    Ceiling(scope="global", window="total", unit="tokens", limit=10**6),
    Ceiling(scope="user:*", window="hour", unit="calls", limit=10**6),
    Ceiling(scope="provider:p", window="day", unit="calls", limit=10**6),
)
DEPLOYMENTS = ("p:m", "q:m", "p:n")
# What somebody may do who has the file: add to a number, take the text or moment of another row, or drop the row.
TABLES = {
    "ceiling_windows": ("starts_at_ms", "ends_at_ms", "counts", "held_amount", "spent_amount", "folded_amount"),
    "ceilings": ("since_ms", "active", "scope", "counts"),
    "hold_windows": ("hold_id", "starts_at_ms", "ceiling_id"),
    "holds": (
        "generation_id",
        "deployment",
        "held_nanousd",
        "held_tokens",
        "attempt",
        "state",
        "status",
        "taken_at_ms",
        "outcome",
    ),
    "postings": (
        "seq",
        "hold_id",
        "kind",
        "cost_nanousd",
        "cost_basis",
        "output_tokens",
        "input_tokens",
        "posted_at_ms",
        "tokens",
    ),
    "generations": ("created_at_ms", "team", "user_id", "cache", "deployment", "outcome", "saved_nanousd"),
    "spend_hours_by_name": ("hour_ms", "name", "cost_nanousd", "attempts", "prompt_tokens"),
    "spend_hours": ("hour_ms", "basis", "cost_nanousd", "attempts", "generations", "prompt_tokens"),
    "spend_days_by_name": (
        "day_ms",
        "dimension",
        "period_ms",
        "name",
        "outcome",
        "cost_nanousd",
        "attempts",
        "prompt_tokens",
    ),
    "spend_days_by_pair": ("day_ms", "user_id", "workflow", "basis", "cost_nanousd", "attempts", "prompt_tokens"),
    "pairs_added_up": ("since_ms", "until_ms"),
    "latency_buckets": ("hour_ms", "kind", "bucket", "count", "sum_us", "max_us"),
    "latency_days": ("day_ms", "deployment", "bucket", "count", "sum_us", "max_us"),
}
# A hold that no ceiling on deployments counts, nor its hour.
UNCOUNTED = """
DELETE FROM hold_windows WHERE hold_id = (SELECT hold_id FROM postings WHERE seq = 1) AND ceiling_id NOT IN (
    SELECT ceiling_id FROM ceilings WHERE scope LIKE 'user:%');
UPDATE spend_hours SET attempts = attempts - 1
 WHERE (hour_ms, deployment, basis, outcome) = (
    SELECT h.taken_at_ms - h.taken_at_ms % 3600000, h.deployment, p.cost_basis, h.outcome
      FROM postings AS p JOIN holds AS h USING (hold_id) WHERE p.seq = 1);
"""
# Two holds of one cost, each in the other's hour: as many there, and as much.
SWAPPED = """
UPDATE hold_windows
   SET starts_at_ms = -starts_at_ms
       + (SELECT SUM(starts_at_ms) FROM hold_windows JOIN postings USING (hold_id)
           WHERE ceiling_id = 'hour model:p:m' AND kind = 'settlement' AND cost_nanousd = 400)
 WHERE ceiling_id = 'hour model:p:m'
   AND hold_id IN (SELECT hold_id FROM postings WHERE kind = 'settlement' AND cost_nanousd = 400)
"""
# At a place that nothing is kept of.
HITS_ELSEWHERE = """
UPDATE generations SET team = 'another' WHERE cache = 'hit';
UPDATE spend_hours_by_name SET generations = generations - cache_hits, cache_hits = 0, saved_nanousd = 0;
"""
# Two hours before midnight, so that days of which some detail is folded are told from those of which none is.
FIRST_MS = BEGAN_MS - BEGAN_MS % DAY_MS - 2 * HOUR_MS
FOREIGN_KEYS = "PRAGMA foreign_key_check"
COLUMNS = [(table, column) for table, columns in TABLES.items() for column in (None, *columns)]


async def a_rich_history(folder):
    clock, url = Clock(FIRST_MS), f"sqlite:{folder / 'farthing.db'}"
    async with a_ledger(folder, clock=clock, ceilings=CEILINGS) as ledger, open_corrector(url, clock_ms=clock) as books:
        await ledger.record_prices(dict.fromkeys(DEPLOYMENTS, PRICE))
        for number in range(12):
            clock.at_ms += HOUR_MS // 3
            await ledger.lease.rejoin(ledger.lease.owner)
            request = a_call(
                deployment=DEPLOYMENTS[number % 3], now_ms=clock.at_ms, key=f"k{number}", held=number % 4 * 300
            )
            lead = await ledger.admit(request)
            if number == 9:
                continue  # It stays open, and lapses.
            cost, outcome = (None, "upstream_error") if number == 4 else (min(400, number % 4 * 300), "ok")
            basis = "estimated" if cost != 400 else "priced_usage"
            await ledger.settle(a_settlement(request, lead, cost=cost, outcome=outcome, basis=basis))
            await ledger.admit(a_call(key=f"k{number}", now_ms=clock.at_ms))  # A hit, or a new lead.
        await ledger._sweep()
        # As far as there are calls on either side.
        while await ledger._store.write(partial(add_up_pairs, before_ms=FIRST_MS + 3 * HOUR_MS, most=2)):
            pass
        for cost in (700, 650):
            change = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
            await books.correct([Correction(hold_id=request.facts.generation_id + ".1", cost_nanousd=cost, **change)])


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    asyncio.run(a_rich_history(folder))
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pruned = tmp_path_factory.mktemp("pruned") / "farthing.db"
    shutil.copy(folder / "farthing.db", pruned)
    ends_ms = FIRST_MS + 40 * DAY_MS
    assert prune_ledger(f"sqlite:{pruned}", FIRST_MS + 2 * HOUR_MS, now_ms=ends_ms, on_step=str).postings > 0
    return folder / "farthing.db", pruned


def found(path):
    findings = verify_ledger(f"sqlite:{path}", on_rule=lambda _: None)
    return {violation.rule: (violation.count, violation.rows) for violation in findings.violations}, findings.unpriced


def found_without_proofs(path):
    with (
        mock.patch.object(verify, "proved", return_value=frozenset()),
        mock.patch.object(LineAudit, "prepare", return_value=None),
    ):
        return found(path)


def found_in_small_parts(path):
    with (
        mock.patch.object(verify, "LINES_AT_ONCE", 3),
        mock.patch.multiple(gathered, LINES_AT_ONCE=3, GENERATIONS_AT_ONCE=3),
        mock.patch.object(links, "PART", 2),
    ):
        return found(path)


def found_in_processes(path):
    """And which rules were looked at row by row."""
    told = []
    with mock.patch.multiple(moment, APART_BYTES=0, CONNECTION_BYTES=1):
        violations = verify_ledger(f"sqlite:{path}", on_rule=told.append).violations
    return {it.rule: (it.count, it.rows) for it in violations}, PROVABLE & {*told}


@pytest.mark.parametrize("number", [0, 1])
def test_all_of_a_sound_ledger_is_proved(histories, number):
    with closing(connect(histories[number], is_still=False)) as db:
        assert proved(db) == PROVABLE
        # A line that names a price without tiers is proved together with its neighbours.
        audit = LineAudit(verify.first_place(db))
        audit.prepare(db)
        assert audit._prove(db, 1000) > 5
    assert found(histories[number]) == found_without_proofs(histories[number]) == ({}, 0)
    assert found_in_small_parts(histories[number]) == ({}, 0)


@pytest.mark.parametrize("number", [0, 1])
def test_no_rule_that_a_row_breaks_is_proved(histories, number, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[number], path)
    unproved = set()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        for (table, column), (row, change) in zip(COLUMNS, itertools.cycle(((0, 1), (7, -3), (5, 2)))):
            db.execute("BEGIN")
            spoil(db, table, column, row, change)
            rules = {**{rule: verify.RULES[rule] for rule in PROVABLE - {HOURS, REFERENCES}}, REFERENCES: FOREIGN_KEYS}
            broken = {rule for rule, statement in rules.items() if db.execute(statement).fetchone()}
            broken |= {HOURS} if verify.check_hours(db) else set()
            assert not broken & proved(db), (table, column, row, change)
            unproved |= broken
            db.execute("ROLLBACK")
    assert unproved == PROVABLE


@pytest.mark.parametrize(
    ("number", "rule", "script"),
    [
        (0, DAYS, "DELETE FROM spend_days_by_name; DELETE FROM spend_hours"),
        (0, NAMES, "DELETE FROM spend_hours_by_name; DELETE FROM spend_hours"),
        (0, NAMES, "UPDATE spend_hours_by_name SET dimension = 'run' WHERE dimension = 'workflow'"),
        (0, NAMES, HITS_ELSEWHERE),
        (0, COUNTED, UNCOUNTED),
        (0, COUNTED, SWAPPED),
        (0, LATENCY, "INSERT INTO latency_buckets VALUES ('p:m', 'total', -3600000, 1, 1, 1, 1)"),
        (1, NUMBERED, "UPDATE closings SET through_seq = through_seq - 1"),
    ],
)
def test_what_no_weight_tells_is_told_otherwise(histories, number, rule, script, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[number], path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        db.executescript(script)
        assert db.execute(verify.RULES[rule]).fetchone() is not None
        assert rule not in proved(db)


@pytest.mark.parametrize(
    ("script", "unproved"),
    [
        ("UPDATE ceiling_windows SET spent_amount = spent_amount + 1 WHERE counts = 'nanousd'", {SPENT}),
        ("UPDATE ceiling_windows SET spent_amount = spent_amount + 1 WHERE counts = 'calls'", {CALLED}),
        ("UPDATE spend_hours SET attempts = attempts + 1", {HOURS, COUNTED}),
        ("UPDATE spend_hours_by_name SET attempts = attempts + 1", {NAMES, DAYS}),
        ("UPDATE spend_days_by_name SET attempts = attempts + 1", {DAYS}),
        ("DELETE FROM hold_windows WHERE ceiling_id = 'total global'", {SPENT, COUNTED}),
    ],
)
def test_what_is_broken_leaves_the_other_proofs_standing(histories, script, unproved, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[0], path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        db.executescript(script)
        assert proved(db) == PROVABLE - unproved


# Neither is how the service writes it, but it adds up.
HOLD_OF_ANOTHER_NAME = "UPDATE {} SET hold_id = 'another' WHERE hold_id = (SELECT MIN(hold_id) FROM holds);"


@pytest.mark.parametrize(
    "script",
    [
        "".join(HOLD_OF_ANOTHER_NAME.format(table) for table in ("postings", "hold_windows", "holds")),
        """
        INSERT INTO ceiling_windows
        SELECT ceiling_id, starts_at_ms + 3600000, ends_at_ms + 3600000, counts, limit_amount, excused_amount, 0, 0, 0,
               NULL
          FROM ceiling_windows WHERE ceiling_id LIKE 'hour%' ORDER BY 2 DESC LIMIT 1
        """,
    ],
)
def test_what_is_written_otherwise_but_adds_up_is_proved_all_the_same(histories, script, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[0], path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        db.executescript(script)
        assert proved(db) == PROVABLE


def test_what_is_left_to_weigh_is_weighed_on_whichever_connection_compares(histories, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[0], path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        for table in ("postings", "hold_windows", "holds"):
            db.execute(HOLD_OF_ANOTHER_NAME.format(table))
    with closing(connect(path, is_still=False)) as one, closing(connect(path, is_still=False)) as other:
        assert proved(other, gathered.gather_all(one, draw_seed(0))) == PROVABLE


@pytest.mark.parametrize("number", [0, 1])
def test_processes_that_each_draw_their_weights_prove_what_one_does(histories, number, tmp_path):
    assert found_in_processes(histories[number]) == ({}, frozenset())
    path = tmp_path / "farthing.db"
    shutil.copy(histories[number], path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        db.execute("UPDATE spend_hours SET cost_nanousd = cost_nanousd + 1")
        db.execute("UPDATE postings SET cost_nanousd = cost_nanousd + 1 WHERE seq = (SELECT MAX(seq) FROM postings)")
    assert found_in_processes(path)[0] == found_without_proofs(path)[0]


def test_what_a_process_refuses_is_told_as_by_whoever_asks(histories):
    with (
        mock.patch.multiple(moment, APART_BYTES=0, CONNECTION_BYTES=1),
        pytest.raises(
            NoSuchLine, match=r"no line 1,000 to begin after: the newest is [0-9]+; if there was one"
        ) as refused,
    ):
        verify_ledger(f"sqlite:{histories[0]}", on_rule=str, since=1000)
    assert (refused.value.seq, refused.value.first_seq) == (1000, 0)


@given(
    st.integers(0, 1),
    st.lists(st.tuples(st.sampled_from(COLUMNS), st.integers(0, 40), st.integers(-3, 3)), min_size=1, max_size=2),
)
@settings(max_examples=25, deadline=None)
def test_whatever_is_done_to_a_ledger_is_found_as_without_proofs(histories, number, damages):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "farthing.db"
        shutil.copy(histories[number], path)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            without_rules(db)
            for (table, column), row, change in damages:
                spoil(db, table, column, row, change)
        assert found(path) == found_without_proofs(path) == found_in_small_parts(path)


def without_rules(db):
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.execute("PRAGMA ignore_check_constraints = 1")


def spoil(db, table, column, row, change):
    names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
    rows = db.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
    if not rows:
        return  # What was done before took the only one.
    keys = [name for _, name, *_, is_key in db.execute(f"PRAGMA table_info({table})") if is_key]
    chosen = dict(zip(names, rows[row % len(rows)], strict=True))
    where = " AND ".join(f"{key} IS :{key}" for key in keys)
    if column is None:
        db.execute(f"DELETE FROM {table} WHERE {where}", chosen)
        return
    value = chosen[column]
    if isinstance(value, int):
        value += change * (1 if abs(change) < 3 else HOUR_MS)
    else:
        value = dict(zip(names, rows[(row + change) % len(rows)], strict=True))[column]
    try:
        db.execute(f"UPDATE {table} SET {column} = :new WHERE {where}", {**chosen, "new": value})
    except sqlite3.IntegrityError:
        return  # Two rows of one key: not even somebody who has the file gets that in.


def test_every_reference_of_the_schema_is_one_that_the_proof_looks_at(histories):
    with closing(sqlite3.connect(histories[0])) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        there = {(table, row[2]) for table in tables for row in db.execute(f"PRAGMA foreign_key_list({table})")}
    assert there == REFERENCES_PROVED


@pytest.mark.parametrize(
    "price", [TIERED, Price(version="v1", base=Tier(input=10**12 + 1)), Price(version="v1", base=Tier(output=-1))]
)
def test_a_price_that_cannot_be_multiplied_in_one_step_is_left_to_the_slow_way(price):
    assert rates_of("p:m", price) is None


async def test_lines_below_a_dearer_tier_are_proved_and_those_in_it_are_looked_at(tmp_path):
    price = Price(version="v1", base=PRICE.base, tiers=((100, Tier(input=200_000_000)), (200, Tier(input=1))))
    used = [Usage(input_tokens=60, cached_tokens=40, output_tokens=9), Usage(input_tokens=61, cached_tokens=40)]
    async with a_ledger(tmp_path) as ledger:
        await ledger.record_prices({"p:m": price})
        for usage in used:
            await admit_and_settle(ledger, a_call(held=10**6), cost=price.cost_nanousd(usage), usage=usage)
        too_cheap = price.base.cost_nanousd(used[1])
        await admit_and_settle(ledger, a_call(held=10**6), cost=too_cheap, usage=used[1])
    path = tmp_path / "farthing.db"
    with closing(connect(path, is_still=True)) as db:
        audit = LineAudit(verify.first_place(db))
        audit.prepare(db)
        assert (audit._prove(db, 1), audit._prove(db, 1), audit._check(db, 1), audit._prove(db, 1)) == (1, 0, 1, 0)
    assert found(path) == found_without_proofs(path)
    assert [row["seq"] for row in found(path)[0][PRICED][1]] == [3]


def test_a_number_left_out_is_seen_though_every_digest_fits(histories, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[0], path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        without_rules(db)
        newest = "SELECT {} FROM postings ORDER BY seq DESC LIMIT {}"
        (seq, *line) = db.execute(newest.format(", ".join(LINE_COLUMNS), "1")).fetchone()
        (before,) = db.execute(newest.format("chain", "1, 1")).fetchone()
        forged = (seq + 1, link(before, (seq + 1, *line)), seq)
        db.execute("UPDATE postings SET seq = ?, chain = ? WHERE seq = ?", forged)
    assert found(path) == found_without_proofs(path)
    assert found(path)[0][CHAIN][0] == 1


def test_rates_are_those_that_the_price_book_multiplies_by():
    own = {name: rate for rate, name in enumerate(Tier.__struct_fields__, 7)}
    for classes in (own, {"input": 7, "output": 11, "reasoning": 13}):
        price = Price(version="v", base=Tier(**classes), per_request_nanousd=5)
        _, version, request, *rates = rates_of("p:m", price)
        counts = [millions * 10**6 for millions in range(1, len(rates) + 1)]
        cost = request + sum(count * rate for count, rate in zip(counts, rates, strict=True)) // 10**6
        assert (version, cost) == ("v", price.cost_nanousd(Usage.of_counts(counts)))


@pytest.mark.parametrize("table", ["api_key_routes", "api_key_ceilings"])
def test_what_belongs_to_no_key_is_no_proof(histories, table, tmp_path):
    path = tmp_path / "farthing.db"
    shutil.copy(histories[0], path)
    row = ("'nobody', 'chat'", "'nobody', 'day', 'calls', 5")[table == "api_key_ceilings"]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"INSERT INTO {table} VALUES ({row})")
    assert REFERENCES in found(path)[0]
    assert found(path) == found_without_proofs(path)
