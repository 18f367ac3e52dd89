"""Events that people want to be told of, and their deliveries, engine apart: an outbox.

An event is written by the transaction that makes it so, once for its dedup_key; who delivers takes what is due under a
lease and says how each try went. What was sent and not yet recorded is sent again, under the same id.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from ledger.ceilings import DAY_MS

EventType = Literal[
    "ceiling.threshold",
    "ceiling.exceeded",
    "ceiling.forecast",
    "spend.anomaly",
    "model.unpriced",
    "provider.key_refused",
    "provider.out_of_credit",
    "breaker.open_long",
    "ledger.drift",
    "posting.overrun",
    "disk.low",
    "digest",
]
DeliveryState = Literal["pending", "delivered", "dead"]
EVENT_TYPES: Final[tuple[EventType, ...]] = EventType.__args__  # type: ignore[attr-defined]
DIGEST: Final = "digest"
EVENTS_KEPT_MS: Final = 90 * DAY_MS
# What may become of a delivery. The schema refuses everything else.
DELIVERY_MOVES: Final[frozenset[tuple[DeliveryState, DeliveryState]]] = frozenset(
    {
        ("pending", "pending"),  # Tried in vain, and tried again later.
        ("pending", "delivered"),
        ("pending", "dead"),
        ("dead", "pending"),  # By hand.
    }
)


class EventRaised(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. dedup_key: what makes it the same event; it is told once, whoever tells it how often.

    facts: plain JSON; amounts of money as reports have them. Neither prompts nor secrets are ever among them.
    """

    type: EventType
    dedup_key: str
    at_ms: int
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        """What receivers know it by: the same wherever and however often it is raised."""
        return "evt_" + hashlib.sha256(self.dedup_key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event on record. seq: its place among all. acknowledged_by: who said that it is seen to; None: nobody."""

    seq: int
    id: str
    type: EventType
    at_ms: int
    facts: dict[str, Any]
    acknowledged_at_ms: int | None = None
    acknowledged_by: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is due at a target. tries: how many there were before this one."""

    event: Event
    target: str
    tries: int


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """How one try to deliver went. state pending: it is tried again at next_at_ms, which only then is set.

    status: of the answer; None: there was none. error: in plain words, without the target's address.
    """

    event_id: str
    target: str
    at_ms: int
    state: DeliveryState
    next_at_ms: int | None = None
    status: int | None = None
    error: str | None = None


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Events, newest first. types: those alone; empty: all. state: those with a delivery that stands so.

    acknowledged None: whether or not. before: the `next` of the page before this one. None: from the newest on.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    types: tuple[str, ...] = ()
    state: DeliveryState | None = None
    acknowledged: bool | None = None
    limit: int = 100
    before: str | None = None


def types_matching(patterns: Iterable[str]) -> tuple[EventType, ...]:
    """The types that these name. A pattern is a type, or how some begin and then a `*`. A digest is nobody's wish."""
    wanted = tuple(patterns)
    return tuple(name for name in EVENT_TYPES if name != DIGEST and any(_matches(name, each) for each in wanted))


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
