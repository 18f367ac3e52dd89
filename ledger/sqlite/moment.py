"""One moment of a ledger file, read by several threads at once, each on a connection of its own.

SQLite lets go of the interpreter while it works, so that as many cores are used as there are connections. Where there
is little to read, to open them and to hand work over takes longer than all of it: there whoever asks reads by himself.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol, TypeVar

Result = TypeVar("Result")

MOST_CONNECTIONS: Final = 8
# A file has to be larger by so much for another connection: it takes 3 ms to open one, and to hand works over.
CONNECTION_BYTES: Final = 1 << 20
# Writers that commit between two connections' first looks: so often it is tried again.
_TRIES: Final = 200
_CACHE_KIB: Final = 32 * 1024


class Moment(Protocol):
    """Works are run on its connections, which all see the same. Made by `open_moment`."""

    def submit(self, work: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        """Run `work` as soon as a connection is free, in the order that works came in."""
        ...


class _Alone:
    """A moment of one connection, on the thread of whoever asks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def submit(self, work: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        done: Future[Result] = Future()
        try:
            done.set_result(work(self._connection))
        except Exception as error:  # noqa: BLE001  # It is for whoever asks for the result.
            done.set_exception(error)
        return done


class _Together:
    """A moment of several connections, each lent to one thread at a time."""

    def __init__(self, connections: list[sqlite3.Connection], threads: ThreadPoolExecutor) -> None:
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)
        self._threads = threads

    def submit(self, work: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        return self._threads.submit(self._lend, work)

    def _lend(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        db = self._idle.get()
        try:
            return work(db)
        finally:
            self._idle.put(db)


@contextmanager
def open_moment(path: Path, *, is_still: bool, connections: int | None = None) -> Iterator[Moment]:
    """As many connections as there are cores, and fewer of a small file. is_still: nobody else has the file open.

    Raises sqlite3.DatabaseError.
    """
    wanted = connections or min(MOST_CONNECTIONS, len(os.sched_getaffinity(0)), 1 + _size(path) // CONNECTION_BYTES)
    with ExitStack() as stack:
        if wanted == 1:
            alone = stack.enter_context(closing(connect(path, is_still=is_still)))
            begin(alone)
            yield _Alone(alone)
            return
        opened = [stack.enter_context(closing(connect(path, is_still=is_still))) for _ in range(wanted)]
        witness = stack.enter_context(closing(connect(path, is_still=is_still)))
        together = _begin_together(opened, witness)
        # Ends before the connections are closed. What was not begun by then is not wanted: something failed.
        threads = ThreadPoolExecutor(len(together), "ledger moment")
        stack.callback(threads.shutdown, cancel_futures=True)
        yield _Together(together, threads)


def _size(path: Path) -> int:
    """Of the file and its WAL, which whoever closes it last takes away."""
    size = path.stat().st_size
    with suppress(FileNotFoundError):
        size += path.with_name(f"{path.name}-wal").stat().st_size
    return size


def connect(path: Path, *, is_still: bool) -> sqlite3.Connection:
    """A connection that only reads, lent from thread to thread."""
    uri = f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if is_still else "")
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return db


def begin(db: sqlite3.Connection) -> None:
    """A snapshot begins with its first reading."""
    db.execute("BEGIN")
    db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()


def _begin_together(opened: list[sqlite3.Connection], witness: sqlite3.Connection) -> list[sqlite3.Connection]:
    """Those of them that see the same moment: all, or the first if others never stop writing.

    What a witness saw before and after, if nothing was committed between, is what each one saw.
    Source: sqlite.org/pragma.html#pragma_data_version.
    """
    for _ in range(_TRIES):
        (before,) = witness.execute("PRAGMA data_version").fetchone()
        for db in opened:
            begin(db)
        if witness.execute("PRAGMA data_version").fetchone() == (before,):
            return opened
        for db in opened:
            db.execute("ROLLBACK")
    begin(opened[0])
    return opened[:1]
