"""The SQLite that audits bring along says what the system's says, of the same file."""

import sqlite3
from contextlib import closing

import pytest

from ledger.sqlite.bundled import connect_mapped
from ledger.sqlite.reading import connect


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO numbers VALUES (?, ?)", [(1, "one"), (2, None), (3, "three")])
        db.execute("INSERT INTO numbers VALUES (4, CAST(x'ff' AS TEXT))")
    return path


@pytest.fixture(params=[connect, connect_mapped])
def db(path, request):
    with closing(request.param(path, is_still=True)) as db:
        yield db


def test_rows_come_one_by_one_and_together(db):
    found = db.execute("SELECT n, name FROM numbers WHERE n <= :most ORDER BY n", {"most": 3, "unasked": 0})
    assert [column[0] for column in found.description] == ["n", "name"]
    assert found.fetchone() == (1, "one")
    assert next(iter(found)) == (2, None)
    assert found.fetchall() == [(3, "three")]
    assert found.fetchone() is None


def test_what_finds_nothing_has_no_rows(db):
    assert db.execute("SELECT n FROM numbers WHERE n > ?", (4,)).fetchall() == []
    assert db.execute("PRAGMA foreign_key_check").fetchone() is None


def test_many_are_written_where_nothing_is_kept(db):
    db.execute("CREATE TEMP TABLE others (n INTEGER PRIMARY KEY, name TEXT)")
    db.executemany("INSERT INTO temp.others VALUES (?, ?)", iter([(1, "a"), (2, "b")]))
    assert db.execute("SELECT name FROM temp.others ORDER BY n").fetchall() == [("a",), ("b",)]


def test_statements_call_functions_of_ours(db):
    db.create_function("twice", 1, lambda n: 2 * n, deterministic=True)
    assert db.execute("SELECT SUM(twice(n)) FROM numbers").fetchone() == (20,)


@pytest.mark.parametrize(
    ("statement", "parameters", "code"),
    [
        ("SELECT n FROM nothing", (), sqlite3.SQLITE_ERROR),
        ("DELETE FROM numbers", (), sqlite3.SQLITE_READONLY),
        ("SELECT SUM(n + 4611686018427387904) FROM numbers", (), sqlite3.SQLITE_ERROR),
        ("SELECT fails(n) FROM numbers", (), None),
        ("SELECT name FROM numbers WHERE n = 4", (), None),
    ],
)
def test_what_cannot_be_done_is_an_operational_error(db, statement, parameters, code):
    db.create_function("fails", 1, lambda n: {}[n])
    with pytest.raises(sqlite3.OperationalError) as failed:
        db.execute(statement, parameters).fetchall()
    assert code is None or failed.value.sqlite_errorcode == code
    db.create_function("fails", 1, lambda n: n)  # Which no statement may be using.
    assert db.execute("SELECT fails(3)").fetchall() == [(3,)]


def test_want_of_memory_says_nothing_of_the_file(db):
    def wants(n):
        raise MemoryError

    db.create_function("wants", 1, wants)
    with pytest.raises(MemoryError):
        db.execute("SELECT wants(n) FROM numbers").fetchall()


def test_a_broken_rule_is_an_integrity_error(db):
    db.execute("CREATE TEMP TABLE others (n INTEGER PRIMARY KEY)")
    with pytest.raises(sqlite3.IntegrityError) as failed:
        db.executemany("INSERT INTO temp.others VALUES (?)", [(1,), (1,)])
    assert failed.value.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY


@pytest.mark.parametrize("connecting", [connect, connect_mapped])
@pytest.mark.parametrize(
    ("content", "code"), [(b"no database" * 100, sqlite3.SQLITE_NOTADB), (None, sqlite3.SQLITE_CORRUPT)]
)
def test_what_is_no_database_or_damaged_is_told_apart(path, connecting, content, code):
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096 if content is None else content)
    with pytest.raises(sqlite3.DatabaseError) as failed, closing(connecting(path, is_still=True)) as db:
        db.execute("SELECT COUNT(name) FROM numbers").fetchall()
    assert failed.value.sqlite_errorcode & 0xFF == code
    assert not isinstance(failed.value, sqlite3.OperationalError)


@pytest.mark.parametrize("connecting", [connect, connect_mapped])
def test_where_there_is_no_file_it_says_so(tmp_path, connecting):
    with pytest.raises(sqlite3.OperationalError) as failed:
        connecting(tmp_path / "missing.db", is_still=False)
    assert failed.value.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN
