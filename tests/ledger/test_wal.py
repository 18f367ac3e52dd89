"""How far a WAL has come is read from the file itself, as SQLite writes it."""

import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

from ledger.sqlite import connection as connections
from ledger.sqlite.checkpoint import Checkpoints, WalRule
from ledger.sqlite.wal import Wal

HEADER, FRAME = 32, 24 + 4096


@contextmanager
def writing(path):
    """A connection with the writer's settings, and a table of which each row takes a page."""
    connections.create_private(path)
    with closing(connections._connect(str(path), uri=False)) as db:
        connections._apply_writer_settings(db, synchronous="full")
        db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, page BLOB)")
        yield db


def put(db, rows):
    db.execute("BEGIN")
    db.executemany("INSERT INTO t (page) VALUES (zeroblob(3500))", [()] * rows)
    db.execute("COMMIT")


def in_wal(db):
    """As SQLite itself counts it; what no reader needs is moved by that."""
    _, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert frames == moved
    return HEADER + frames * FRAME


def test_in_its_first_round_it_has_come_as_far_as_its_file_is_long(tmp_path):
    path = tmp_path / "l.db"
    wal, file = Wal(path), tmp_path / "l.db-wal"
    assert wal.size() == 0
    assert not wal.reaches(1)
    with writing(path) as db:
        for rows in (1, 5, 40):
            put(db, rows)
            assert wal.size() == file.stat().st_size


def test_started_over_it_has_come_as_far_as_was_written_since(tmp_path):
    path = tmp_path / "l.db"
    wal, file = Wal(path), tmp_path / "l.db-wal"
    with writing(path) as db:
        put(db, 60)
        length = file.stat().st_size
        for rows in (1, 2, 3, 20, 45):
            in_wal(db)  # From its beginning the next time.
            put(db, rows)
            came_to = wal.size()
            assert HEADER < came_to < length
            assert wal.reaches(came_to)
            assert wal.reaches(came_to - FRAME + 1)
            assert not wal.reaches(came_to + 1)
            assert not wal.reaches(length + FRAME)
            assert in_wal(db) == came_to
        assert file.stat().st_size == length, "it keeps its length, so that a commit need not make it longer"


def test_emptied_it_has_come_nowhere(tmp_path):
    path = tmp_path / "l.db"
    with writing(path) as db:
        put(db, 10)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert Wal(path).size() == 0
        assert not Wal(path).reaches(1)


ASKING = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
try:
    db.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    sys.exit(str(error))
"""


def test_to_look_at_it_takes_no_lock_from_who_writes(tmp_path):
    path = tmp_path / "l.db"
    with writing(path) as db:
        put(db, 10)
        db.execute("BEGIN IMMEDIATE")
        assert Wal(path).size() > 0
        asked = subprocess.run([sys.executable, "-c", ASKING, path], capture_output=True, text=True, check=False)
        assert asked.stderr.strip() == "database is locked"
        db.execute("COMMIT")


def test_checkpoints_come_once_a_round_and_the_file_stays_as_long_as_the_first_one_made_it(tmp_path):
    path, rule = tmp_path / "l.db", WalRule(checkpoint_bytes=100 * FRAME)
    seen: list[str] = []
    with writing(path) as db:
        checkpoints = Checkpoints(path, rule)
        db.set_trace_callback(lambda sql: seen.append(sql) if "wal_checkpoint" in sql else None)
        lengths = []
        while len(seen) < 3:
            put(db, 5)
            checkpoints.run_if_due(db)
            lengths.append((tmp_path / "l.db-wal").stat().st_size)
    assert 100 * FRAME < lengths[-1] < 120 * FRAME
    assert len(lengths) > 30, "most batches checkpoint nothing"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT COUNT(*) FROM t").fetchone() == (5 * len(lengths),)
