"""Read-only connections for the reports. They never hold up the writer for long, and never write."""

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from ledger.errors import LedgerUnavailable, ReadingTooLong
from ledger.sqlite.connection import Connection, open_reader, read_bounded
from ledger.sqlite.snapshot import open_snapshot
from ledger.store.transaction import StoreTransaction

Result = TypeVar("Result")
READERS: Final = 2

log = logging.getLogger(__name__)


class Readers:
    """A few connections, lent one reading at a time, first come first served."""

    def __init__(self, path: Path, connections: list[Connection]) -> None:
        self.path = path
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._idle.put_nowait(connection)

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work` in one read transaction. Raises ReadingTooLong, and LedgerUnavailable if the file fails."""
        connection = await self._idle.get()
        try:
            # The connection's thread does one thing after another: a cancelled reading only delays the next.
            return await connection.run(partial(_in_snapshot, work=work))
        except sqlite3.DatabaseError as error:
            log.warning("the ledger could not be read: %s", error)
            is_too_long = error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
            raise (ReadingTooLong if is_too_long else LedgerUnavailable) from error
        finally:
            self._idle.put_nowait(connection)

    def snapshot(self) -> AbstractAsyncContextManager[StoreTransaction]:
        """One moment, on a connection of its own."""
        return open_snapshot(self.path)

    async def free_bytes(self) -> int:
        """How much room is left on the file's file system, which may take its time: so on a thread of ours."""
        return await self.read(lambda _: shutil.disk_usage(self.path.parent).free)


@asynccontextmanager
async def open_readers(path: Path) -> AsyncIterator[Readers]:
    """READERS connections to a ledger file that exists."""
    async with AsyncExitStack() as stack:
        yield Readers(path, [await stack.enter_async_context(open_reader(path)) for _ in range(READERS)])


def _in_snapshot(db: sqlite3.Connection, *, work: Callable[[sqlite3.Connection], Result]) -> Result:
    db.execute("BEGIN")
    try:
        return read_bounded(db, work)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
