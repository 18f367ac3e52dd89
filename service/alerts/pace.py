"""How many messages a target gets: never more than `burst` in any `digest_s`, however much happens. Pure.

What does not fit waits until the target has had nothing for digest_s; if more than `burst` wait by then, or are there
at once, they become one digest.
"""

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from hashlib import sha256
from typing import Any, Final

import msgspec

from ledger.events import DIGEST, Event, EventRaised
from ledger.reports import iso

# The events that a digest tells of in full.
SHOWN: Final = 10


class Next(Enum):
    """What to do with what is due at a target."""

    SEND = "send"
    FOLD = "fold"
    WAIT = "wait"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What a target is to be spared. sent_at_s: when it got its latest messages, oldest first; monotonic seconds."""

    burst: int
    digest_s: float
    sent_at_s: tuple[float, ...] = ()

    def after_a_message(self, now_s: float) -> "Pace":
        """The pace from now on."""
        return msgspec.structs.replace(self, sent_at_s=(*self._recent(now_s), now_s))

    def decide(self, due: int, now_s: float) -> Next:
        """SEND: each one by itself. FOLD: all into a digest, which then is due by itself. WAIT: look again later."""
        sent = len(self._recent(now_s))
        if due + sent <= self.burst:
            return Next.SEND
        return Next.WAIT if sent else Next.FOLD

    def _recent(self, now_s: float) -> tuple[float, ...]:
        return tuple(at_s for at_s in self.sent_at_s if now_s - at_s < self.digest_s)


def digest_of(events: Sequence[Event], target: str, now_ms: int) -> EventRaised:
    """One event in the place of these. The same ones make the same digest; one among them counts as what is in it."""
    counts: Counter[str] = Counter()
    first: list[dict[str, Any]] = []
    for event in events:
        if event.type == DIGEST:
            counts.update(event.facts["counts"])
            first += event.facts["first"]
        else:
            counts[event.type] += 1
            first.append({"id": event.id, "type": event.type, "at": iso(event.at_ms), **event.facts})
    ids = " ".join(event.id for event in events)
    return EventRaised(
        type=DIGEST,
        dedup_key=f"{DIGEST} {target} {sha256(ids.encode()).hexdigest()}",
        at_ms=now_ms,
        facts={
            "events": counts.total(),
            "counts": dict(sorted(counts.items())),
            "since": min(_since(event) for event in events),
            "first": first[:SHOWN],
        },
    )


def _since(event: Event) -> str:
    return str(event.facts["since"] if event.type == DIGEST else iso(event.at_ms))
