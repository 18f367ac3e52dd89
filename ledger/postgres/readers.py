"""Connections for the reports: each reading is one snapshot, and none writes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from ledger.database import Snapshot
from ledger.errors import NotALedger
from ledger.postgres.address import Address
from ledger.postgres.connection import Connection, Session, open_connection
from ledger.postgres.failures import ServerFailed
from ledger.postgres.snapshot import begin_snapshot, end, failure_of, open_snapshot

Result = TypeVar("Result")
READERS: Final = 2


class PostgresReaders:
    """A few connections, lent one reading at a time, first come first served."""

    def __init__(self, address: Address, connections: list[Connection]) -> None:
        self.address = address
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._idle.put_nowait(connection)

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Run `work` in one read transaction. Raises ReadingTooLong, and LedgerUnavailable if the server fails."""
        connection = await self._idle.get()
        try:
            return await connection.run(partial(_in_snapshot, work=work))
        except (ServerFailed, NotALedger) as error:
            raise failure_of(error) from error
        finally:
            self._idle.put_nowait(connection)

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """One moment, on a connection of its own."""
        return open_snapshot(self.address)

    async def free_bytes(self) -> None:
        """The server's disk is not ours to look at."""


@asynccontextmanager
async def open_readers(address: Address) -> AsyncIterator[PostgresReaders]:
    """READERS connections, made when they are first needed."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(open_connection(address)) for _ in range(READERS)]
        yield PostgresReaders(address, connections)


def _in_snapshot(db: Session, *, work: Callable[[Session], Result]) -> Result:
    begin_snapshot(db)
    try:
        return work(db)
    finally:
        end(db)
