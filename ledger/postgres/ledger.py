"""A replica's ledger on PostgreSQL: the same operations, many of a batch together."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from ledger.bodies import Bodies
from ledger.database import Database
from ledger.errors import LedgerUnavailable, NotALedger
from ledger.events import EVENTS_KEPT_MS
from ledger.figures import Batch
from ledger.operations.admissions import Asked
from ledger.operations.admit import FlightTaken
from ledger.operations.ceilings import CeilingsInForce
from ledger.operations.owners import LeaseRule
from ledger.postgres.address import Address
from ledger.postgres.beside import SQL as SLICES
from ledger.postgres.beside import BesideWriter, admit_beside
from ledger.postgres.connection import Session, open_connection, run_to_end
from ledger.postgres.failures import ServerFailed
from ledger.postgres.migrate import check_clock, check_identity, check_server
from ledger.postgres.months import months_kept
from ledger.postgres.readers import open_readers
from ledger.postgres.slices import Slices
from ledger.postgres.store import PostgresWriter
from ledger.sql import Migrations
from ledger.store.lease import new_owner
from ledger.store.ledger import StoreLedger, under_lease
from ledger.store.reports import StoreReports
from ledger.store.works import Shared
from ledger.store.writer import run_writer
from ledger.values import Admission, AdmitRequest, CacheBounds, Lead, Settlement

# An equal call may be admitted beside the turn, end, and be made anew there; hardly so often in a row.
FLIGHT_TRIES: Final = 3


class PostgresLedger(StoreLedger):
    """See `ledger.ledger.Ledger`, which it implements. Made by `open_postgres_ledger`."""

    # What it admits by beside the turn. None: it keeps no slices.
    _beside: BesideWriter | None = None
    _slices: Slices

    def keep_slices(self, beside: BesideWriter, *, above_per_s: int) -> None:
        """From now on, admit beside the turn under ceilings with more calls a second."""
        self._beside, self._slices = beside, Slices(above_per_s)
        self._ceilings_beside = CeilingsInForce()

    async def admit(self, request: AdmitRequest) -> Admission:
        if self._beside is not None and request.idempotency is None and request.bids:
            found = await self._admit_beside(self._beside, request)
            if found is not None:
                return found
        for _ in range(FLIGHT_TRIES):
            with contextlib.suppress(FlightTaken):
                return await super().admit(request)
        raise LedgerUnavailable

    async def _admit_beside(self, beside: BesideWriter, request: AdmitRequest) -> Admission | None:
        """None: it is for its turn to say."""
        bid = request.bids[0]
        ceilings = self.ceilings_of(bid.deployment, request.facts.attribution)
        self._slices.count(bid, ceilings, request.now_ms)
        if not self._slices.cover(ceilings, request.now_ms):
            return None
        await self._record_new_prices(request.bids)
        try:
            found: Admission | None = await beside.write(
                Shared(self._admit_together_beside, Asked(request, self.owner_id))
            )
        except LedgerUnavailable as unavailable:
            if unavailable.unknown:
                raise
            return None
        return found

    def _lead_of(self, db: Database, request: AdmitRequest) -> Lead | None:
        if self._beside is not None:  # The earlier try may be under way there yet.
            db.execute(SLICES["wait_for_owner"], {"owner_id": self.owner_id}).fetchall()
        return super()._lead_of(db, request)

    def _admit_together(self, db: Any, asked: list[Asked]) -> list[Any]:
        found = super()._admit_together(db, asked)
        self._tend_slices(db)
        return found

    def _admit_together_beside(self, db: Any, asked: list[Asked]) -> list[Any]:
        found, left = admit_beside(db, asked, ceilings=self._ceilings_beside)
        self._slices.see(left)
        return list(found)

    def _settle_together(self, db: Any, settlements: list[Settlement]) -> list[Any]:
        settled = super()._settle_together(db, settlements)
        self._tend_slices(db)
        return settled

    def _tend_slices(self, db: Any) -> None:
        if self._beside is not None and self._slices.need_tending(now_ms := self._clock_ms()):
            self._slices.tend(db, self.owner_id, now_ms)

    async def _sweep(self) -> None:
        await super()._sweep()
        if self._beside is not None:  # Where nobody calls any more, no other batch gives slices back.
            await self._store.write(self._tend_slices, is_settlement=True)


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
    slice_above_per_s: int = 0,
) -> AsyncIterator[StoreLedger]:
    """Connect, make or bring up to date what is there, and hold a lease while the block runs. Raises NotALedger.

    known: the schema that it is brought up to, if not this code's own. slice_above_per_s: calls a second of this
    replica from which on it keeps a slice of a ceiling; 0: never.
    """
    async with AsyncExitStack() as stack:
        store = PostgresWriter(address, known=known, tell=tell)
        await stack.enter_async_context(run_writer(store))
        readers = await stack.enter_async_context(open_readers(address))
        await stack.enter_async_context(months_kept(store, clock_ms))
        ledger = PostgresLedger(
            store,
            readers,
            new_owner,
            clock_ms=clock_ms,
            bounds=bounds,
            events_kept_ms=events_kept_ms,
            lease=lease,
            bodies=bodies,
        )
        if slice_above_per_s:
            beside = BesideWriter(address, known=known, tell=tell)
            await stack.enter_async_context(run_writer(beside))
            ledger.keep_slices(beside, above_per_s=slice_above_per_s)
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
