"""What may be asked of one moment of the ledger."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from ledger.database import Database
from ledger.operations.latency_report import latency_by
from ledger.operations.spend import spend_by
from ledger.reports import Latency, LatencyQuery, Spend, SpendQuery

Result = TypeVar("Result")
# A moment keeps the database from clearing up behind it, so it ends by itself.
SNAPSHOT_S: Final = 10.0


class Read(Protocol):
    """A reading of the moment. Raises LedgerUnavailable."""

    async def __call__(self, work: Callable[[Database], Result]) -> Result: ...


class StoreTransaction:
    """See `ledger.faces.Transaction`, which it implements. Made by an engine's `open_snapshot`."""

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
