"""What readers are told: each reading on a read-only connection, with or without a writer beside it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from ledger.apikeys import ApiKey
from ledger.ceilings import CeilingStatus
from ledger.database import Readings, Snapshot
from ledger.events import EventsQuery
from ledger.latest import MOST_LATEST, CallSummary
from ledger.operations.apikeys import all_keys
from ledger.operations.ceilings import ceiling_report, ceiling_statuses
from ledger.operations.events import events_report
from ledger.operations.generation_report import generation_report, generations_report
from ledger.operations.latency_report import latency_report
from ledger.operations.latest import latest_calls
from ledger.operations.rates import spend_by_key_hour, spend_by_scope
from ledger.operations.spend_report import spend_report
from ledger.reports import GenerationsQuery, LatencyQuery, SpendQuery


class StoreReports:
    """See `ledger.faces.LedgerReports`, which it implements."""

    def __init__(self, readers: Readings, clock_ms: Callable[[], int]) -> None:
        self._readers = readers
        self._clock_ms = clock_ms

    def transaction(self) -> AbstractAsyncContextManager[Snapshot]:
        return self._readers.snapshot()

    async def spend(self, query: SpendQuery) -> dict[str, Any]:
        return await self._readers.read(partial(spend_report, query=query))

    async def latency(self, query: LatencyQuery) -> dict[str, Any]:
        return await self._readers.read(partial(latency_report, query=query))

    async def generation(self, generation_id: str) -> dict[str, Any] | None:
        return await self._readers.read(partial(generation_report, generation_id=generation_id))

    async def generations(self, query: GenerationsQuery) -> dict[str, Any]:
        return await self._readers.read(partial(generations_report, query=query))

    async def latest_calls(self, *, also: Sequence[str] = (), most: int = MOST_LATEST) -> list[CallSummary]:
        return await self._readers.read(partial(latest_calls, also=also, most=most))

    async def ceilings(self, top: int = 0) -> list[dict[str, Any]]:
        return await self._readers.read(partial(ceiling_report, now_ms=self._clock_ms(), top=top))

    async def api_keys(self) -> list[ApiKey]:
        return await self._readers.read(all_keys)

    async def ceiling_statuses(self) -> list[CeilingStatus]:
        return await self._readers.read(partial(ceiling_statuses, now_ms=self._clock_ms()))

    async def spend_by_key_hour(self, *, since_ms: int, until_ms: int) -> dict[str, dict[int, int]]:
        return await self._readers.read(partial(spend_by_key_hour, since_ms=since_ms, until_ms=until_ms))

    async def spend_by_scope(self, *, since_ms: int, until_ms: int) -> Mapping[str, int]:
        return await self._readers.read(partial(spend_by_scope, since_ms=since_ms, until_ms=until_ms))

    async def free_bytes(self) -> int | None:
        return await self._readers.free_bytes()

    async def events(self, query: EventsQuery) -> dict[str, Any]:
        return await self._readers.read(partial(events_report, query=query))
