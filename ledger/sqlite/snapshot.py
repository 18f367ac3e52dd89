"""One moment of the ledger, read as often as one likes: what `ledger.transaction()` gives."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from ledger.database import Database
from ledger.errors import LedgerUnavailable
from ledger.operations.latency_report import latency_by
from ledger.operations.spend import spend_by
from ledger.reports import Latency, LatencyQuery, Spend, SpendQuery
from ledger.sqlite.connection import Connection, open_reader, read_bounded

Result = TypeVar("Result")
# A snapshot keeps the WAL from being emptied, so it ends by itself.
SNAPSHOT_S: Final = 10.0


class Read(Protocol):
    """A reading of the moment. Raises LedgerUnavailable."""

    async def __call__(self, work: Callable[[Database], Result]) -> Result: ...


class SqliteTransaction:
    """See `ledger.ledger.Transaction`, which it implements. Made by `open_snapshot`."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def get_all_spend(self, *, since_ms: int | None = None, until_ms: int | None = None) -> dict[str, Spend]:
        query = SpendQuery(since_ms=since_ms, until_ms=until_ms, group_by=("model",))
        groups = await self._read(partial(spend_by, query=query))
        return {model: spend for (model,), spend in sorted(groups.items())}

    async def get_all_latency(self, *, since_ms: int | None = None, until_ms: int | None = None) -> dict[str, Latency]:
        query = LatencyQuery(since_ms=since_ms, until_ms=until_ms, group_by=("model",))
        _, groups = await self._read(partial(latency_by, query=query))
        return {model: latency for (model,), latency in sorted(groups.items())}


@asynccontextmanager
async def open_snapshot(path: Path) -> AsyncIterator[SqliteTransaction]:
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
            yield SqliteTransaction(read)
        finally:
            ending.cancel()
            await asyncio.wait([ending])


async def _end_later(connection: Connection) -> None:
    await asyncio.sleep(SNAPSHOT_S)
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
