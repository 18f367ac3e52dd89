"""The ledger on a SQLite file: opened to serve, to be read, or to be corrected."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ledger.bodies import Bodies
from ledger.errors import LedgerUnavailable, NotALedger
from ledger.events import EVENTS_KEPT_MS
from ledger.figures import Batch
from ledger.operations.owners import LeaseRule
from ledger.sqlite.connection import Synchronous
from ledger.sqlite.files import check_file, damaged, is_damage
from ledger.sqlite.migrate import check_identity
from ledger.sqlite.readers import open_readers
from ledger.sqlite.writer import open_store
from ledger.store.corrector import StoreCorrector
from ledger.store.lease import new_owner
from ledger.store.ledger import StoreLedger, under_lease
from ledger.store.reports import StoreReports
from ledger.values import CacheBounds


@asynccontextmanager
async def open_sqlite_ledger(
    path: Path,
    *,
    clock_ms: Callable[[], int],
    synchronous: Synchronous,
    bounds: CacheBounds,
    verify_every_s: float | None = None,
    events_kept_ms: int = EVENTS_KEPT_MS,
    lease: LeaseRule | None = None,
    tell: Callable[[Batch], None] | None = None,
    bodies: Bodies | None = None,
) -> AsyncIterator[StoreLedger]:
    """Open the file, take a lease, keep it while the block runs, give it back. verify_every_s None: no looks.

    events_kept_ms: how long events are remembered that are over.
    """
    check_file(path)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(path, synchronous, tell=tell))
        readers = await stack.enter_async_context(open_readers(path))
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
async def open_sqlite_reports(path: Path, *, clock_ms: Callable[[], int]) -> AsyncIterator[StoreReports]:
    """Read a file that is there. Raises NotALedger."""
    _check_there(path)
    async with open_readers(path) as readers:
        try:
            await readers.read(check_identity)
        except LedgerUnavailable as unavailable:
            if is_damage(unavailable.__cause__):
                raise damaged(path, unavailable.__cause__) from unavailable
            raise
        yield StoreReports(readers, clock_ms)


@asynccontextmanager
async def open_sqlite_corrector(path: Path, *, clock_ms: Callable[[], int]) -> AsyncIterator[StoreCorrector]:
    """Correct a file that is there. Raises NotALedger."""
    _check_there(path)
    async with open_store(path, "full") as store:
        yield StoreCorrector(store, clock_ms)


def _check_there(path: Path) -> None:
    if path.is_dir():
        raise NotALedger(f"{path} is a folder: name a file in it")
    if not path.is_file():
        raise NotALedger(f"there is no ledger at {path} yet: it is made when the service first starts")
