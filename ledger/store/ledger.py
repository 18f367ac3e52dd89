"""The ledger's operations, each one transaction of the writer or one read."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from ledger.apikeys import ApiKey, KeptKey
from ledger.bodies import Bodies, set_aside
from ledger.ceilings import Ceiling
from ledger.database import Database, Readings
from ledger.errors import LedgerUnavailable
from ledger.events import EVENTS_KEPT_MS
from ledger.figures import LedgerFigures
from ledger.loops import running
from ledger.operations.admissions import Asked, admit_together
from ledger.operations.admit import SQL as ADMIT
from ledger.operations.admit import count_refusal, hold_next, lead_of, look_ahead
from ledger.operations.apikeys import create_key, find_key, revoke_key
from ledger.operations.ceilings import CeilingsInForce, add_ceilings, configure_ceilings
from ledger.operations.events import forget_events
from ledger.operations.failed_flights import find_failure, forget_failures
from ledger.operations.generations import record_follower
from ledger.operations.hits import hit_again
from ledger.operations.idempotency import FORGOTTEN_PER_SWEEP, forget_expired, keep
from ledger.operations.memory import change_memory, memory_since
from ledger.operations.owners import LAPSES_PER_SWEEP, LeaseRule, Owner, sweep
from ledger.operations.prices import record_prices
from ledger.operations.responses import drop_expired
from ledger.operations.settle import close_attempt
from ledger.operations.settlements import settle_together
from ledger.prices import Price
from ledger.store.lease import Lease
from ledger.store.looks import Looks, read_figures
from ledger.store.outbox import StoreOutbox
from ledger.store.pairs import PairSums
from ledger.store.works import Shared
from ledger.store.writer import Writer
from ledger.values import (
    Admission,
    AdmitRequest,
    Bid,
    CacheBounds,
    Ending,
    GenerationFacts,
    HitAgain,
    Keeping,
    Lead,
    NextAttempt,
    Prospect,
    Refused,
    Settlement,
    StoredElsewhere,
)

log = logging.getLogger(__name__)


class StoreLedger(StoreOutbox):
    """See `ledger.ledger.Ledger`, which it implements. Each engine opens it on its own writer and readers.

    new_owner: makes an owner that was never before, for each lease. bodies: where those of stored responses are kept.
    """

    def __init__(
        self,
        store: Writer,
        readers: Readings,
        new_owner: Callable[[], Owner],
        *,
        clock_ms: Callable[[], int],
        bounds: CacheBounds,
        events_kept_ms: int = EVENTS_KEPT_MS,
        lease: LeaseRule | None = None,
        bodies: Bodies | None = None,
    ):
        super().__init__(store, readers, clock_ms=clock_ms)
        self.lease = Lease(store, new_owner, lease or LeaseRule(), clock_ms=clock_ms)
        self._bounds = bounds
        self._bodies = bodies
        self._events_kept_ms = events_kept_ms
        self._ceilings = CeilingsInForce()
        self._recorded: set[tuple[str, str]] = set()

    @property
    def owner_id(self) -> str:
        return self.lease.owner.owner_id

    @property
    def is_ready(self) -> bool:
        return self._store.is_ready

    @property
    def queue_age_s(self) -> float:
        return self._store.queue_age_s

    def ceilings_of(self, deployment: str, attribution: dict[str, str]) -> tuple[Ceiling, ...]:
        return self._ceilings.table.for_attempt(deployment, attribution)

    async def count_refusal(self, route: str, refused: Refused, *, now_ms: int) -> None:
        await self._store.write(partial(count_refusal, route=route, refused=refused, now_ms=now_ms))

    async def admit(self, request: AdmitRequest) -> Admission:
        await self._record_new_prices(request.bids)
        return await self.lease.write_as_owner(lambda owner_id: Shared(self._admit_together, Asked(request, owner_id)))

    def _admit_together(self, db: Any, asked: list[Asked]) -> list[Any]:
        return list(admit_together(db, asked, ceilings=self._ceilings.now(db)))

    async def find_body(self, stored: StoredElsewhere) -> bytes | None:
        return None if self._bodies is None else await self._bodies.find(stored)

    def hit_again(self, again: HitAgain) -> Coroutine[Any, Any, bool]:
        # No lease: nothing is held.
        return self._store.write(Shared(hit_again, again))

    async def look_ahead(self, request: AdmitRequest) -> Prospect:
        # Read anew each time: the table in force is the writer's thread's own.
        return await self._readers.read(
            lambda db: look_ahead(db, request, ceilings=CeilingsInForce().now(db)),
        )

    async def lead_of(self, request: AdmitRequest) -> Lead | None:
        # Behind the earlier try, should that still be waiting for its turn: calls are admitted after whatever else is
        # in their batch, so this one is over first.
        await self._store.write(_nothing)
        return await self._store.write(partial(self._lead_of, request=request))

    def _lead_of(self, db: Database, request: AdmitRequest) -> Lead | None:
        return lead_of(db, request)

    async def hold_next(self, request: NextAttempt) -> Lead | Refused:
        await self._record_new_prices(request.bids)

        def work(db: Database, owner_id: str) -> Lead | Refused:
            for result in request.closed:
                close_attempt(db, result, now_ms=request.now_ms)
            return hold_next(db, request, owner_id=owner_id, ceilings=self._ceilings.now(db))

        return await self.lease.write(work, is_settlement=True)

    async def settle(self, settlement: Settlement) -> None:
        if self._bodies is not None:
            settlement = await set_aside(settlement, self._bodies, self._bounds, now_ms=self._clock_ms())
        await self._store.write(Shared(self._settle_together, settlement, goes_first=True), is_settlement=True)

    def _settle_together(self, db: Any, settlements: list[Settlement]) -> list[Any]:
        return list(settle_together(db, settlements, bounds=self._bounds))

    async def record_follower(
        self, facts: GenerationFacts, ending: Ending, *, leader_id: str, keeping: Keeping | None = None
    ) -> None:
        work = partial(record_follower, facts=facts, ending=ending, leader_id=leader_id, keeping=keeping)
        await self._store.write(work, is_settlement=True)

    async def keep(self, keeping: Keeping) -> None:
        await self._store.write(partial(keep, keeping=keeping), is_settlement=True)

    async def flight_is_over(self, cache_key: bytes, leader_id: str) -> bool:
        place = {"cache_key": cache_key, "now_ms": self._clock_ms()}
        row = await self._readers.read(lambda db: db.execute(ADMIT["find_flight"], place).fetchone())
        return row is None or row[0] != leader_id

    async def failure_of(self, leader_id: str) -> bytes | None:
        return await self._readers.read(partial(find_failure, leader_id=leader_id, now_ms=self._clock_ms()))

    async def configure_ceilings(self, ceilings: tuple[Ceiling, ...]) -> None:
        now_ms = self._clock_ms()

        def work(db: Database) -> None:
            configure_ceilings(db, ceilings, now_ms=now_ms)
            self._ceilings.now(db)

        await self._store.write(work, is_settlement=True)

    async def create_api_key(self, kept: KeptKey) -> None:
        def work(db: Database) -> None:
            if create_key(db, kept):
                add_ceilings(db, kept.key.ceilings, now_ms=kept.key.created_at_ms)

        await self._store.write(work)

    async def find_api_key(self, key_id: str) -> KeptKey | None:
        kept = await self._readers.read(partial(find_key, key_id=key_id))
        if kept is not None and kept.key.ceilings and not self._ceilings.table.names(kept.key.scope):
            # Another process made it a moment ago: calls are planned by the ceilings as they were last seen here.
            await self._store.write(self._see_ceilings, is_settlement=True)
        return kept

    def _see_ceilings(self, db: Database) -> None:
        self._ceilings.now(db)

    async def revoke_api_key(self, key_id: str) -> ApiKey | None:
        return await self._store.write(partial(revoke_key, key_id=key_id, now_ms=self._clock_ms()))

    async def record_prices(self, prices: Mapping[str, Price]) -> None:
        await self._store.write(partial(record_prices, prices=prices), is_settlement=True)
        self._recorded.update((deployment, price.version) for deployment, price in prices.items())

    async def change_memory(self, subject: str, change: Callable[[str | None], str | None]) -> None:
        await self._store.write(partial(change_memory, subject=subject, change=change))

    async def memory_since(self, version: int) -> tuple[int, dict[str, str]]:
        return await self._readers.read(partial(memory_since, version=version))

    async def figures(self) -> LedgerFigures:
        work = partial(
            read_figures,
            owner_id=self.owner_id,
            now_ms=self._clock_ms(),
            queue_depth=self._store.queue_depth,
            wal_bytes=self._store.wal_bytes(),
        )
        return await self._readers.read(work)

    def looks(self, *, every_s: float) -> Looks:
        """The audit that goes on beside it."""
        return Looks(
            self._store, self._readers, clock_ms=self._clock_ms, owner_id=lambda: self.owner_id, every_s=every_s
        )

    def pair_sums(self) -> PairSums:
        """What adds up, beside it, what users and workflows spent together."""
        return PairSums(self._store, clock_ms=self._clock_ms)

    async def keep_lease(self) -> None:
        """Renew this process's lease and close the holds of the dead, until cancelled."""
        loop, rule = asyncio.get_running_loop(), self.lease.rule
        renew_at_s = loop.time() + rule.renew_s
        while True:
            await asyncio.sleep(rule.sweep_s)
            try:
                if loop.time() >= renew_at_s:
                    renew_at_s = loop.time() + rule.renew_s
                    await self.lease.renew()
                await self._sweep()
            except LedgerUnavailable:
                log.warning("the lease could not be renewed: the ledger takes no writes")
            except Exception:
                log.exception("the lease was not looked after; it is tried again")

    async def _record_new_prices(self, bids: tuple[Bid, ...]) -> None:
        """Prices go on record before the first hold that names them."""
        unrecorded = {
            bid.deployment: bid.price
            for bid in bids
            if bid.price is not None and (bid.deployment, bid.price_version) not in self._recorded
        }
        if unrecorded:
            await self.record_prices(unrecorded)

    async def _sweep(self) -> None:
        await self._store.write(self._drop_old, is_settlement=True)
        forgotten = FORGOTTEN_PER_SWEEP
        while forgotten >= FORGOTTEN_PER_SWEEP:
            forgotten = await self._store.write(partial(forget_expired, now_ms=self._clock_ms()), is_settlement=True)
        lapsed = LAPSES_PER_SWEEP
        while lapsed >= LAPSES_PER_SWEEP:
            lapsed = await self._store.write(partial(sweep, now_ms=self._clock_ms()), is_settlement=True)
            if lapsed:
                log.warning("%d holds of dead processes lapsed: their whole amount is charged, basis unknown", lapsed)

    def _drop_old(self, db: Database) -> None:
        now_ms = self._clock_ms()
        forget_failures(db, now_ms=now_ms)
        drop_expired(db, now_ms=now_ms)
        forget_events(db, before_ms=now_ms - self._events_kept_ms)


def _nothing(_: Database) -> None:
    """Shares a commit, and no more."""


@asynccontextmanager
async def under_lease(ledger: StoreLedger, *, verify_every_s: float | None) -> AsyncIterator[None]:
    """Hold a lease while the block runs, then give it back. verify_every_s None: no looks."""
    async with AsyncExitStack() as stack:
        await ledger.lease.join()
        stack.push_async_callback(ledger.lease.leave)
        await stack.enter_async_context(running(ledger.keep_lease(), name="ledger lease"))
        await stack.enter_async_context(running(ledger.pair_sums().run(), name="ledger pair sums"))
        if verify_every_s is not None:
            looks = ledger.looks(every_s=verify_every_s)
            await stack.enter_async_context(running(looks.run(), name="ledger audit"))
        yield
