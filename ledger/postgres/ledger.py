"""A replica's ledger on PostgreSQL: SQLite's operations on another store."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from ledger.bodies import Bodies
from ledger.errors import NotALedger
from ledger.events import EVENTS_KEPT_MS
from ledger.figures import Batch
from ledger.operations.owners import LeaseRule
from ledger.postgres.address import Address
from ledger.postgres.connection import ServerFailed, Session, open_connection, run_to_end
from ledger.postgres.migrate import check_clock, check_identity, check_server
from ledger.postgres.months import months_kept
from ledger.postgres.readers import open_readers
from ledger.postgres.store import PostgresWriter
from ledger.sql import Migrations
from ledger.store.ledger import StoreLedger, new_owner, under_lease
from ledger.store.reports import StoreReports
from ledger.store.writer import run_writer
from ledger.values import CacheBounds


@asynccontextmanager
async def open_postgres_ledger(
    address: Address,
    *,
    clock_ms: Callable[[], int],
    bounds: CacheBounds,
    verify_every_s: float | None = None,
    events_kept_ms: int = EVENTS_KEPT_MS,
    lease: LeaseRule | None = None,
    tell: Callable[[Batch], None] | None = None,
    known: Migrations | None = None,
    bodies: Bodies | None = None,
) -> AsyncIterator[StoreLedger]:
    """Connect, make or bring up to date what is there, and hold a lease while the block runs. Raises NotALedger.

    known: the schema that it is brought up to, if not this code's own.
    """
    async with AsyncExitStack() as stack:
        store = PostgresWriter(address, known=known, tell=tell)
        await stack.enter_async_context(run_writer(store))
        readers = await stack.enter_async_context(open_readers(address))
        await stack.enter_async_context(months_kept(store, clock_ms))
        ledger = StoreLedger(
            store,
            readers,
            new_owner,
            clock_ms=clock_ms,
            bounds=bounds,
            events_kept_ms=events_kept_ms,
            lease=lease,
            bodies=bodies,
        )
        await stack.enter_async_context(under_lease(ledger, verify_every_s=verify_every_s))
        yield ledger


@asynccontextmanager
async def open_postgres_reports(address: Address, *, clock_ms: Callable[[], int]) -> AsyncIterator[StoreReports]:
    """Read a ledger that is there. Raises NotALedger."""
    async with open_readers(address) as readers:
        await check_there(address)
        yield StoreReports(readers, clock_ms)


def check_address(address: Address, *, now_ms: int) -> None:
    """Raise NotALedger, which says what to do, if no ledger can be kept there. Changes nothing."""

    def look(db: Session) -> None:
        check_server(db)
        check_clock(db, now_ms=now_ms)
        check_identity(db)

    run_to_end(_looked_at(address, look))


async def check_there(address: Address) -> None:
    """Raise NotALedger unless there is a ledger."""

    def look(db: Session) -> None:
        if check_identity(db) == 0:
            raise NotALedger("there is no ledger in the database yet: it is made when the service first starts")

    await _looked_at(address, look)


async def _looked_at(address: Address, look: Callable[[Session], None]) -> None:
    async with open_connection(address) as connection:
        try:
            await connection.run(look)
        except ServerFailed as error:
            raise NotALedger(f"{address.shown} cannot be reached: {error}") from error
