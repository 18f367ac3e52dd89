"""A copied ledger is the same, row for row, on any engine; one that was cut off is none, and goes on."""

import asyncio
import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from ledger import copying
from ledger.copying import CopyRefused, SourceBroken, copy_ledger
from ledger.corrections import Correction, open_corrector
from ledger.errors import NotALedger
from ledger.ledger import check_ledger, open_ledger, wall_ms
from ledger.operations import rows as ranges
from ledger.sql import schema
from ledger.sqlite.tables import HEAVY, PASSING, tables
from ledger.values import Follow, Lead
from ledger.verify import Unreadable, verify_ledger
from service.ids import new_generation_id
from tests.forked import forked
from tests.ledger import killed
from tests.ledger.calls import Clock, a_call, a_ledger, admit_and_settle, an_idempotency_key
from tests.ledger.everything import HOOKS, an_event, make_everything
from tests.ledger.homes import PostgresHome, SqliteHome


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """(a file with everything in it, when nobody uses it any more)."""
    home = SqliteHome(tmp_path_factory.mktemp("everything"))
    return home, asyncio.run(make_everything(home))


@pytest.fixture
def file(tmp_path, original):
    """A file of the test's own with everything in it."""
    home = SqliteHome(tmp_path)
    for path in original[0].folder.glob("farthing.db*"):
        shutil.copy(path, tmp_path)
    return home


@pytest.fixture
def ends(request, tmp_path, postgres):
    """Makes places that are empty."""

    def make(engine):
        if engine == "postgresql":
            return PostgresHome(postgres, postgres.empty_database())
        folder = tmp_path / os.urandom(4).hex()
        folder.mkdir()
        return SqliteHome(folder)

    return make


@pytest.fixture
def small_ranges(monkeypatch):
    """So that these few rows are many ranges."""
    monkeypatch.setattr(ranges, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(ranges, "BYTES_AT_ONCE", 3)


def copy(source, target, now_ms, *, on_step=lambda _: None, **options):
    return copy_ledger(source.url, target.url, now_ms=now_ms, on_step=on_step, **options)


def content(home):
    """{table: all of its rows}."""
    with home.database() as db:
        return {table.name: ranges.next_rows(db, table, None, 10**6) for table in tables()}


def findings(home, **options):
    return verify_ledger(home.url, on_rule=lambda _: None, **options)


def test_the_tables_are_all_there_are_and_each_comes_after_those_it_refers_to():
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(schema("sqlite"))
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert {table.name for table in tables()} == names - PASSING
        order = [table.name for table in tables()]
        for name in order:
            others = [other for (other,) in db.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (name,))]
            assert all(order.index(other) < order.index(name) for other in others)
            assert next(table for table in tables() if table.name == name).key
        # A column of bytes is heavy unless a rule says how long it is.
        blobs = db.execute(
            "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' AND c.type = 'BLOB' AND m.sql NOT LIKE '%length(' || c.name || ') = 32%'"
        )
        assert {*blobs} == {(table, column) for table, columns in HEAVY.items() for column in columns}


def test_everything_is_in_it(original):
    home, _ = original
    assert [name for name, rows in content(home).items() if not rows] == []
    assert findings(home).violations == ()


@pytest.mark.parametrize("between", ["postgresql", "sqlite"])
def test_there_and_back_it_is_the_same_row_for_row(original, ends, small_ranges, between):
    home, now_ms = original
    there, back = ends(between), ends("sqlite")
    copied = copy(home, there, now_ms)
    before = content(home)
    assert content(there) == before
    assert (copied.calls, copied.rows, copied.went_on, copied.keys) == (
        len(before["generations"]), sum(map(len, before.values())), False, 1,
    )  # fmt: skip
    copy(there, back, now_ms)
    assert content(back) == before
    with home.database() as one, back.database() as other:
        statement = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
        assert one.execute(statement).fetchall() == other.execute(statement).fetchall()
        for setting in ("application_id", "user_version"):
            assert one.execute(f"PRAGMA {setting}").fetchall() == other.execute(f"PRAGMA {setting}").fetchall()
    assert findings(back) == findings(home)
    assert (back.path.stat().st_mode & 0o777) == 0o600


async def test_it_goes_on_on_a_server_as_it_would_have_at_home(original, ends):
    """Also from one server's database to another's."""
    home, now_ms = original
    between, there = ends("postgresql"), ends("postgresql")
    await asyncio.to_thread(copy, home, between, now_ms)
    await asyncio.to_thread(copy, between, there, now_ms)
    rules = "SELECT COUNT(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'"
    assert there.server.run(there.name, rules)[0][0] == 0
    before = content(there)
    clock = Clock(now_ms)
    async with a_ledger(there, clock=clock) as ledger:
        await ledger._sweep()  # What its dead process held lapses.
        assert await ledger.find_api_key("k1") is not None
        assert (await ledger.memory_since(0))[1] == {"breaker p:m": '{"state": "open"}'}
        # Nothing is told twice, and what was still to be told is told.
        assert not await ledger.raise_event(an_event("told"))
        assert await ledger.raise_event(an_event("new"))
        due = [(it.target, it.event.facts["name"]) for it in await ledger.due_deliveries(HOOKS, clock(), 99)
               if it.event.type == "disk.low"]  # fmt: skip
        assert sorted(due) == [(target, name) for target in ("hook", "mail") for name in ("new", "to be told")]
        again = await ledger.admit(a_call(idempotency=an_idempotency_key(), now_ms=now_ms - 1000))
        assert not isinstance(again, Lead | Follow)
        await admit_and_settle(ledger, a_call(now_ms=clock()))
    after = content(there)
    assert max(row[0] for row in after["events"]) > max(row[0] for row in before["events"])
    assert len(after["postings"]) == len(before["postings"]) + 3
    assert after["postings"][: len(before["postings"])] == before["postings"]
    assert findings(there).violations == ()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_cut_off_anywhere_it_is_no_ledger_and_goes_on_from_there(original, ends, small_ranges, engine):
    home, now_ms = original
    there, cuts = ends(engine), 0

    class Cut(Exception):
        pass

    def cut(step):
        nonlocal came, cuts
        came += step.what.startswith("copying")
        if came == 7 or ("the new ledger: reports" in step.what and not cuts % 5):
            cuts += 1
            raise Cut

    while True:
        came = 0
        try:
            copied = copy(home, there, now_ms, on_step=cut)
            break
        except Cut:
            for refusing in (partial(check_ledger, there.url), partial(findings, there)):
                with pytest.raises((NotALedger, Unreadable), match="unfinished copy"):
                    refusing()
    assert cuts > 3
    assert copied.went_on
    assert content(there) == content(home)
    assert findings(there).violations == ()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_killed_in_the_middle_it_goes_on_and_ends_the_same(original, ends, engine):
    home, now_ms = original
    there = ends(engine)
    async with forked(killed.copy, home.url, there.url, now_ms, folder=home.folder, environ=os.environ) as process:
        assert await process.wait() == -signal.SIGKILL
    with pytest.raises(NotALedger, match="unfinished copy"):
        async with open_ledger(there.url):
            raise AssertionError("it opened")
    copied = await asyncio.to_thread(copy, home, there, now_ms)
    assert copied.went_on
    assert 0 < copied.rows < sum(map(len, content(home).values()))
    assert content(there) == content(home)


async def test_a_server_that_fails_midway_cuts_it_off_and_this_months_calls_lie_in_their_month(ends):
    home, there, now_ms = ends("sqlite"), ends("postgresql"), wall_ms()
    async with a_ledger(home, clock=Clock(now_ms)) as ledger:
        for _ in range(2):
            await admit_and_settle(ledger, a_call(generation_id=new_generation_id(now_ms), now_ms=now_ms))

    def lose(step):
        if step.what == "copying holds":
            ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{there.name}'"
            there.server.run("postgres", ended)

    with pytest.raises(CopyRefused, match=r"the copy was cut off .*: do it again, and it goes on from there"):
        await asyncio.to_thread(copy, home, there, now_ms + 10**5, on_step=lose)
    copied = await asyncio.to_thread(copy, home, there, now_ms + 10**5)
    assert (copied.went_on, copied.calls) == (True, 0)
    (part,) = {*there.server.run(there.name, "SELECT CAST(tableoid::regclass AS text) FROM generations")}
    assert re.fullmatch(r"generations_\d{4}_\d\d", part[0])
    assert content(there) == content(home)


def test_stored_answers_may_be_left(original, ends):
    home, now_ms = original
    there = ends("sqlite")
    copy(home, there, now_ms, with_answers=False)
    found, before = content(there), content(home)
    assert (found.pop("responses"), found.pop("response_totals")) == ([], [(1, 0, 0)])
    assert found == {name: rows for name, rows in before.items() if name in found}


def test_the_owner_of_a_database_needs_no_other_right(original, ends):
    home, now_ms = original
    there = ends("postgresql")
    there.server.run("postgres", "DROP ROLE IF EXISTS mover")
    there.server.run("postgres", "CREATE ROLE mover LOGIN")
    there.server.run("postgres", f"ALTER DATABASE {there.name} OWNER TO mover")
    there.url = there.url.replace("postgres@", "mover@")
    copy(home, there, now_ms)
    there.url = there.url.replace("mover@", "postgres@")
    assert content(there) == content(home)
    there.server.run("postgres", f"DROP DATABASE {there.name}")
    there.server.run("postgres", "DROP ROLE mover")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_a_place_that_is_not_empty_is_left_alone(file, original, ends, engine):
    there = ends(engine)
    async with a_ledger(there):
        pass
    before = content(there)
    with pytest.raises(NotALedger, match="there is a ledger in"):
        await asyncio.to_thread(copy, file, there, original[1])
    assert content(there) == before
    foreign = ends(engine)
    with foreign.database() as db:
        db.execute("CREATE TABLE theirs (x BIGINT)")
    with pytest.raises(NotALedger, match="something else"):
        await asyncio.to_thread(copy, file, foreign, original[1])


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_where_there_is_no_ledger_nothing_is_copied(ends, engine):
    with pytest.raises(NotALedger, match="there is no ledger"):
        copy(ends(engine), there := ends("sqlite"), 0)
    assert not there.path.exists()


def test_where_no_ledger_can_be_none_is_copied_to(original, ends):
    there = ends("sqlite")
    there.url = f"sqlite:{there.folder}/nowhere/farthing.db"
    with pytest.raises(NotALedger, match="there is no folder"):
        copy(original[0], there, original[1])
    there = ends("postgresql")
    there.url = there.url.replace("host=", "host=/nowhere")
    with pytest.raises(NotALedger, match="cannot be reached"):
        copy(original[0], there, original[1])


async def test_a_ledger_in_use_is_not_copied(file, original, ends):
    now_ms, there = original[1], ends("sqlite")
    async with a_ledger(file, clock=Clock(now_ms)):
        with pytest.raises(CopyRefused, match=r"in use by .*stop every service on it first.*in 16 s"):
            await asyncio.to_thread(copy, file, there, now_ms)
    await asyncio.to_thread(copy, file, there, now_ms)


def test_a_broken_ledger_is_not_copied(file, original, ends):
    with file.database(ruled=False) as db:
        db.execute("UPDATE ceiling_windows SET spent_amount = spent_amount + 1")
    with pytest.raises(SourceBroken) as refused:
        copy(file, there := ends("sqlite"), original[1])
    assert "spent is the sum" in refused.value.findings.violations[0].rule
    assert not there.path.exists()


class Cut(Exception):
    pass


def cut_at(table):
    def cut(step):
        if step.what == f"copying {table}":
            raise Cut

    return cut


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_a_copy_of_something_else_is_not_gone_on_with(file, original, ends, engine):
    now_ms, there = original[1], ends(engine)
    with pytest.raises(Cut):
        await asyncio.to_thread(copy, file, there, now_ms, on_step=cut_at("holds"))
    with pytest.raises(CopyRefused, match=r"unfinished copy in it.*remove the file, or drop"):
        await asyncio.to_thread(copy, file, there, now_ms, with_answers=False)
    async with a_ledger(file, clock=Clock(now_ms)) as ledger:
        await ledger.admit(a_call(now_ms=now_ms))
    with pytest.raises(CopyRefused, match="before it was used again"):
        await asyncio.to_thread(copy, file, there, now_ms + 10**6)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_of_two_copies_to_one_place_the_later_goes_on(original, ends, small_ranges, engine):
    home, now_ms = original
    there, second = ends(engine), []

    def begin_another(step):
        if step.what == "copying holds" and not second:
            second.append(copy(home, there, now_ms))

    with pytest.raises(CopyRefused, match=r"another copy to .* has begun since"):
        copy(home, there, now_ms, on_step=begin_another)
    assert content(there) == content(home)
    assert findings(there).violations == ()


def test_a_copy_that_was_meddled_with_is_found(original, ends):
    home, now_ms = original
    there = ends("sqlite")
    with pytest.raises(Cut):
        copy(home, there, now_ms, on_step=cut_at("postings"))
    with there.database() as db:
        db.execute("UPDATE generations SET route = 'elsewhere' WHERE generation_id LIKE '%1'")
    with pytest.raises(CopyRefused, match=r"generations .* differs"):
        copy(home, there, now_ms)


def test_a_copy_that_was_given_one_more_is_found(original, ends):
    home, now_ms = original
    there = ends("sqlite")
    with pytest.raises(Cut):
        copy(home, there, now_ms, on_step=cut_at("postings"))
    with there.database() as db:
        db.execute(
            "INSERT INTO api_keys (key_id, digest, pepper_id, name, team, role, created_at_ms)"
            " SELECT 'zzz', zeroblob(32), pepper_id, 'smuggled', '', 'admin', created_at_ms FROM api_keys LIMIT 1"
        )
    with pytest.raises(CopyRefused, match=r"api_keys .* differs"):
        copy(home, there, now_ms)


def test_a_source_that_was_used_meanwhile_is_found(file, original, ends):
    now_ms, there = original[1], ends("sqlite")

    def use(step):
        if step.what.startswith("comparing alert_targets"):
            with file.database() as db:
                db.execute("UPDATE ceilings_epoch SET epoch = epoch + 1")

    with pytest.raises(CopyRefused, match="used meanwhile"):
        copy(file, there, now_ms, on_step=use)


async def test_a_text_that_a_server_cannot_hold_is_shown_as_such_but_for_a_lines(file, original, ends):
    with file.database(ruled=False) as db:
        named = [(table.name, "name") for table in tables() if "dimension" in table.columns]
        for table, column in (("generations", "user_id"), ("spend_days_by_pair", "user_id"), *named):
            db.execute(f"UPDATE {table} SET {column} = replace({column}, 'u1', 'u' || char(0) || '1')")
    there = ends("postgresql")
    await asyncio.to_thread(copy, file, there, original[1])
    assert {row[7] for row in content(there)["generations"]} == {"u\ufffd1"}
    async with open_corrector(file.url, clock_ms=lambda: original[1]) as books:
        found = await books.charged(since_ms=0, until_ms=original[1], after=None)
        change = Correction(
            hold_id=found[0].hold_id, cost_nanousd=9, basis="estimated", reason="a\0b", price_version="v1", usage=None
        )
        await books.correct([change])
    with pytest.raises(CopyRefused, match="a line of money holds a text that PostgreSQL cannot"):
        await asyncio.to_thread(copy, file, ends("postgresql"), original[1])
    await asyncio.to_thread(copy, file, ends("sqlite"), original[1])


def test_it_holds_only_so_many_rows_at_once(original, ends, monkeypatch):
    monkeypatch.setattr(ranges, "ROWS_AT_ONCE", 4)
    most = []
    add = copying.ranges

    def watched(*arguments):
        for rows in add(*arguments):
            most.append(len(rows))
            yield rows

    monkeypatch.setattr(copying, "ranges", watched)
    copy(original[0], ends("sqlite"), original[1])
    assert max(most) == 4
