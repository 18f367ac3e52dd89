"""One moment of a ledger file, read by several threads at once, each on a connection of its own.

SQLite lets go of the interpreter while it works, so that as many cores are used as there are connections.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

Result = TypeVar("Result")

MOST_CONNECTIONS: Final = 8
# Writers that commit between two connections' first looks: so often it is tried again.
_TRIES: Final = 200
_CACHE_KIB: Final = 32 * 1024


class Moment:
    """Works are run on its connections, which all see the same. Made by `open_moment`."""

    def __init__(self, connections: list[sqlite3.Connection], threads: ThreadPoolExecutor) -> None:
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)
        self._threads = threads

    def submit(self, work: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
        """Run `work` as soon as a connection is free, in the order that works came in."""
        return self._threads.submit(self._lend, work)

    def _lend(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        db = self._idle.get()
        try:
            return work(db)
        finally:
            self._idle.put(db)


@contextmanager
def open_moment(path: Path, *, is_still: bool, connections: int | None = None) -> Iterator[Moment]:
    """As many connections as there are cores. is_still: nobody else has the file open.

    Raises sqlite3.DatabaseError.
    """
    wanted = connections or min(MOST_CONNECTIONS, len(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connect(path, is_still=is_still))) for _ in range(wanted)]
        witness = stack.enter_context(closing(connect(path, is_still=is_still)))
        together = _begin_together(opened, witness)
        # Ends before the connections are closed. What was not begun by then is not wanted: something failed.
        threads = ThreadPoolExecutor(len(together), "ledger moment")
        stack.callback(threads.shutdown, cancel_futures=True)
        yield Moment(together, threads)


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
