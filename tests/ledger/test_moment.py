"""However many connections read a file, and whoever writes to it meanwhile, they read one moment of it."""

import sqlite3
from contextlib import closing

import pytest

from ledger.sqlite import moment as moments
from ledger.sqlite.moment import open_moment


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
    return path


def write(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO numbers DEFAULT VALUES")


def count(db):
    return db.execute("SELECT COUNT(*) FROM numbers").fetchone()[0]


def counts(moment):
    return [moment.submit(count).result() for _ in range(8)]


def test_all_see_the_same_though_another_writes_while_they_begin(path, monkeypatch):
    begun = []

    def begin(db):
        moments_begin(db)
        begun.append(db)
        if len(begun) in {2, 7}:  # Between two of the first try, and of the second.
            write(path)

    moments_begin = moments.begin
    monkeypatch.setattr(moments, "begin", begin)
    with open_moment(path, is_still=False, connections=4) as moment:
        write(path)
        assert counts(moment) == [2] * 8
    assert len(begun) == 12


def test_where_others_never_stop_writing_one_connection_is_enough(path, monkeypatch):
    monkeypatch.setattr(moments, "_TRIES", 0)
    with open_moment(path, is_still=False, connections=4) as moment:
        write(path)
        assert counts(moment) == [0] * 8


def test_what_fails_is_told_to_whoever_asked(path):
    with open_moment(path, is_still=True) as moment, pytest.raises(sqlite3.OperationalError, match="nothing"):
        moment.submit(lambda db: db.execute("SELECT * FROM nothing")).result()
