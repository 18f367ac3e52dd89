"""The ledger's face: what every engine offers, and `open_ledger`, which opens one."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol, TypedDict

from ledger.apikeys import ApiKey, KeptKey
from ledger.bodies import Bodies
from ledger.ceilings import Ceiling
from ledger.events import EVENTS_KEPT_MS
from ledger.faces import LedgerReports, Outbox, Rates
from ledger.figures import Batch, LedgerFigures
from ledger.prices import Price
from ledger.url import is_on_server, path_of, server_of
from ledger.values import (
    Admission,
    AdmitRequest,
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


class Ledger(LedgerReports, Outbox, Rates, Protocol):
    """Money and memory. Every method is one transaction; those that write return once it is durable.

    Writes raise LedgerUnavailable; with `unknown` set, the same call may be repeated as it was.
    """

    @property
    def owner_id(self) -> str:
        """Under which lease this process holds money."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes writes now."""

    @property
    def queue_age_s(self) -> float:
        """How long the oldest of this process's writes that wait has waited; 0: none does."""

    def ceilings_of(self, deployment: str, attribution: dict[str, str]) -> tuple[Ceiling, ...]:
        """The ceilings that count what these callers spend at `provider:model`."""

    async def count_refusal(self, route: str, refused: Refused, *, now_ms: int) -> None:
        """Count a call that waited, or was to be made smaller, and was refused after all."""

    async def admit(self, request: AdmitRequest) -> Admission:
        """An answer, the place of one, a flight to join, a hold to start with, or why not. DESIGN §3 step 3.

        Raises ApiKeyOver, IdempotencyMismatch and IdempotencyInProgress; none of them writes. A call that follows under
        an Idempotency-Key says by `record_follower` or `keep` how that ended, whatever becomes of it.
        """

    async def find_body(self, stored: StoredElsewhere) -> bytes | None:
        """The body of a stored response that admission found. None: it is not to be had, or not in time."""

    async def hit_again(self, again: HitAgain) -> bool:
        """Put a hit on record without its answer being read, if `admit` would answer with this very one now.

        False: ask `admit`, for nothing was written; an engine may always say so. Raises ApiKeyOver, and writes nothing.
        """

    async def look_ahead(self, request: AdmitRequest) -> Prospect:
        """What `admit` would do with this request now. Reads only; the request's Idempotency-Key plays no part."""

    async def lead_of(self, request: AdmitRequest) -> Lead | None:
        """The lead that an earlier try of this request took. None: it took none, and never will."""

    async def hold_next(self, request: NextAttempt) -> Lead | Refused:
        """Close failed attempts and take a hold for a further one. Refused: they are closed all the same."""

    async def settle(self, settlement: Settlement) -> None:
        """Close attempts, end their generation, store its answer. Raises UsageDiffers on a repeat with others."""

    async def record_follower(
        self, facts: GenerationFacts, ending: Ending, *, leader_id: str, keeping: Keeping | None = None
    ) -> None:
        """Put on record a call that another one's flight answered, with what it leaves under its key."""

    async def keep(self, keeping: Keeping) -> None:
        """Say what a call that has no settlement leaves under its key. Repeating it changes nothing."""

    async def flight_is_over(self, cache_key: bytes, leader_id: str) -> bool:
        """Whether the flight that this generation led has ended, or its process has died."""

    async def failure_of(self, leader_id: str) -> bytes | None:
        """What the flight that this generation led left for who waited elsewhere. None: it did not fail just now."""

    async def record_prices(self, prices: Mapping[str, Price]) -> None:
        """Keep {deployment: its price} under the price's version. Admission does it for prices it has not seen."""

    async def change_memory(self, subject: str, change: Callable[[str | None], str | None]) -> None:
        """Put what `change` makes of what all processes remember of a subject (None: nothing) in its place.

        It is called within the transaction, on a thread of the ledger's own; should that begin anew, so is it, and the
        last call counts. It may leave nothing where there is nothing; what is there it replaces.
        """

    async def memory_since(self, version: int) -> tuple[int, dict[str, str]]:
        """(the newest version, {subject: what is remembered}) of what changed after this version; 0: of everything."""

    async def figures(self) -> LedgerFigures:
        """How the ledger is doing, for metrics."""

    async def configure_ceilings(self, ceilings: tuple[Ceiling, ...]) -> None:
        """Put these ceilings in force, those of API keys beside them, and no others, keeping what was counted."""

    async def create_api_key(self, kept: KeptKey) -> None:
        """Put an API key on record and its ceilings in force. Repeating it changes nothing. Raises PepperDiffers."""

    async def find_api_key(self, key_id: str) -> KeptKey | None:
        """The API key of this id as of now, also one that is over. None: there never was one."""

    async def revoke_api_key(self, key_id: str) -> ApiKey | None:
        """Revoke an API key: once this returns, no process admits a call with it. Repeating it changes nothing.

        Returns the key. None: there never was one.
        """


def wall_ms() -> int:
    """Wall time in milliseconds UTC."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_ledger(
    url: str,
    *,
    clock_ms: Callable[[], int] = wall_ms,
    synchronous: Literal["full", "normal"] = "full",
    cache_bounds: CacheBounds | None = None,
    verify_every_s: float | None = None,
    events_kept_ms: int = EVENTS_KEPT_MS,
    tell: Callable[[Batch], None] | None = None,
    bodies: Bodies | None = None,
    slice_above_per_s: int = 0,
) -> AsyncIterator[Ledger]:
    """Open `sqlite:PATH` or `postgresql://…`, made if it is missing, and hold a lease on it while the block runs.

    It is one more process on it: a service that runs on it goes on undisturbed. Who only reads takes
    `open_reports`, which needs no lease. clock_ms: wall time in milliseconds UTC. verify_every_s: how often one of the
    processes on it looks whether its new lines add up; None: this one never. events_kept_ms: how long events are
    remembered that are over. tell: hears of each commit. bodies: where those of stored responses are kept; None: in the
    ledger. slice_above_per_s: on a server, calls a second of this process from which on it keeps a slice of a ceiling;
    0: never. Raises NotALedger for what cannot serve as one.
    """
    shared = _Shared(
        clock_ms=clock_ms,
        bounds=cache_bounds or CacheBounds(),
        verify_every_s=verify_every_s,
        events_kept_ms=events_kept_ms,
        tell=tell,
        bodies=bodies,
    )
    async with _ledger_at(url, shared, synchronous=synchronous, slice_above_per_s=slice_above_per_s) as ledger:
        yield ledger


class _Shared(TypedDict):
    """What both engines are told, as `open_ledger` is."""

    clock_ms: Callable[[], int]
    bounds: CacheBounds
    verify_every_s: float | None
    events_kept_ms: int
    tell: Callable[[Batch], None] | None
    bodies: Bodies | None


def _ledger_at(
    url: str, shared: _Shared, *, synchronous: Literal["full", "normal"], slice_above_per_s: int
) -> AbstractAsyncContextManager[Ledger]:
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.ledger import open_postgres_ledger

        return open_postgres_ledger(address, slice_above_per_s=slice_above_per_s, **shared)
    from ledger.sqlite.ledger import open_sqlite_ledger

    path = path_of(url)
    if slice_above_per_s:
        log.warning("slice_above_per_s changes nothing on a file: only replicas on a server keep slices of ceilings")
    return open_sqlite_ledger(path, synchronous=synchronous, **shared)


@asynccontextmanager
async def open_reports(url: str, *, clock_ms: Callable[[], int] = wall_ms) -> AsyncIterator[LedgerReports]:
    """Read a ledger that is there, with or without a service writing to it. Takes no lease, writes nothing.

    Raises NotALedger.
    """
    opened: AbstractAsyncContextManager[LedgerReports]
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.ledger import open_postgres_reports

        opened = open_postgres_reports(address, clock_ms=clock_ms)
    else:
        from ledger.sqlite.ledger import open_sqlite_reports

        opened = open_sqlite_reports(path_of(url), clock_ms=clock_ms)
    async with opened as reports:
        yield reports


def check_ledger(url: str) -> None:
    """Raise NotALedger, which says what to do, if a ledger cannot be kept there. Changes nothing."""
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.ledger import check_address

        check_address(address, now_ms=wall_ms())
        return
    from ledger.sqlite.files import check_file

    check_file(path_of(url))
