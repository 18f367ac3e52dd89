"""What `GET /metrics` answers: what all workers counted, and what ledger and router know when somebody asks."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Protocol

from ledger.errors import LedgerUnavailable
from ledger.figures import LedgerFigures
from service.parts import RouterStatus
from service.pulse import Pulse
from telemetry.metrics import Instrument, Metrics, Reading
from telemetry.metrics import instruments as its

# Of a template such as `user:*` there may be any number: the fullest are told one by one.
MOST_CEILINGS: Final = 200
_BREAKER_STATES: Final = ("closed", "open", "half_open")
_NANOUSD_PER_USD: Final = 1e9


class LedgerState(Protocol):
    """What metrics ask the ledger."""

    async def figures(self) -> LedgerFigures:
        """How it is doing. Raises LedgerUnavailable."""

    async def ceilings(self) -> list[dict[str, Any]]:
        """Every ceiling in force. Raises LedgerUnavailable."""


class MetricsPage:
    """Asks and renders. While the ledger cannot be read its last figures stand."""

    def __init__(
        self, metrics: Metrics, ledger: LedgerState, router: RouterStatus, pulse: Pulse, *, now_ms: Callable[[], int]
    ) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._router = router
        self._pulse = pulse
        self._now_ms = now_ms
        self._of_ledger: list[Reading] = []

    async def render(self) -> bytes:
        """All metrics, as they are now."""
        self._pulse.beat()
        told = await self.told()
        return await asyncio.to_thread(self._metrics.render, self._metrics.own(), told)

    async def told(self) -> list[Reading]:
        """What all processes on this ledger know alike, so that it must be told by one of them."""
        # While it cannot be read, its last figures stand.
        with suppress(LedgerUnavailable):
            figures, ceilings = await self._ledger.figures(), await self._ledger.ceilings()
            self._of_ledger = [*_ledger_readings(figures), *_ceiling_readings(ceilings)]
        return [*self._of_ledger, *_router_readings(self._router.status(), self._now_ms())]


def _ledger_readings(figures: LedgerFigures) -> Iterator[Reading]:
    yield _reading(its.DRIFT, figures.drift)
    yield _reading(its.VERIFIED, figures.verified_seq)
    yield _reading(its.VERIFY, figures.verify_s)
    yield _reading(its.WAL, figures.wal_bytes)
    yield _reading(its.QUEUE_DEPTH, figures.queue_depth)
    yield _reading(its.ALERTS, figures.alerts_pending, "pending")
    yield _reading(its.ALERTS, figures.alerts_dead, "dead")


def _ceiling_readings(ceilings: list[dict[str, Any]]) -> Iterator[Reading]:
    yield _reading(its.CEILINGS, len(ceilings))
    for ceiling in sorted(ceilings, key=_fullness, reverse=True)[:MOST_CEILINGS]:
        unit = ceiling["unit"]
        for instrument, amount in zip(its.CEILING[unit], _amounts(ceiling), strict=True):
            yield _reading(instrument, amount, ceiling["scope"], ceiling["window"])


def _amounts(ceiling: dict[str, Any]) -> tuple[float, float, float, float]:
    """Limit, spent, held, and what of that are slices; dollars where the unit is."""
    limit, spent, held, sliced = (_amount(ceiling, name) for name in ("limit", "spent", "held", "sliced"))
    return limit, spent, held, sliced


def _amount(ceiling: dict[str, Any], name: str) -> float:
    if ceiling["unit"] == "usd":
        return float(ceiling[f"{name}_nanousd"] / _NANOUSD_PER_USD)
    return float(ceiling[name])


def _fullness(ceiling: dict[str, Any]) -> float:
    limit, spent, held, _ = _amounts(ceiling)
    return (spent + held) / limit if limit else 1.0


def _router_readings(status: dict[str, Any], now_ms: int) -> Iterator[Reading]:
    for known in status["deployments"]:
        deployment, breaker, paced_until_ms = known["deployment"], known["breaker"], known["paced_until_ms"]
        for state in _BREAKER_STATES:
            yield _reading(its.BREAKER_STATE, breaker["state"] == state, deployment, state)
        yield _reading(its.BREAKER_OPENINGS, breaker["open_count"], deployment)
        yield _reading(its.PACED, max(0, (paced_until_ms or now_ms) - now_ms) / 1000, deployment)
        yield _reading(its.BLOCKED, known["hints"]["block"] is not None, deployment)


def _reading(instrument: Instrument, number: float, *labels: str) -> Reading:
    return Reading(instrument, labels, (float(number),))
