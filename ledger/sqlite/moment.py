"""One moment of a ledger file, read on several connections at once.

Each has a process of its own where there is much to read: within one, threads wait for each other at every function of
Python's that a statement calls, and at SQLite's count of the memory that it has (an eighth of all time, and as much
waiting). Of less, threads read: SQLite lets go of the interpreter while it works, and a process takes 0.1 s to start.
Where there is little, to hand work over takes longer than all of it: there whoever asks reads by himself.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Final, Protocol, TypeVar

from ledger.sqlite.apart import Apart, ConnectionLost, roll_back
from ledger.sqlite.reading import Connection, begin, connect

Result = TypeVar("Result")

MOST_CONNECTIONS: Final = 8
# A file has to be larger by so much for another connection: it takes 3 ms to open one, and to hand works over.
CONNECTION_BYTES: Final = 1 << 20
# From so many bytes on each connection has a process.
APART_BYTES: Final = 64 << 20
# Writers that commit between two connections' first looks: so often it is tried again.
_TRIES: Final = 200


def _nothing() -> None:
    pass


class Moment(Protocol):
    """Works are run on its connections, which all see the same. Made by `open_moment`."""

    def submit(
        self, work: Callable[[Connection], Result], *, begun: Callable[[], object] = _nothing
    ) -> "Future[Result]":
        """Run `work` as soon as a connection is free, in the order that works came in.

        It may be run in another process, so it has to be picklable, and so has its result. begun: is called in this
        one, on any thread, right before.
        """
        ...


class _Reader(Protocol):
    """One of the connections."""

    def begin(self) -> None: ...
    def roll_back(self) -> None: ...
    def run(self, work: Callable[[Connection], Result]) -> Result: ...


class _Here:
    """A connection of this process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self) -> None:
        begin(self._connection)

    def roll_back(self) -> None:
        roll_back(self._connection)

    def run(self, work: Callable[[Connection], Result]) -> Result:
        return work(self._connection)


class _Alone:
    """A moment of one connection, on the thread of whoever asks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(
        self, work: Callable[[Connection], Result], *, begun: Callable[[], object] = _nothing
    ) -> "Future[Result]":
        done: Future[Result] = Future()
        try:
            begun()
            done.set_result(work(self._connection))
        except Exception as error:  # noqa: BLE001  # It is for whoever asks for the result.
            done.set_exception(error)
        return done


class _Together:
    """A moment of several connections, each lent to one thread at a time. spare: goes on for one that is lost."""

    def __init__(self, readers: list[_Reader], spare: _Reader | None, threads: ThreadPoolExecutor) -> None:
        self._idle: SimpleQueue[_Reader] = SimpleQueue()
        for reader in readers:
            self._idle.put(reader)
        self._spare = spare
        self._changing = Lock()
        self._threads = threads
        self._is_over = False

    def submit(
        self, work: Callable[[Connection], Result], *, begun: Callable[[], object] = _nothing
    ) -> "Future[Result]":
        return self._threads.submit(self._lend, work, begun)

    def _lend(self, work: Callable[[Connection], Result], begun: Callable[[], object]) -> Result:
        begun()
        while True:
            reader = self._idle.get()
            try:
                result = reader.run(work)
            except ConnectionLost:
                if self._is_over:
                    self._idle.put(reader)
                    raise
                self._replace()
                continue
            except BaseException:
                self._idle.put(reader)
                raise
            self._idle.put(reader)
            return result

    def _replace(self) -> None:
        """Once: the spare connection is of this process, and never lost."""
        with self._changing:
            spare, self._spare = self._spare, None
        if spare is not None:
            self._idle.put(spare)

    def end(self) -> None:
        """What is lost from now on is lost."""
        self._is_over = True


@contextmanager
def open_moment(path: Path, *, is_still: bool, connections: int | None = None) -> Iterator[Moment]:
    """As many connections as there are cores, and fewer of a small file. is_still: nobody else has the file open.

    Raises sqlite3.DatabaseError.
    """
    size = _size(path)
    wanted = connections or min(MOST_CONNECTIONS, len(os.sched_getaffinity(0)), 1 + size // CONNECTION_BYTES)
    with ExitStack() as stack:

        def here() -> sqlite3.Connection:
            return stack.enter_context(closing(connect(path, is_still=is_still)))

        if wanted == 1:
            alone = here()
            begin(alone)
            yield _Alone(alone)
            return
        is_apart = size >= APART_BYTES and bool(sys.executable)
        apart = [stack.enter_context(closing(Apart(path, is_still=is_still))) for _ in range(wanted * is_apart)]
        neighbours = [_Here(here()) for _ in range(1 if is_apart else wanted)]
        try:
            # One of this process goes first, for it may have to do alone.
            readers = _begin_together([*neighbours, *apart], witness=here())
        except ConnectionLost:
            readers = _begin_together([_Here(here())], witness=here())
        spare = readers.pop(0) if len(readers) > wanted else None
        # Ends before the connections are closed. What was not begun by then is not wanted: something failed.
        threads = ThreadPoolExecutor(len(readers), "ledger moment")
        stack.callback(threads.shutdown, cancel_futures=True)
        together = _Together(readers, spare, threads)
        for process in apart:
            stack.callback(process.close)
        stack.callback(together.end)
        yield together


def _size(path: Path) -> int:
    """Of the file and its WAL, which whoever closes it last takes away."""
    size = path.stat().st_size
    with suppress(FileNotFoundError):
        size += path.with_name(f"{path.name}-wal").stat().st_size
    return size


def _begin_together(opened: Sequence[_Reader], witness: Connection) -> list[_Reader]:
    """Those of them that see the same moment: all, or the first if others never stop writing.

    What a witness saw before and after, if nothing was committed between, is what each one saw.
    Source: sqlite.org/pragma.html#pragma_data_version.
    """
    for _ in range(_TRIES):
        (before,) = witness.execute("PRAGMA data_version").fetchone()
        for reader in opened:
            reader.begin()
        if witness.execute("PRAGMA data_version").fetchone() == (before,):
            return [*opened]
        for reader in opened:
            reader.roll_back()
    opened[0].begin()
    return [opened[0]]
