"""The one place that writes: many calls' transactions in one commit, each whole or not at all.

While one batch commits, the next one gathers; no artificial delay. Requests never own a connection, so a caller that
goes away only stops waiting. Source: DESIGN §4, "Writer".
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ledger.errors import LedgerUnavailable, NotALedger
from ledger.figures import Batch
from ledger.sqlite.checkpoint import Checkpoints, WalRule
from ledger.sqlite.connection import Connection, Synchronous, open_writer
from ledger.sqlite.opening import START_TRIES, may_pass, prepare, refusal
from ledger.sqlite.turns import Turns

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]
# Each work's result, and what went wrong after they were committed.
Committed = tuple[list[Any], Exception | None]
OpenConnection = Callable[[Path, Synchronous], AbstractAsyncContextManager[Connection]]

BATCH_LIMIT: Final = 256
QUEUE_LIMIT: Final = 20_000
REOPEN_DELAYS_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
TROUBLE: Final = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
})  # fmt: skip

log = logging.getLogger(__name__)


class Job(msgspec.Struct):
    """A transaction that somebody waits for."""

    work: Work[Any]
    done: asyncio.Future[Any]
    came_s: float


class Shared(msgspec.Struct, frozen=True):
    """A transaction that is cheaper together with the others of its kind in a batch: `run` takes all their items.

    run: returns for each item its result, or the exception that is its answer; what it raises undoes all of it, and
    each is then run alone.
    """

    run: Callable[[sqlite3.Connection, list[Any]], list[Any]]
    item: Any

    def __call__(self, db: sqlite3.Connection) -> Any:
        """Run it alone."""
        (result,) = self.run(db, [self.item])
        if isinstance(result, Exception):
            raise result
        return result


class BatchLost(Exception):
    """SQLite gave the whole batch back, or did not say whether it kept it (`unknown`)."""

    def __init__(self, *, unknown: bool) -> None:
        super().__init__(unknown)
        self.unknown = unknown


class Spoilt(Exception):
    """A work failed after it had written, and no savepoint undoes it alone: the batch has to be run again."""


class Writer:
    """A queue of transactions and the task that commits them. Made by `open_store`.

    open_connection: where its connection comes from; a simulation has its own, without threads. tell: hears of each
    batch that was committed. batch_limit: how many works share a commit at most.
    """

    batch_limit = BATCH_LIMIT

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        open_connection: OpenConnection = open_writer,
        wal_rule: WalRule | None = None,
        *,
        tell: Callable[[Batch], None] | None = None,
    ) -> None:
        self.path = path
        self._tell = tell
        self._checkpoints = Checkpoints(path, wal_rule)
        self._open_connection = open_connection
        self._synchronous: Synchronous = synchronous
        self._first: deque[Job] = deque()
        self._second: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._is_open = False

    @property
    def place(self) -> str:
        """Where the ledger is, for people."""
        return str(self.path)

    @property
    def is_ready(self) -> bool:
        """Whether it takes new work: the file takes writes, and its WAL has room."""
        return self._is_open and not self._checkpoints.is_full

    async def write(self, work: Work[Result], *, is_settlement: bool = False) -> Result:
        """Run `work` in a transaction and return its result once it is durable.

        Whole, even if the caller is cancelled; what `work` raises undoes it alone. Settlements go before admissions.
        Raises LedgerUnavailable: with `unknown`, repeat it under the same ids.
        """
        takes = self._is_open if is_settlement else self.is_ready
        if not takes or self.queue_depth >= QUEUE_LIMIT:
            raise LedgerUnavailable
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        (self._first if is_settlement else self._second).append(Job(work, done, time.monotonic()))
        self._wake.set()
        return await done

    async def run(self, opened: asyncio.Future[None]) -> None:
        """Commit batches until `close`, opening the file again whenever a commit failed."""
        failures = 0
        while not self._closing:
            try:
                async with self._open() as commit:
                    self._is_open, failures = True, 0
                    if not opened.done():
                        opened.set_result(None)
                    await self._commit_batches(commit)
            except (BatchLost, NotALedger, sqlite3.Error, OSError) as error:
                cause = error.__cause__ if isinstance(error, BatchLost) and error.__cause__ else error
                if not opened.done() and (failures == START_TRIES or not may_pass(cause)):
                    opened.set_exception(refusal(self.place, cause))
                    return
                if not may_pass(cause):
                    await self._stay_down(cause)
                    return
                log.warning("the ledger failed, opening it again: %s", cause)
            finally:
                self._is_open = False
                self._fail_waiting()
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closed(), REOPEN_DELAYS_S[min(failures, len(REOPEN_DELAYS_S) - 1)])
                failures += 1

    @property
    def queue_depth(self) -> int:
        """How many writes wait."""
        return len(self._first) + len(self._second)

    def wal_bytes(self) -> int:
        """The size of the log that waits to be moved into the file."""
        wal = self.path.with_name(self.path.name + "-wal")
        return wal.stat().st_size if wal.exists() else 0

    @property
    def queue_age_s(self) -> float:
        """How long the oldest write that waits has waited; 0: none does."""
        oldest = [queue[0].came_s for queue in (self._first, self._second) if queue]
        return time.monotonic() - min(oldest) if oldest else 0.0

    def close(self) -> None:
        """Commit what is queued, then end `run`. No write is taken from now on."""
        self._is_open = False
        self._closing = True
        self._wake.set()

    async def _stay_down(self, cause: BaseException) -> None:
        """A damaged file is not opened again: what would be written to it could not be trusted."""
        self._is_open = False
        self._fail_waiting()
        log.error(
            "the ledger's file is damaged (%s) and takes no more writes: stop the service, run `farthing verify`, and "
            "put a backup in the place of %s",
            cause, self.path,
        )  # fmt: skip
        await self._closed()

    async def _closed(self) -> None:
        while not self._closing:
            self._wake.clear()
            await self._wake.wait()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Callable[[list[Work[Any]]], Any]]:
        turns = Turns(self.path)
        try:
            async with self._open_connection(self.path, self._synchronous) as connection:
                await connection.run(partial(_in_turn, turns=turns, work=partial(prepare, path=self.path)))
                yield partial(_commit, connection, turns, self._checkpoints)
                await connection.run(partial(_in_turn, turns=turns, work=self._checkpoints.run))
        finally:
            turns.close()

    async def _commit_batches(self, commit: Callable[[list[Work[Any]]], Any]) -> None:
        while True:
            jobs = self._take_batch()
            if not jobs:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            began_s = time.monotonic()
            try:
                results, trouble = await commit([job.work for job in jobs])
            except BatchLost as lost:
                _answer_all(jobs, LedgerUnavailable(unknown=lost.unknown))
                raise
            except (sqlite3.Error, OSError):  # It never began.
                _answer_all(jobs, LedgerUnavailable(unknown=False))
                raise
            except Exception:
                _answer_all(jobs, LedgerUnavailable(unknown=True))
                raise
            for job, result in zip(jobs, results, strict=True):
                _answer(job, result)
            if self._tell is not None:
                waited_s = began_s - min(job.came_s for job in jobs)
                self._tell(Batch(len(jobs), waited_s, time.monotonic() - began_s))
            if trouble is not None:
                raise trouble

    def _take_batch(self) -> list[Job]:
        jobs: list[Job] = []
        for queue in (self._first, self._second):
            while queue and len(jobs) < self.batch_limit:
                jobs.append(queue.popleft())
        return jobs

    def _fail_waiting(self) -> None:
        """Whoever still waits was never written."""
        _answer_all([*self._first, *self._second], LedgerUnavailable())
        self._first.clear()
        self._second.clear()


@asynccontextmanager
async def open_store(
    path: Path,
    synchronous: Synchronous,
    open_connection: OpenConnection = open_writer,
    wal_rule: WalRule | None = None,
    *,
    tell: Callable[[Batch], None] | None = None,
) -> AsyncIterator[Writer]:
    """A writer on this file, made and migrated if need be. Raises NotALedger."""
    writer = Writer(path, synchronous, open_connection, wal_rule, tell=tell)
    async with run_writer(writer):
        yield writer


@asynccontextmanager
async def run_writer(writer: Writer) -> AsyncIterator[None]:
    """Have it commit while the block runs. Raises NotALedger."""
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        task = asyncio.create_task(writer.run(opened), name="ledger writer")
        stack.push_async_callback(_join, writer, task)
        await asyncio.wait((opened, task), return_when=asyncio.FIRST_COMPLETED)
        # A bug ends the task without a word to whoever waits for it to open.
        await (opened if opened.done() else task)
        yield


async def _join(writer: Writer, task: asyncio.Task[None]) -> None:
    writer.close()
    await task


def _answer(job: Job, result: object) -> None:
    if job.done.done():
        return  # The caller went away; the transaction stands.
    if isinstance(result, BaseException):
        job.done.set_exception(result)
    else:
        job.done.set_result(result)


def _answer_all(jobs: list[Job], error: Exception) -> None:
    for job in jobs:
        _answer(job, error)


async def _commit(connection: Connection, turns: Turns, checkpoints: Checkpoints, works: list[Work[Any]]) -> Committed:
    return await connection.run(partial(_commit_in_turn, turns=turns, checkpoints=checkpoints, works=works))


def _commit_in_turn(
    db: sqlite3.Connection, *, turns: Turns, checkpoints: Checkpoints, works: list[Work[Any]]
) -> Committed:
    with turns.take():
        results = _run_batch(db, works)
        try:
            checkpoints.run_if_due(db)
        except (sqlite3.Error, OSError) as error:
            return results, error
    return results, None


def _run_batch(db: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    """Each work's result, or the exception that undid it. Raises BatchLost if SQLite undid or may have undone all.

    A savepoint for each work costs more than most of its statements, and hardly any work fails after it has written:
    so they run without, and where one does, the batch is given back and run again with. What a work reads and writes is
    in the database alone, so that nothing but time tells that it ran twice.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        try:
            results = run_works(db, works, _run_bare)
        except Spoilt:
            db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            results = run_works(db, works, _run_work)
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself: then there is nothing to.
            db.execute("ROLLBACK")
        raise BatchLost(unknown=False) from error
    try:
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise BatchLost(unknown=True) from error
    return results


def run_works(db: Any, works: list[Work[Any]], run_work: Callable[[Any, Work[Any]], Any]) -> list[Any]:
    """In their order, those that go together after all others: what was revoked in this batch is revoked for them."""
    results: list[Any] = [None] * len(works)
    shared: dict[Any, list[tuple[int, Shared]]] = {}
    for place, work in enumerate(works):
        if isinstance(work, Shared):
            shared.setdefault(work.run, []).append((place, work))
        else:
            results[place] = run_work(db, work)
    for run, placed in shared.items():
        found: Any = run_work(db, partial(_together, run=run, items=[work.item for _, work in placed]))
        if isinstance(found, Exception):
            found = [run_work(db, work) for _, work in placed]
        for (place, _), result in zip(placed, found, strict=True):
            results[place] = result
    return results


def _together(db: sqlite3.Connection, *, run: Callable[..., list[Any]], items: list[Any]) -> list[Any]:
    return run(db, items)


def _run_bare(db: sqlite3.Connection, work: Work[Any]) -> object:
    """As `_run_work`, without a savepoint. Raises Spoilt if the work failed after it had written."""
    written = db.total_changes
    try:
        result: object = work(db)
    except Exception as error:
        if _is_trouble(error):
            raise
        _check_open(db, error)
        if db.total_changes != written:
            raise Spoilt from error
        return error
    _check_open(db)
    return result


def _run_work(db: sqlite3.Connection, work: Work[Any]) -> object:
    db.execute("SAVEPOINT work")
    try:
        result: object = work(db)
    except Exception as error:
        if _is_trouble(error):
            raise
        _check_open(db, error)
        db.execute("ROLLBACK TO work")
        db.execute("RELEASE work")
        return error
    _check_open(db)
    db.execute("RELEASE work")
    return result


def _check_open(db: sqlite3.Connection, error: Exception | None = None) -> None:
    """A full disk rolls back the whole batch, not the one statement: nothing of it may be acknowledged."""
    if not db.in_transaction:
        raise sqlite3.OperationalError(f"the batch was rolled back: {error}") from error


def _is_trouble(error: Exception) -> bool:
    """Whether the database failed, and not one transaction: SQLite's advice is then to give everything back."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return isinstance(error, sqlite3.Error) and code & 0xFF in TROUBLE


def _in_turn(db: sqlite3.Connection, *, turns: Turns, work: Work[Result]) -> Result:
    with turns.take():
        return work(db)
