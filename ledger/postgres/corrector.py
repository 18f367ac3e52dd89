"""A writer that only corrects: no lease, no holds, in turn with the replicas."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ledger.postgres.address import Address
from ledger.postgres.ledger import check_there
from ledger.postgres.store import PostgresWriter
from ledger.store.corrector import StoreCorrector
from ledger.store.writer import run_writer


@asynccontextmanager
async def open_postgres_corrector(address: Address, *, clock_ms: Callable[[], int]) -> AsyncIterator[StoreCorrector]:
    """On a ledger that is there. Raises NotALedger."""
    await check_there(address)
    store = PostgresWriter(address)
    async with run_writer(store):
        yield StoreCorrector(store, clock_ms)
