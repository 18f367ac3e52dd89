"""What every engine offers to those who want a part of a ledger: to read, to be told, to watch. The whole: `Ledger`."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ledger.apikeys import ApiKey
from ledger.ceilings import CeilingStatus
from ledger.events import Delivery, EventRaised, EventsQuery, Try
from ledger.latest import MOST_LATEST, CallSummary
from ledger.reports import GenerationsQuery, Latency, LatencyQuery, Spend, SpendQuery


class Transaction(Protocol):
    """One moment of the ledger. Raises LedgerUnavailable when a reading takes too long, or after ten seconds."""

    async def get_all_spend(self, *, since_ms: int | None = None, until_ms: int | None = None) -> dict[str, Spend]:
        """{`provider:model`: what was spent on it}, as the spend report by model has it. Moments in ms UTC."""

    async def get_all_latency(self, *, since_ms: int | None = None, until_ms: int | None = None) -> dict[str, Latency]:
        """{`provider:model`: how long it took}, as the latency report by model has it. Moments in ms UTC."""


class LedgerReports(Protocol):
    """What a ledger tells readers. Raises LedgerUnavailable when a reading takes too long."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A snapshot: all that is read within is of the moment at which it began, whatever is written meanwhile."""

    async def spend(self, query: SpendQuery) -> dict[str, Any]:
        """The spend report of CONTRACT §5."""

    async def latency(self, query: LatencyQuery) -> dict[str, Any]:
        """The latency report of CONTRACT §5."""

    async def generation(self, generation_id: str) -> dict[str, Any] | None:
        """One call's whole story: every attempt, hold and posting. None: no such generation."""

    async def generations(self, query: GenerationsQuery) -> dict[str, Any]:
        """A page of calls, newest first: {"generations": […], "next": where it goes on}. Raises UnknownPage."""

    async def latest_calls(self, *, also: Sequence[str] = (), most: int = MOST_LATEST) -> list[CallSummary]:
        """The calls that began last, the open ones, and those whose attempts began last: at most so many of each.

        also: ids of further ones. Oldest first.
        """

    async def ceilings(self, top: int = 0) -> list[dict[str, Any]]:
        """Limit, spent, held, room and window end of every ceiling in force. top: of so many, the fullest first."""

    async def api_keys(self) -> list[ApiKey]:
        """Every API key there ever was, the oldest first."""

    async def events(self, query: EventsQuery) -> dict[str, Any]:
        """A page of events with their deliveries, newest first: {"alerts": […], "next": …}. Raises UnknownPage."""


class Outbox(Protocol):
    """What people want to be told of, and how far it has got. Raises LedgerUnavailable, as a Ledger does."""

    async def raise_event(self, raised: EventRaised) -> bool:
        """Put an event on record. False: it was told before, and nothing is changed."""

    async def acknowledge(self, event_id: str, by: str) -> bool:
        """Note that somebody has seen to an event; who said so first stays. False: there is no such event."""

    async def due_deliveries(self, targets: Mapping[str, Sequence[str]], now_ms: int, limit: int) -> list[Delivery]:
        """What this process is to deliver now, at most `limit` for each target, the oldest first. Asking is cheap.

        targets: {name: patterns of event types}. A target gets what happens after its first sight here; what happens
        while it is not among the targets waits for it. Empty also while another process on the ledger delivers: the
        right to passes on once that process's lease is over.
        """

    async def record_tries(self, tries: Sequence[Try]) -> None:
        """Say how tries went. One whose delivery has ended changes nothing."""

    async def fold_deliveries(self, target: str, event_ids: Sequence[str], digest: EventRaised) -> None:
        """Have a digest, due at once, delivered to this target in the place of these events. Repeats change nothing.

        They count as delivered by way of it. digest: of the type `digest`, which is delivered to no other target.
        """

    async def retry_delivery(self, event_id: str, target: str | None = None) -> list[str]:
        """Begin again where an event's delivery is dead, by hand. target None: everywhere. Returns the targets."""

    async def take_duty(self, duty: str) -> bool:
        """Whether it is this process that does what one process does for all on the ledger. It is asked each time."""


class Rates(Protocol):
    """What is looked at every now and then to see where spending goes. Raises LedgerUnavailable."""

    async def ceiling_statuses(self) -> list[CeilingStatus]:
        """Every ceiling in force in its current window; of a template, those of the names that were seen."""

    async def spend_by_key_hour(self, *, since_ms: int, until_ms: int) -> dict[str, dict[int, int]]:
        """{key: {hour: nano-dollars}} of the hours that begin within these moments, those without spend left out."""

    async def spend_by_scope(self, *, since_ms: int, until_ms: int) -> Mapping[str, int]:
        """{scope: nano-dollars} of the hours that begin within these moments; none for users, workflows and runs."""

    async def free_bytes(self) -> int | None:
        """How much room is left where the ledger is kept. None: that cannot be seen from here."""
