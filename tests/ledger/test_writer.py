"""The writer: many transactions a commit, each whole or not at all, whatever happens around it."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from ledger.errors import LedgerUnavailable, NotALedger
from ledger.sqlite.writer import open_store
from ledger.store import writer
from ledger.store.works import Shared
from ledger.store.writer import START_TRIES, Writer
from tests.forked import forked


def put(value):
    return lambda db: db.execute("INSERT INTO refusals VALUES (:v, 'r', 'c', 1)", {"v": value}).rowcount


def count(db):
    return db.execute("SELECT COUNT(*) FROM refusals").fetchone()[0]


async def test_one_that_fails_undoes_itself_and_nobody_else(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:

        def half(db):
            put(100)(db)
            raise KeyError("its own trouble")

        results = await asyncio.gather(
            *(store.write(put(n)) for n in range(20)), store.write(half), return_exceptions=True
        )
        assert results[:20] == [1] * 20
        assert isinstance(results[20], KeyError)
        assert await store.write(count) == 20


async def test_works_of_one_kind_share_one_run_after_the_others_of_their_batch(tmp_path):
    runs = []

    def put_all(db, values):
        runs.append(values)
        if "spoilt" in values:
            put(1000)(db)
            raise KeyError("its own trouble")
        there = count(db)
        return [KeyError(value) if value == "wrong" else (put(value)(db), there) for value in values]

    async with open_store(tmp_path / "l.db", "full") as store:
        asked = [Shared(put_all, 1), put(2), Shared(put_all, "wrong"), put(3), Shared(put_all, 4)]
        results = await asyncio.gather(*map(store.write, asked), return_exceptions=True)
        assert runs == [[1, "wrong", 4]]
        assert [results[0], results[1], results[3], results[4]] == [(1, 2), 1, 1, (1, 2)]
        assert isinstance(results[2], KeyError)
        runs.clear()
        results = await asyncio.gather(
            *(store.write(Shared(put_all, value)) for value in (5, "spoilt", 6)), return_exceptions=True
        )
        together = [5, "spoilt", 6]
        assert runs == [together, together, [5], ["spoilt"], [6]], "one that spoils it for all is run apart"
        assert [results[0][0], results[2][0]] == [1, 1]
        assert isinstance(results[1], KeyError)
        assert await store.write(count) == 6


async def test_works_that_go_first_do_so_together(tmp_path):
    def there_and_put(db, values):
        there = count(db)
        return [(put(value)(db), there)[1] for value in values]

    async with open_store(tmp_path / "l.db", "full") as store:
        first = [Shared(there_and_put, value, goes_first=True) for value in range(3)]
        asked = [Shared(there_and_put, 3), *first[:2], put(4), count, first[2], Shared(there_and_put, 5)]
        assert await asyncio.gather(*map(store.write, asked)) == [4, 0, 0, 1, 3, 3, 4]


async def test_a_batch_runs_again_only_if_one_of_it_failed_after_it_had_written(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:
        runs = []

        def written(db):
            runs.append("written")
            return put(1)(db)

        def refused(db):
            runs.append("refused")
            raise KeyError(count(db))

        def half(db):
            runs.append("half")
            put(2)(db)
            raise KeyError("its own trouble")

        results = await asyncio.gather(store.write(written), store.write(refused), return_exceptions=True)
        assert (results[0], runs) == (1, ["written", "refused"])
        runs.clear()
        await asyncio.gather(*(store.write(work) for work in (refused, half, refused)), return_exceptions=True)
        assert runs == ["refused", "half", "refused", "half", "refused"]
        assert await store.write(count) == 1


async def test_a_caller_that_leaves_only_stops_waiting(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:
        waiting = asyncio.create_task(store.write(put(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert await store.write(count) == 1


async def test_a_full_disk_acknowledges_nothing_of_the_batch_and_the_next_ones_go_on(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:

        def fill(db):
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages + 2}")
            db.execute("CREATE TABLE filler (x)")
            db.execute("INSERT INTO filler VALUES (zeroblob(1000000))")

        results = await asyncio.gather(
            *(store.write(put(n)) for n in range(10)), store.write(fill), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, Exception)]
        assert failed
        kept = await until_ready(store, count)
        assert kept == len(results) - len(failed), "what was acknowledged is there, and nothing else"
        assert await store.write(put(999)) == 1


async def test_a_disk_that_fails_under_one_statement_is_the_whole_batch_s_trouble(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:

        def read_fails(db):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error

        results = await asyncio.gather(store.write(put(1)), store.write(read_fails), return_exceptions=True)
        assert [type(result) for result in results] == [LedgerUnavailable, LedgerUnavailable]
        assert await until_ready(store, count) == 0


async def test_works_that_come_while_a_batch_runs_share_its_commit(tmp_path):
    batches = []
    async with open_store(tmp_path / "l.db", "full", tell=batches.append) as store:
        loop = asyncio.get_running_loop()
        later = []

        def slow(db):
            asked = asyncio.run_coroutine_threadsafe(ask(), loop)
            asked.result(10)
            return put(1)(db)

        async def ask():
            later.append(asyncio.create_task(store.write(put(2))))
            later.append(asyncio.create_task(store.write(put(3), is_settlement=True)))
            await asyncio.sleep(0)

        before = len(batches)
        assert await store.write(slow) == 1
        assert [await task for task in later] == [1, 1]
        assert [batch.writes for batch in batches[before:]] == [3]


async def test_what_joined_a_batch_that_is_lost_is_told_so_too(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:
        loop = asyncio.get_running_loop()
        later = []

        def slow(db):
            asyncio.run_coroutine_threadsafe(ask(), loop).result(10)
            return put(1)(db)

        def fails(db):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error

        async def ask():
            later.extend(asyncio.create_task(store.write(work)) for work in (put(2), fails))
            await asyncio.sleep(0)

        results = await asyncio.gather(store.write(slow), return_exceptions=True)
        results += await asyncio.gather(*later, return_exceptions=True)
        assert [type(result) for result in results] == [LedgerUnavailable] * 3
        assert await until_ready(store, count) == 0


async def test_a_batch_takes_no_more_than_its_limit_however_many_come(tmp_path, monkeypatch):
    batches = []
    async with open_store(tmp_path / "l.db", "full", tell=batches.append) as store:
        monkeypatch.setattr(store, "batch_limit", 4)
        assert await asyncio.gather(*(store.write(put(n)) for n in range(10))) == [1] * 10
        assert [batch.writes for batch in batches[-3:]] == [4, 4, 2]


async def test_so_many_may_wait_and_no_more(tmp_path, monkeypatch):
    async with open_store(tmp_path / "l.db", "full") as store:
        monkeypatch.setattr(writer, "QUEUE_LIMIT", 3)
        results = await asyncio.gather(*(store.write(put(n)) for n in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [int] * 3 + [LedgerUnavailable] * 2


async def test_settlements_go_before_whatever_came_earlier(tmp_path, monkeypatch):
    ran = []
    async with open_store(tmp_path / "l.db", "full") as store:
        monkeypatch.setattr(store, "batch_limit", 1)
        admission = store.write(lambda db: ran.append("admission"))
        await asyncio.gather(admission, store.write(lambda db: ran.append("settlement"), is_settlement=True))
    assert ran == ["settlement", "admission"]


async def until_ready(store, work):
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.write(work)
            except LedgerUnavailable:
                await asyncio.sleep(0.01)


async def test_after_its_close_it_takes_nothing(tmp_path):
    async with open_store(tmp_path / "l.db", "full") as store:
        pending = [asyncio.create_task(store.write(put(n))) for n in range(50)]
        await asyncio.sleep(0)
    assert [await task for task in pending] == [1] * 50, "what was queued is committed first"
    with pytest.raises(LedgerUnavailable):
        await store.write(put(1))


async def test_two_processes_take_turns_and_lose_nothing(tmp_path):
    async with (
        open_store(tmp_path / "l.db", "full") as store,
        forked(put_many, str(tmp_path / "l.db"), "a", folder=tmp_path, environ=os.environ) as one,
        forked(put_many, str(tmp_path / "l.db"), "b", folder=tmp_path, environ=os.environ) as other,
    ):
        assert [await child.wait() for child in (one, other)] == [0, 0]
        assert await store.write(count) == 300


def put_many(path, name):
    """What each of the processes does."""

    async def main():
        async with open_store(Path(path), "full") as store:
            for n in range(150):
                row = {"n": n, "who": name}
                await store.write(lambda db, row=row: db.execute("INSERT INTO refusals VALUES (:n, :who, 'c', 1)", row))

    asyncio.run(main())


async def test_a_damaged_file_is_told_and_not_opened(tmp_path):
    (tmp_path / "l.db").write_bytes(b"this is no database at all, and longer than a header needs to be" * 100)
    with pytest.raises(Exception, match="not a database") as told:
        async with open_store(tmp_path / "l.db", "full"):
            raise AssertionError("it opened")
    assert not isinstance(told.value, sqlite3.Error)


async def test_a_bug_on_opening_is_raised_rather_than_waited_for(tmp_path):
    def broken(path, synchronous):
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        async with asyncio.timeout(5), open_store(tmp_path / "l.db", "full", broken):
            raise RuntimeError("it opened")


async def test_a_file_that_never_opens_ends_the_start(tmp_path, monkeypatch):
    tries = []

    def failing(path, synchronous):
        tries.append(path)
        raise OSError("no such disk")

    monkeypatch.setattr(Writer, "reopen_delays_s", (0.0,))
    with pytest.raises(NotALedger, match="no such disk"):
        async with asyncio.timeout(5), open_store(tmp_path / "l.db", "full", failing):
            raise AssertionError("it opened")
    assert len(tries) == START_TRIES + 1
