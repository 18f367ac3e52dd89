"""The circuit breaker of one deployment: a value, and pure rules that return the next one.

Closed -> open after `threshold` faults in a row, or a flood of them among successes (`router.recent`); open ->
half-open for exactly one probe once its time is up; half-open -> closed by a success, or open for twice as long (at
most COOLDOWN_GROWTH_CAP times the first). What says nothing about the provider (our own aborts, callers that leave)
changes nothing but gives the probe back, and calls that began before it opened are only counted. Source: DESIGN §5.
"""

from enum import StrEnum
from typing import Final

import msgspec

COOLDOWN_GROWTH: Final = 2
COOLDOWN_GROWTH_CAP: Final = 10


class BreakerState(StrEnum):
    """Whether a deployment is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(StrEnum):
    """What may happen to a breaker."""

    TIME_UP = "time_up"
    SUCCESS = "success"
    FAULT = "fault"
    NEUTRAL = "neutral"
    FLOOD = "flood"


class BreakerRule(msgspec.Struct, frozen=True, kw_only=True):
    """threshold: faults in a row that open it. cooldown_s: how long it stays open the first time."""

    threshold: int = 3
    cooldown_s: float = 60.0


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """Where a breaker stands. until_s is on the monotonic clock; last_*_at_ms are wall time, for people.

    opened_at_ms: since when it has not been closed, whatever its probes found. None: it is closed.
    """

    state: BreakerState = BreakerState.CLOSED
    consecutive_failures: int = 0
    total_failures: int = 0
    total_successes: int = 0
    open_count: int = 0
    until_s: float = 0.0
    cooldown_s: float = 0.0
    last_success_at_ms: int | None = None
    last_failure_at_ms: int | None = None
    opened_at_ms: int | None = None


# States are all that this table decides; `record` and `admit` fill in counts and times. CLOSED stays closed on a fault
# below the threshold.
TRANSITIONS: Final = {
    (BreakerState.CLOSED, BreakerEvent.FAULT): BreakerState.OPEN,
    (BreakerState.CLOSED, BreakerEvent.FLOOD): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.TIME_UP): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.SUCCESS): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.FAULT): BreakerState.OPEN,
    # The probe was stopped by us and proved nothing: the next caller may try.
    (BreakerState.HALF_OPEN, BreakerEvent.NEUTRAL): BreakerState.OPEN,
}


def is_usable(breaker: Breaker, now_s: float) -> bool:
    """Whether `admit` would let a call through now."""
    return breaker.state == BreakerState.CLOSED or (breaker.state == BreakerState.OPEN and now_s >= breaker.until_s)


def admit(breaker: Breaker, now_s: float) -> tuple[Breaker, bool]:
    """The next breaker, and whether this call may go. An open one whose time is up lets this one caller probe."""
    if breaker.state == BreakerState.CLOSED:
        return breaker, True
    if not is_usable(breaker, now_s):
        return breaker, False
    return _moved(breaker, BreakerEvent.TIME_UP), True


def record(breaker: Breaker, event: BreakerEvent, rule: BreakerRule, *, now_s: float, now_ms: int) -> Breaker:
    """The next breaker after an attempt ended as a success, the provider's fault, or neither."""
    match event:
        case BreakerEvent.SUCCESS:
            state = _state_after(breaker, event)
            return msgspec.structs.replace(
                breaker,
                state=state,
                opened_at_ms=None if state is BreakerState.CLOSED else breaker.opened_at_ms,
                consecutive_failures=0,
                total_successes=breaker.total_successes + 1,
                cooldown_s=breaker.cooldown_s if breaker.state is BreakerState.OPEN else 0.0,
                last_success_at_ms=now_ms,
            )
        case BreakerEvent.FAULT:
            return _after_fault(breaker, rule, now_s=now_s, now_ms=now_ms)
        case BreakerEvent.NEUTRAL:
            return _moved(breaker, event)
        case BreakerEvent.FLOOD:
            is_closed = breaker.state == BreakerState.CLOSED
            return _opened(breaker, event, rule, now_s=now_s, now_ms=now_ms) if is_closed else breaker
        case BreakerEvent.TIME_UP:
            raise AssertionError("only `admit` lets time pass")


def _after_fault(breaker: Breaker, rule: BreakerRule, *, now_s: float, now_ms: int) -> Breaker:
    counted = msgspec.structs.replace(
        breaker,
        consecutive_failures=breaker.consecutive_failures + 1,
        total_failures=breaker.total_failures + 1,
        last_failure_at_ms=now_ms,
    )
    if breaker.state == BreakerState.OPEN or (
        breaker.state == BreakerState.CLOSED and counted.consecutive_failures < rule.threshold
    ):
        return counted
    return _opened(counted, BreakerEvent.FAULT, rule, now_s=now_s, now_ms=now_ms)


def _opened(breaker: Breaker, event: BreakerEvent, rule: BreakerRule, *, now_s: float, now_ms: int) -> Breaker:
    longest_s = rule.cooldown_s * COOLDOWN_GROWTH_CAP
    cooldown_s = min(breaker.cooldown_s * COOLDOWN_GROWTH, longest_s) if breaker.cooldown_s else rule.cooldown_s
    return msgspec.structs.replace(
        _moved(breaker, event),
        open_count=breaker.open_count + 1,
        cooldown_s=cooldown_s,
        until_s=now_s + cooldown_s,
        opened_at_ms=now_ms if breaker.opened_at_ms is None else breaker.opened_at_ms,
    )


def _moved(breaker: Breaker, event: BreakerEvent) -> Breaker:
    state = _state_after(breaker, event)
    return breaker if state == breaker.state else msgspec.structs.replace(breaker, state=state)


def _state_after(breaker: Breaker, event: BreakerEvent) -> BreakerState:
    return TRANSITIONS.get((breaker.state, event), breaker.state)
