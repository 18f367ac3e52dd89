"""What the HTTP edge needs from the rest of the house, in one frozen value that `service/app.py` is handed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from ledger.events import EventsQuery
from ledger.latest import MOST_LATEST, CallSummary
from ledger.reports import GenerationsQuery, LatencyQuery, SpendQuery
from router.again import HitsAgain
from router.deployments import Deployment, Route
from router.estimating import Estimates
from router.reply import Gateway
from router.token_counts import TokenCounts
from service.auth.keyring import Keyring
from service.live.board import LiveBoard
from telemetry.facts import RequestFacts
from telemetry.metrics import Recorder


class Reports(Protocol):
    """What the ledger tells readers. The dicts are the JSON objects of CONTRACT §5; all raise LedgerError."""

    async def spend(self, query: SpendQuery) -> dict[str, Any]:
        """The spend report."""

    async def latency(self, query: LatencyQuery) -> dict[str, Any]:
        """The latency report."""

    async def generation(self, generation_id: str) -> dict[str, Any] | None:
        """One call's whole story. None: no such generation."""

    async def generations(self, query: GenerationsQuery) -> dict[str, Any]:
        """A page of calls, newest first. Raises UnknownPage."""

    async def latest_calls(self, *, also: Sequence[str] = (), most: int = MOST_LATEST) -> list[CallSummary]:
        """The newest calls of all processes, the open ones and those named, oldest first."""

    async def ceilings(self, top: int = 0) -> list[dict[str, Any]]:
        """Limit, spent, held, room and window end of every ceiling in force. top: of so many, the fullest first."""

    async def events(self, query: EventsQuery) -> dict[str, Any]:
        """A page of events with their deliveries, newest first. Raises UnknownPage."""


class Alerts(Protocol):
    """What people are told of."""

    async def acknowledge(self, event_id: str, by: str) -> bool:
        """Note that somebody has seen to an event. False: there is no such event. Raises LedgerError."""


class RouterStatus(Protocol):
    """What the router knows about its deployments."""

    def status(self) -> dict[str, Any]:
        """The object of `GET /router/status`, CONTRACT §7."""

    def hints(self, provider: str = "") -> dict[str, Any]:
        """The object of `GET /router/hints`."""

    async def give_order(
        self, deployment_id: str, action: str, *, now_ms: int, endpoint: str = "", reason: str = ""
    ) -> dict[str, Any]:
        """Block, allow, prefer or forget by hand. Raises UnknownModel, WrongOrder, LedgerError."""


class Catalog(Protocol):
    """The public model names."""

    def resolve(self, model: str | None) -> Route:
        """The route of this name, or of one `provider:model`. Raises UnknownModel."""

    @property
    def routes(self) -> Sequence[Route]:
        """All configured routes, in order."""

    @property
    def models(self) -> Sequence[Deployment]:
        """The deployments that the config says more of, on a route or not."""


class Telemetry(Protocol):
    """Where finished requests are told."""

    @property
    def exports(self) -> bool:
        """Whether anybody listens."""

    def samples(self, parent: Any, trace_id: str) -> bool:
        """Whether this trace is recorded. parent: telemetry's ParentContext, or None."""

    def record(self, facts: RequestFacts) -> None:
        """Take the facts of one finished request. Never blocks, never raises."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one process takes on. body_timeout_s: for the whole body to arrive; keep_alive_s: silence on a stream.

    reader_timeout_s: for a caller to take some of a stream that it does not read. live_check_s: how often the key of
    somebody who watches calls is looked at again.
    """

    max_body_bytes: int = 33_554_432
    max_in_flight: int = 2000
    deadline_ms: int = 600_000
    body_timeout_s: float = 60.0
    keep_alive_s: float = 15.0
    reader_timeout_s: float = 30.0
    live_check_s: float = 5.0


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether new work is welcome. reason: why not, for people."""

    ready: bool
    draining: bool = False
    reason: str = ""


async def _no_metrics() -> bytes:
    return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything behind the edge. host: the name this service was told to listen on; now_ms: wall time, UTC.

    metrics: all of them, as Prometheus reads them; recorder: counts requests for them. public_url: where people find
    this service, without a slash at its end. live: what those who watch calls are told. trace_url: where a trace can be
    looked at, TRACE_ID in the place of its id; empty: nowhere. hits: serves again what was a hit before; None: nobody
    does.
    """

    gateway: Gateway
    estimates: Estimates
    counts: TokenCounts
    reports: Reports
    alerts: Alerts
    router: RouterStatus
    catalog: Catalog
    keyring: Keyring
    telemetry: Telemetry
    limits: Limits
    readiness: Callable[[], Readiness]
    is_draining: Callable[[], bool]
    now_ms: Callable[[], int]
    hits: HitsAgain | None = None
    live: LiveBoard = field(default_factory=LiveBoard)
    reload: Callable[[], Awaitable[None]] | None = None
    metrics: Callable[[], Awaitable[bytes]] = _no_metrics
    recorder: Recorder = field(default_factory=Recorder)
    trace_url: str = ""
    host: str = "127.0.0.1"
    port: int = 4000
    public_url: str = ""
