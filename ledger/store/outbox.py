"""The outbox's operations, each one transaction of the writer."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ledger.database import Readings
from ledger.events import Delivery, EventRaised, Try
from ledger.operations.deliveries import (
    due_deliveries,
    fold_deliveries,
    is_anything_due,
    record_tries,
    retry_delivery,
    take_duty,
    who_has_duty,
)
from ledger.operations.events import acknowledge, raise_event
from ledger.store.reports import StoreReports
from ledger.store.writer import Writer


class StoreOutbox(StoreReports):
    """See `ledger.faces.Outbox`, which it implements for the process that holds the lease of `owner_id`."""

    def __init__(self, store: Writer, readers: Readings, *, clock_ms: Callable[[], int]) -> None:
        super().__init__(readers, clock_ms)
        self._store = store

    @property
    def owner_id(self) -> str:
        """Under which lease this process works."""
        raise NotImplementedError

    async def raise_event(self, raised: EventRaised) -> bool:
        return await self._store.write(partial(raise_event, raised=raised))

    async def acknowledge(self, event_id: str, by: str) -> bool:
        return await self._store.write(partial(acknowledge, event_id=event_id, by=by, now_ms=self._clock_ms()))

    async def due_deliveries(self, targets: Mapping[str, Sequence[str]], now_ms: int, limit: int) -> list[Delivery]:
        owner_id = self.owner_id
        look = partial(is_anything_due, targets=targets, owner_id=owner_id, now_ms=now_ms)
        if not await self._readers.read(look):
            return []
        work = partial(due_deliveries, targets=targets, owner_id=owner_id, now_ms=now_ms, limit=limit)
        return await self._store.write(work)

    async def record_tries(self, tries: Sequence[Try]) -> None:
        await self._store.write(partial(record_tries, tries=tries), is_settlement=True)

    async def fold_deliveries(self, target: str, event_ids: Sequence[str], digest: EventRaised) -> None:
        work = partial(fold_deliveries, target=target, event_ids=event_ids, digest=digest, now_ms=self._clock_ms())
        await self._store.write(work)

    async def retry_delivery(self, event_id: str, target: str | None = None) -> list[str]:
        return await self._store.write(
            partial(retry_delivery, event_id=event_id, target=target, now_ms=self._clock_ms())
        )

    async def take_duty(self, duty: str) -> bool:
        owner_id, now_ms = self.owner_id, self._clock_ms()
        holder = await self._readers.read(partial(who_has_duty, duty=duty, now_ms=now_ms))
        if holder is not None:
            return holder == owner_id
        return await self._store.write(partial(take_duty, duty=duty, owner_id=owner_id, now_ms=now_ms))
