"""One moment of the ledger, read as often as one likes: what `ledger.transaction()` gives."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

from ledger.database import Database
from ledger.errors import LedgerUnavailable, NotALedger, ReadingTooLong
from ledger.postgres.address import Address
from ledger.postgres.connection import Connection, Session, open_connection
from ledger.postgres.failures import ServerFailed
from ledger.postgres.migrate import begin_guarded, guard, known_here
from ledger.store import transaction
from ledger.store.transaction import StoreTransaction

Result = TypeVar("Result")
# Compiling a statement takes the server longer than most of ours run, and where a year's sums do not fit its memory, it
# sorts them on disk: three times as long. A snapshot begins with its first reading.
SNAPSHOT: Final = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL lock_timeout = '1s';
SET LOCAL statement_timeout = '2s';
SET LOCAL idle_in_transaction_session_timeout = '15s';
SET LOCAL jit = off;
SET LOCAL work_mem = '64MB';
{guard(known_here())};
"""
_CANCELED: Final = "57014"

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_snapshot(address: Address) -> AsyncIterator[StoreTransaction]:
    """Everything read within is as it was at the beginning. On a connection of its own, so that it holds up nobody."""
    async with open_connection(address) as connection:
        try:
            await connection.run(begin_snapshot)
        except (ServerFailed, NotALedger) as error:
            raise failure_of(error) from error

        async def read(work: Callable[[Database], Result]) -> Result:
            try:
                return await connection.run(partial(_read_on, work=work))
            except ServerFailed as error:
                raise failure_of(error) from error

        ending = asyncio.create_task(_end_later(connection), name="ledger snapshot")
        try:
            yield StoreTransaction(read)
        finally:
            ending.cancel()
            await asyncio.wait([ending])


def failure_of(error: ServerFailed | NotALedger) -> LedgerUnavailable:
    """What a reader is told of a server's failure."""
    log.warning("the ledger could not be read: %s", error)
    is_too_long = isinstance(error, ServerFailed) and error.sqlstate == _CANCELED
    return ReadingTooLong() if is_too_long else LedgerUnavailable()


async def _end_later(connection: Connection) -> None:
    await asyncio.sleep(transaction.SNAPSHOT_S)
    await connection.run(end)


def begin_snapshot(db: Session) -> None:
    """Begin a reading of one moment. Raises ServerFailed, and NotALedger where the schema has left this code behind."""
    begin_guarded(db, SNAPSHOT)


def _read_on(db: Session, *, work: Callable[[Session], Result]) -> Result:
    if not db.in_transaction:
        raise LedgerUnavailable
    return work(db)


def end(db: Session) -> None:
    """End a snapshot, if there is one."""
    with contextlib.suppress(ServerFailed):
        if db.in_transaction:
            db.run_script("ROLLBACK")
