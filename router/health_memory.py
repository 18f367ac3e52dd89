"""A breaker as all processes remember it: over restarts, and whoever of them learned it. Pure.

Moments are kept as wall time, because each process has a monotonic clock of its own.
"""

from typing import Final

import msgspec

from router.breaker import Breaker, BreakerState

# How long a probe may be out before the process that sent it is taken for dead.
PROBE_CLAIM_S: Final = 60.0


class Remembered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One deployment's breaker. until_ms: open until then, or half-open for `prober` alone until then."""

    state: BreakerState = BreakerState.CLOSED
    consecutive_failures: int = 0
    total_failures: int = 0
    total_successes: int = 0
    open_count: int = 0
    until_ms: int = 0
    cooldown_s: float = 0.0
    last_success_at_ms: int | None = None
    last_failure_at_ms: int | None = None
    opened_at_ms: int | None = None
    prober: str = ""


class Here(msgspec.Struct, frozen=True):
    """The process that remembers, and what its clocks say."""

    process: str
    now_s: float
    now_ms: int


def recall(text: str | None, here: Here) -> Breaker:
    """The breaker as this process should take it. Another process's probe looks like an open breaker until its time."""
    known = _read(text)
    is_anothers = _is_anothers_probe(known, here)
    # Its own probe's time had come when it went out.
    is_own = known.state == BreakerState.HALF_OPEN and not is_anothers
    return Breaker(
        state=BreakerState.OPEN if is_anothers else known.state,
        consecutive_failures=known.consecutive_failures,
        total_failures=known.total_failures,
        total_successes=known.total_successes,
        open_count=known.open_count,
        until_s=here.now_s if is_own else here.now_s + (known.until_ms - here.now_ms) / 1000,
        cooldown_s=known.cooldown_s,
        last_success_at_ms=known.last_success_at_ms,
        last_failure_at_ms=known.last_failure_at_ms,
        opened_at_ms=known.opened_at_ms,
    )


def remember(text: str | None, breaker: Breaker, here: Here) -> str:
    """What to keep in the place of `text`, once this process made this breaker of it."""
    known = _read(text)
    before = recall(text, here)
    if breaker == before and text is not None:
        return text
    state, until_ms, prober = breaker.state, here.now_ms + round((breaker.until_s - here.now_s) * 1000), ""
    if state == BreakerState.HALF_OPEN:
        until_ms, prober = here.now_ms + round(PROBE_CLAIM_S * 1000), here.process
    elif state == before.state and _is_anothers_probe(known, here):
        state, until_ms, prober = known.state, known.until_ms, known.prober
    remembered = Remembered(
        state=state,
        consecutive_failures=breaker.consecutive_failures,
        total_failures=breaker.total_failures,
        total_successes=breaker.total_successes,
        open_count=breaker.open_count,
        until_ms=0 if state == BreakerState.CLOSED else until_ms,
        cooldown_s=breaker.cooldown_s,
        last_success_at_ms=breaker.last_success_at_ms,
        last_failure_at_ms=breaker.last_failure_at_ms,
        opened_at_ms=breaker.opened_at_ms,
        prober=prober,
    )
    return msgspec.json.encode(remembered).decode()


def _read(text: str | None) -> Remembered:
    return Remembered() if text is None else msgspec.json.decode(text, type=Remembered)


def _is_anothers_probe(known: Remembered, here: Here) -> bool:
    return known.state == BreakerState.HALF_OPEN and known.prober != here.process
