"""The rules that stand in the schema bite by themselves, and the file is checked before it is used."""

import re
import sqlite3
import stat
from contextlib import closing

import pytest

from ledger.ceilings import DAY_MS, Ceiling
from ledger.errors import NotALedger
from ledger.events import EventRaised
from ledger.holds import TRANSITIONS, HoldEvent, HoldState
from ledger.sql import migrations, schema
from ledger.sqlite.migrate import APPLICATION_ID, migrate, scripts
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, admit_and_settle
from tests.ledger.homes import CHECKED, REFERS, REFUSED, UNIQUE

COLUMNS = "seq, hold_id, kind, cost_nanousd, cost_basis, overrun_nanousd, price_version, posted_at_ms, chain"
BREACHES = {
    "a posting never changes": "UPDATE postings SET cost_nanousd = 0",
    "a posting never vanishes": "DELETE FROM postings",
    "a hold never vanishes": "DELETE FROM holds",
    "a hold is closed exactly once": "UPDATE holds SET state = 'released' WHERE state = 'settled'",
    "does not fit under its ceiling": "UPDATE ceiling_windows SET held_amount = held_amount + 10000",
    CHECKED: "UPDATE ceiling_windows SET spent_amount = -1",
    UNIQUE: (
        f"INSERT INTO postings ({COLUMNS}) SELECT seq + 1, hold_id, 'settlement', 1, 'free', 0, 'v', 1, chain "
        "FROM postings"
    ),
    REFERS: (
        f"INSERT INTO postings ({COLUMNS}) SELECT seq + 1, 'nobody', 'settlement', 1, 'free', 0, 'v', 1, chain "
        "FROM postings"
    ),
    "a posting follows the last one": (
        f"INSERT INTO postings ({COLUMNS}) SELECT seq + 2, hold_id, 'correction', 1, 'free', 0, 'v', 1, chain "
        "FROM postings"
    ),
    "how an attempt ended stays": "UPDATE holds SET outcome = 'aborted'",
    "a hold is taken under a lease": (
        "INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, held_nanousd, state, "
        "taken_at_ms) SELECT 'x', generation_id, 2, 'nobody', 'p:m', 'v', 0, 'held', taken_at_ms FROM holds"
    ),
    "an event changes in nothing but that it is acknowledged": "UPDATE events SET facts = '{}'",
    "an event never vanishes": "DELETE FROM events",
}


@pytest.mark.parametrize("words", BREACHES)
async def test_the_schema_refuses(home, words):
    async with a_ledger(home, ceilings=[Ceiling(scope="global", window="day", limit=5000)]) as ledger:
        await admit_and_settle(ledger, a_call())
        await ledger.raise_event(EventRaised(type="disk.low", dedup_key="disk.low", at_ms=BEGAN_MS, facts={}))
    with home.database() as db, pytest.raises(REFUSED, match=words):
        db.execute(BREACHES[words])


WORDS = {"generations": ["cache"], "holds": ["state"], "postings": ["kind", "cost_basis"], "latency_buckets": ["kind"]}


async def test_a_word_that_a_column_does_not_know_is_refused(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        await admit_and_settle(ledger, a_call())
    with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as db:
        guards = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%BEFORE UPDATE%'")
        for (guard,) in guards.fetchall():
            db.execute(f"DROP TRIGGER {guard}")
        for table, columns in WORDS.items():
            for column in columns:
                with pytest.raises(sqlite3.IntegrityError, match=f"CHECK constraint failed: {column}"):
                    db.execute(f"UPDATE {table} SET {column} = 'whatever'")


def test_an_older_ledger_gets_the_rules_in_their_new_words(tmp_path):
    count = "INSERT INTO latency_buckets VALUES ('p:m', ?, 0, 1, 1, 1, 1)"
    with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as db:
        for script in scripts(since=0, to=19):
            db.executescript(script)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 19")
        db.execute(count, ["total"])
        migrate(db)
        with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as another:
            for each in (db, another):
                with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed: kind = 'total'"):
                    each.execute(count, ["whatever"])
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT deployment, kind FROM latency_buckets").fetchall() == [("p:m", "total")]


def test_of_what_an_older_ledger_folded_scopes_keep_what_is_known(tmp_path):
    with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as db:
        for script in scripts(since=0, to=27):
            db.executescript(script)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 27")
        ceiling = "INSERT INTO ceilings VALUES (?, ?, ?, ?, 9, 1, 0, 'refuse', 0, NULL, '[]')"
        window = "INSERT INTO ceiling_windows VALUES (?, 0, ?, ?, 9, 9, 0, 8, ?, NULL)"
        for name, scope, length, ends_at_ms, counts, folded in (
            ("total user:a", "user:a", "total", None, "nanousd", 5),
            ("tokens/total user:a", "user:a", "total", None, "tokens", 6),
            ("total user:b", "user:b", "total", None, "nanousd", 0),
            ("day user:b", "user:b", "day", DAY_MS, "nanousd", 7),
        ):
            db.execute(ceiling, [name, scope, length, counts])
            db.execute(window, [name, ends_at_ms, counts, folded])
        db.execute("DROP TRIGGER a_closing_is_what_its_lines_come_to")
        db.execute("INSERT INTO closings VALUES (3, zeroblob(32), 3, 12, 1, 1)")
        migrate(db)
        kept = db.execute("SELECT * FROM folded_months ORDER BY scope").fetchall()
    assert kept == [("global", 0, 12, 0, 0, 0), ("user:a", 0, 5, 6, 0, 0)]


@pytest.mark.parametrize("table", WORDS)
def test_no_rule_of_a_table_that_each_call_writes_to_builds_a_table_at_every_row(table):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(schema("sqlite"))
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        values = ", ".join("?" for _ in columns)
        program = db.execute(f"EXPLAIN INSERT INTO {table} VALUES ({values})", [None] * len(columns)).fetchall()
        own = program[: [row[1] for row in program].index("Init", 1)]
        assert "OpenEphemeral" not in {row[1] for row in own}


@pytest.mark.parametrize("state", list(HoldState))
@pytest.mark.parametrize("event", list(HoldEvent))
def test_only_an_open_hold_moves(state, event):
    assert ((state, event) in TRANSITIONS) == (state == HoldState.HELD)


async def test_its_files_are_its_owners_alone(sqlite_home):
    async with a_ledger(sqlite_home) as ledger:
        await admit_and_settle(ledger, a_call())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sqlite_home.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert "farthing.db-wal" in modes


async def test_a_database_of_something_else_is_left_alone(sqlite_home):
    with sqlite_home.database() as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(NotALedger, match="something else"):
        async with a_ledger(sqlite_home):
            raise AssertionError("it opened")
    with sqlite_home.database() as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_a_newer_ledger_is_not_touched(sqlite_home):
    async with a_ledger(sqlite_home):
        pass
    with sqlite_home.database() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(NotALedger, match="newer farthing"):
        async with a_ledger(sqlite_home):
            raise AssertionError("it opened")


async def test_the_settings_took(sqlite_home):
    async with a_ledger(sqlite_home) as ledger:
        wanted = {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "wal_autocheckpoint": 0,
            "trusted_schema": 0,
        }

        def read(db):
            return {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}

        assert await ledger._store.write(read) == wanted


def made_by(scripts):
    """{(type, name): its text without blanks and comments}, and the rows that come with the tables."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for script in scripts:
            db.executescript(script)
        objects = {
            (kind, name): re.sub(r"--[^\n]*|\s", "", sql)
            for kind, name, sql in db.execute("SELECT type, name, COALESCE(sql, '') FROM sqlite_master")
        }
        tables = [name for kind, name in objects if kind == "table"]
        return objects, {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in tables}


def test_all_migrations_together_make_the_schema_that_people_read_and_new_files_get():
    assert made_by(script for _, script in migrations("sqlite")) == made_by([schema("sqlite")])
