"""One moment of the ledger, read as often as one likes: what `ledger.transaction()` gives."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from ledger.database import Database
from ledger.errors import LedgerUnavailable
from ledger.sqlite.connection import Connection, open_reader, read_bounded
from ledger.store import transaction
from ledger.store.transaction import StoreTransaction

Result = TypeVar("Result")


@asynccontextmanager
async def open_snapshot(path: Path) -> AsyncIterator[StoreTransaction]:
    """Everything read within is as it was at the beginning. On a connection of its own, so that it holds up nobody."""
    async with open_reader(path) as connection:
        await connection.run(_begin)

        async def read(work: Callable[[Database], Result]) -> Result:
            try:
                return await connection.run(partial(_read_on, work=work))
            except sqlite3.OperationalError as error:
                raise LedgerUnavailable from error

        ending = asyncio.create_task(_end_later(connection), name="ledger snapshot")
        try:
            yield StoreTransaction(read)
        finally:
            ending.cancel()
            await asyncio.wait([ending])


async def _end_later(connection: Connection) -> None:
    await asyncio.sleep(transaction.SNAPSHOT_S)
    await connection.run(_end)


def _begin(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()  # A snapshot begins with its first reading.


def _end(db: sqlite3.Connection) -> None:
    db.execute("ROLLBACK")


def _read_on(db: sqlite3.Connection, *, work: Callable[[sqlite3.Connection], Result]) -> Result:
    if not db.in_transaction:
        raise sqlite3.OperationalError("the snapshot has ended")
    return read_bounded(db, work)
