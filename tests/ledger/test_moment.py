"""However many connections read a file, and whoever writes to it meanwhile, they read one moment of it."""

import os
import signal
import sqlite3
import threading
from collections import Counter
from contextlib import closing, suppress
from functools import partial

import pytest

from ledger.sqlite import moment as moments
from ledger.sqlite.apart import Apart, ConnectionLost
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


@pytest.mark.parametrize("connections", [1, 2])
def test_what_fails_is_told_to_whoever_asked(path, connections):
    with open_moment(path, is_still=True, connections=connections) as moment:
        asked = moment.submit(lambda db: db.execute("SELECT * FROM nothing"))
        with pytest.raises(sqlite3.OperationalError, match="nothing"):
            asked.result()


def test_alone_a_connection_sees_one_moment_too(path):
    with open_moment(path, is_still=False) as moment:
        write(path)
        assert counts(moment) == [0] * 8


def thread_at(meeting, _):
    """Which thread this is, once all are there."""
    meeting.wait()
    return threading.get_ident()


@pytest.mark.parametrize(("megabytes", "readers"), [(0, 1), (3, 4)])
def test_a_large_file_is_read_by_several_at_once_and_a_small_one_by_whoever_asks(path, monkeypatch, megabytes, readers):
    monkeypatch.setattr(moments.os, "sched_getaffinity", lambda _: range(8))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")  # What is not in the file yet has to be read, too.
        db.execute("CREATE TABLE texts AS SELECT zeroblob(?) AS text", (megabytes << 20,))
        with open_moment(path, is_still=False) as moment:
            at_once = partial(thread_at, threading.Barrier(readers, timeout=10))
            threads = {reading.result() for reading in [moment.submit(at_once) for _ in range(readers)]}
    assert len(threads) == readers
    assert (threading.get_ident() in threads) == (readers == 1)


@pytest.fixture
def apart(monkeypatch):
    """As a large file is read."""
    monkeypatch.setattr(moments, "APART_BYTES", 0)


def process_of(_):
    return os.getpid()


def fail_on(db):
    db.execute("SELECT * FROM nothing")


def end_elsewhere(db, *, here):
    """Count, but only in this process: any other one ends as by a page that its disk cannot read."""
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGBUS)
    return count(db)


@pytest.mark.usefixtures("apart")
def test_processes_see_the_same_and_what_fails_in_them_is_told(path):
    with open_moment(path, is_still=False, connections=2) as moment:
        write(path)
        assert counts(moment) == [0] * 8
        assert os.getpid() not in {moment.submit(process_of).result() for _ in range(4)}
        begun = []
        asked = moment.submit(fail_on, begun=partial(begun.append, "begun"))
        with pytest.raises(sqlite3.OperationalError, match="nothing") as failed:
            asked.result()
    assert failed.value.sqlite_errorcode == sqlite3.SQLITE_ERROR
    assert begun == ["begun"]


@pytest.mark.usefixtures("apart")
def test_what_a_lost_process_was_asked_is_answered_by_this_one_as_of_the_same_moment(path):
    with open_moment(path, is_still=False, connections=2) as moment:
        write(path)
        asked = [moment.submit(partial(end_elsewhere, here=os.getpid())) for _ in range(4)]
        assert [reading.result(timeout=30) for reading in asked] == [0] * 4


@pytest.mark.usefixtures("apart")
def test_without_processes_one_connection_is_enough(path, monkeypatch):
    monkeypatch.setattr("ledger.sqlite.apart._SERVE", "raise SystemExit")
    with open_moment(path, is_still=False, connections=2) as moment:
        write(path)
        assert counts(moment) == [0] * 8
        assert moment.submit(process_of).result() == os.getpid()


@pytest.mark.usefixtures("apart")
def test_whoever_leaves_waits_for_no_process(path):
    begun = threading.Event()
    with open_moment(path, is_still=False, connections=2) as moment:
        asked = moment.submit(count_for_ever, begun=begun.set)
        assert begun.wait(30)
    with pytest.raises(ConnectionLost):
        asked.result()


def test_whoever_asks_after_its_end_is_told_so(path):
    apart = Apart(path, is_still=False)
    apart.close()
    with pytest.raises(ConnectionLost):
        apart.run(process_of)


def test_whoever_goes_on_asking_while_it_ends_is_told_so(path):
    apart, asking, is_closed, failures = Apart(path, is_still=False), threading.Event(), threading.Event(), Counter()

    def ask():
        while not is_closed.is_set():
            asking.set()
            try:
                apart.run(process_of)
            except Exception as error:  # noqa: BLE001  # Counted.
                failures[type(error)] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    assert asking.wait(30)
    apart.close()
    is_closed.set()
    thread.join(30)
    assert set(failures) == {ConnectionLost}


def count_for_ever(db):
    db.execute("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT COUNT(*) FROM n").fetchone()


def ask_in_vain(apart):
    with suppress(ConnectionLost):
        apart.run(count_for_ever)


def test_a_process_ends_with_whoever_asks_it_even_in_the_midst_of_a_work(path):
    apart = Apart(path, is_still=False)
    with closing(apart):
        asking = threading.Thread(target=ask_in_vain, args=(apart,))
        assert apart.run(process_of) == apart._process.pid
        asking.start()
        apart._asked.close()  # As the system does for a process that is no more.
        asking.join(30)
        assert apart._process.wait(30) == 0
