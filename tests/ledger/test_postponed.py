"""What a batch spent by name is added up by groups, and nothing is committed before it is."""

import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from itertools import cycle, islice, zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.ceilings import DAY_MS, HOUR_MS, CeilingTable
from ledger.corrections import Correction
from ledger.operations.admit import admit
from ledger.operations.corrections import correct
from ledger.operations.owners import Owner, register, sweep
from ledger.operations.settle import settle
from ledger.sqlite.batches import run_batch
from ledger.sqlite.migrate import APPLICATION_ID, migrate, run_script, scripts
from ledger.sqlite.postpone import MANY, SQL, add_up
from ledger.sqlite.tables import PASSING
from ledger.usage import Usage
from ledger.values import CacheBounds, Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, a_call, a_settlement

BEFORE = 25
A_MOST = 2**63 - 1
SPENT = "SELECT SUM(cost_nanousd), SUM(attempts), SUM(generations), SUM(cache_hits) FROM spend_hours"
BY_NAME = (
    "SELECT dimension, name, SUM(cost_nanousd), SUM(attempts), SUM(generations) FROM spend_hours_by_name GROUP BY 1, 2"
)
NAMED = [{"user": "u1", "run": "r1"}, {"user": "u1", "workflow": "w1", "run": "r2"}, {"workflow": "w1"}, {}]
USED = Usage(input_tokens=3, cached_tokens=4, output_tokens=2, reasoning_tokens=5)
FATES = ["settled", "released", "corrected", "hit", "late"]
ENDED = (
    "INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, "
    "run, tags, cache, deployment, outcome, finished_at_ms) "
    f"VALUES ('ended', {BEGAN_MS}, 'chat', 0, '', '', '', 'u1', '', '', '{{}}', 'hit', 'p:m', 'ok', {BEGAN_MS})"
)


@contextmanager
def connected(path):
    """As the writer of a service is."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        yield db


@contextmanager
def an_owned(path):
    """A new ledger with an owner."""
    with connected(path) as db:
        migrate(db)
        run(db, partial(register, owner=Owner(owner_id="own", process="p"), now_ms=BEGAN_MS, lease_ms=HOUR_MS))
        yield db


def run(db, *works):
    results = run_batch(db, works)
    failed = [result for result in results if isinstance(result, Exception)]
    assert not failed
    return results


def admitting(call, owner_id="own"):
    return partial(admit, request=call, owner_id=owner_id, ceilings=CeilingTable(()))


def settling(call, lead, **result):
    return partial(settle, settlement=a_settlement(call, lead, **result), bounds=CacheBounds())


def admitted(db, count, *, first_ms=BEGAN_MS):
    """[(call, lead)], of one batch. first_ms: when the first of them came."""
    calls = [a_call(now_ms=BEGAN_MS if number else first_ms) for number in range(count)]
    return list(zip(calls, run(db, *map(admitting, calls)), strict=True))


def is_sound(path):
    return not verify_ledger(f"sqlite:{path}", on_rule=lambda _: None).violations


def nothing_is_left(db):
    return not any(db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in PASSING)


def test_however_many_end_in_a_batch_each_sum_by_name_is_written_once(tmp_path):
    programs = []
    with an_owned(tmp_path / "farthing.db") as db:
        for count in (MANY, 3 * MANY):
            leads, statements = admitted(db, count), []
            db.set_trace_callback(statements.append)
            run(db, *(settling(call, lead) for call, lead in leads))
            db.set_trace_callback(None)
            # A statement is told again for each program of a trigger and each statement of it.
            programs.append(statements.count(SQL["add_up"]))
        ended = 4 * MANY
        assert db.execute(SPENT).fetchall() == [(ended * 400, ended, ended, 0)]
        sums = (ended * 400, ended, ended)
        assert db.execute(BY_NAME).fetchall() == [("user", "u1", *sums), ("workflow", "w", *sums)]
        assert nothing_is_left(db)
    assert programs[0] == programs[1] > 1
    assert is_sound(tmp_path / "farthing.db")


@pytest.mark.parametrize("ends", [ENDED, "UPDATE generations SET outcome = 'ok', finished_at_ms = 1"])
def test_what_is_postponed_cannot_be_committed(tmp_path, ends):
    with an_owned(tmp_path / "farthing.db") as db:
        admitted(db, 1)
        db.execute("BEGIN IMMEDIATE")
        db.execute(SQL["postpone_sums"])
        db.execute(ends)
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY constraint failed"):
            db.execute("COMMIT")
        add_up(db)
        db.execute("COMMIT")
        assert db.execute(BY_NAME).fetchall()[0] == ("user", "u1", 0, 0, 1)
        assert nothing_is_left(db)


def test_who_knows_nothing_of_it_adds_up_line_by_line(tmp_path):
    """Such is code of before on a file that another process has migrated since."""
    with an_owned(tmp_path / "farthing.db") as db:
        for call, lead in admitted(db, 2):
            settling(call, lead)(db)
        assert db.execute(BY_NAME).fetchall() == [("user", "u1", 800, 2, 2), ("workflow", "w", 800, 2, 2)]
    assert is_sound(tmp_path / "farthing.db")


def test_what_who_keeps_no_rules_left_postponed_is_found_and_added_up_by_the_next_batch(tmp_path):
    path = tmp_path / "farthing.db"
    with an_owned(path) as db:
        leads = admitted(db, MANY)
        with closing(sqlite3.connect(path, isolation_level=None)) as another:
            another.execute("PRAGMA foreign_keys = OFF")
            another.execute(SQL["postpone_sums"])
            another.execute(ENDED)
        rules = {found.rule for found in verify_ledger(f"sqlite:{path}", on_rule=lambda _: None).violations}
        assert {
            "references lead somewhere",
            "reports: spend by user, workflow and run is what its lines come to",
        } <= rules
        run(db, *(settling(call, lead) for call, lead in leads))
        assert db.execute(BY_NAME).fetchall()[0] == ("user", "u1", MANY * 400, MANY, MANY + 1)
        assert nothing_is_left(db)
    assert is_sound(path)


def test_a_work_that_failed_leaves_nothing_of_what_it_spent(tmp_path):
    with an_owned(tmp_path / "farthing.db") as db:
        leads = admitted(db, 2 * MANY)

        def half(db):
            settling(*leads[-1])(db)
            raise KeyError("its own trouble")

        results = run_batch(db, [*(settling(*each) for each in leads[:-1]), half])
        assert [type(result) for result in results] == [type(None)] * (2 * MANY - 1) + [KeyError]
        ended = 2 * MANY - 1
        assert db.execute(BY_NAME).fetchall()[0] == ("user", "u1", ended * 400, ended, ended)
        run(db, settling(*leads[-1]))
    assert is_sound(tmp_path / "farthing.db")


def test_who_spends_more_than_a_sum_can_hold_is_refused_alone(tmp_path):
    with an_owned(tmp_path / "farthing.db") as db:
        dear, *others = admitted(db, 2 * MANY, first_ms=BEGAN_MS - HOUR_MS)
        # It is as much as its hour can hold, and too much for its user's day once others are in it.
        works = [settling(*each) for each in others]
        works.insert(MANY, settling(*dear, cost=A_MOST))
        results = run_batch(db, works)
        assert [isinstance(result, sqlite3.Error) for result in results] == [n == MANY for n in range(2 * MANY)]
        ended = 2 * MANY - 1
        assert db.execute(BY_NAME).fetchall()[0] == ("user", "u1", ended * 400, ended, ended)
        assert nothing_is_left(db)
    assert is_sound(tmp_path / "farthing.db")


def test_a_ledger_that_added_up_line_by_line_goes_on_from_its_sums(tmp_path):
    path = tmp_path / "farthing.db"
    with connected(path) as db:
        for script in scripts(since=0, to=BEFORE):
            run_script(db, script)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {BEFORE}")
        register(db, Owner(owner_id="own", process="p"), now_ms=BEGAN_MS, lease_ms=HOUR_MS)
        call, another = a_call(), a_call()
        lead = admitting(call)(db)
        assert isinstance(lead, Lead)
        settling(call, lead)(db)
        open_lead = admitting(another)(db)
        before = db.execute(SPENT).fetchall(), db.execute(BY_NAME).fetchall()
        assert before[0] == [(400, 1, 1, 0)]
        migrate(db)
        assert (db.execute(SPENT).fetchall(), db.execute(BY_NAME).fetchall()) == before
        run(db, settling(another, open_lead))
        assert db.execute(SPENT).fetchall() == [(800, 2, 2, 0)]
    assert is_sound(path)


def works_of(number, fate, who):
    """What becomes of one call, from its admission on."""
    at_ms = BEGAN_MS + number * HOUR_MS // 2
    call = a_call(generation_id=f"gen_{number}", now_ms=at_ms, key=f"{number}")
    attribution = dict.fromkeys(("key", "team", "user", "workflow", "run"), "") | who
    call = replace(call, facts=replace(call.facts, attribution=attribution))
    hit = replace(call, facts=replace(call.facts, generation_id=f"hit_{number}"))
    owner = Owner(owner_id=f"own {number}", process="p")
    lead = Lead(bid=0, hold_id=f"gen_{number}.1", attempt=1)
    change = {"basis": "provider_reported", "reason": "said so", "price_version": "v1"}
    correction = Correction(hold_id=lead.hold_id, cost_nanousd=250, **change)
    ends = {"cost": None, "outcome": "upstream_error"} if fate == "released" else {"cost": 100 + number}
    works = [
        partial(register, owner=owner, now_ms=at_ms, lease_ms=1 if fate == "late" else DAY_MS),
        admitting(call, owner.owner_id),
        settling(call, lead, usage=USED, **ends),
    ]
    if fate == "late":
        works.insert(-1, partial(sweep, now_ms=at_ms + 2))
    if fate == "corrected":
        works.append(partial(correct, corrections=[correction], now_ms=at_ms))
    if fate == "hit":
        works.append(admitting(hit, owner.owner_id))
    return works


def sums_of(batches):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        migrate(db)
        for batch in batches:
            run(db, *batch)
        return {
            table: sorted(db.execute(f"SELECT * FROM {table}"))
            for table in ("spend_hours", "spend_hours_by_name", "spend_days_by_name")
        }


@given(
    st.lists(st.tuples(st.sampled_from(FATES), st.sampled_from(NAMED)), min_size=1, max_size=10),
    st.lists(st.integers(1, 3 * MANY), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_however_works_share_batches_the_sums_are_the_same(stories, lengths):
    steps = [works_of(number, *story) for number, story in enumerate(stories)]
    works = [work for round_of in zip_longest(*steps) for work in round_of if work is not None]
    left, batches = iter(works), []
    for length in cycle(lengths):
        batches.append(list(islice(left, length)))
        if not batches[-1]:
            break
    assert sums_of(batches) == sums_of([work] for work in works)
