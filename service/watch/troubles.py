"""Troubles of deployments that people should hear of: blocked, open for long, without a price. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ledger.ceilings import DAY_MS
from ledger.events import EventRaised, EventType
from ledger.reports import iso
from router.hints import Cause
from router.status import Standing

_BLOCKS: Final[dict[Cause, EventType]] = {
    Cause.KEY_REFUSED: "provider.key_refused",
    Cause.OUT_OF_CREDIT: "provider.out_of_credit",
}


def troubles(standings: Iterable[Standing], *, now_ms: int, open_long_ms: int) -> Iterator[EventRaised]:
    """Events of blocks that only the provider's customer can lift, and of breakers that are open for so long."""
    for standing in standings:
        block, breaker = standing.block, standing.breaker
        kind = None if block is None else _BLOCKS.get(block.cause)
        if block is not None and kind is not None:
            yield _event(kind, standing, block.since_ms, now_ms)
        opened_at_ms = breaker.opened_at_ms
        if opened_at_ms is not None and now_ms - opened_at_ms >= open_long_ms:
            more = {"open_count": breaker.open_count, "consecutive_failures": breaker.consecutive_failures}
            yield _event("breaker.open_long", standing, opened_at_ms, now_ms, **more)


def unpriced(deployments: Iterable[str], *, now_ms: int) -> Iterator[EventRaised]:
    """An event a day for each deployment that was asked for and has no price."""
    day_ms = now_ms - now_ms % DAY_MS
    for deployment in deployments:
        yield EventRaised(
            type="model.unpriced",
            dedup_key=f"model.unpriced {deployment} {day_ms}",
            at_ms=now_ms,
            facts={"deployment": deployment},
        )


def low_disk(free_bytes: int | None, low_bytes: int, *, now_ms: int) -> Iterator[EventRaised]:
    """An event a day while the ledger's file system has less than this. free_bytes None: nobody can tell."""
    if free_bytes is not None and free_bytes < low_bytes:
        facts = {"free_bytes": free_bytes, "low_bytes": low_bytes}
        key = f"disk.low {now_ms - now_ms % DAY_MS}"
        yield EventRaised(type="disk.low", dedup_key=key, at_ms=now_ms, facts=facts)


def _event(kind: EventType, standing: Standing, since_ms: int, now_ms: int, **more: Any) -> EventRaised:
    error = standing.last_error
    facts = {
        "deployment": standing.deployment,
        "since": iso(since_ms),
        # The provider's code and status, never its words.
        "last_outcome": None if error is None else error.outcome,
        "last_status": None if error is None else error.status,
        "last_code": None if error is None else error.code,
        **more,
    }
    key = f"{kind} {standing.deployment} {since_ms}"
    return EventRaised(type=kind, dedup_key=key, at_ms=now_ms, facts=facts)
