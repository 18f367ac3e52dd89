"""Metrics told to an OTLP collector every minute or so: read on the event loop, encoded and sent on a thread.

A collector that is slow or gone costs a counter and one log line a minute. Each worker tells its own, as an instance of
its own; what all of them know alike is told by the first one.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from telemetry.collector import Collector
from telemetry.environment import collector_settings, export_interval_s, resource
from telemetry.metrics import instruments as its
from telemetry.metrics.page import Metrics
from telemetry.metrics.tally import Reading

log = logging.getLogger(__name__)

SCOPE_NAME: Final = "farthing"
CLOSE_S: Final = 5.0
WARN_EVERY_S: Final = 60.0
FIRST_WORKER: Final = "0"

Told = Callable[[], Awaitable[Sequence[Reading]]]


class MetricsExporter:
    """Sends what this process has counted since the exporter was made. told: what is known alike by all processes."""

    def __init__(
        self, metrics: Metrics, collector: Collector, told: Told, *, environ: Mapping[str, str], version: str
    ) -> None:
        self._metrics = metrics
        self._collector = collector
        self._told = told
        self._scope = (SCOPE_NAME, version)
        self._resource = resource(environ, service_version=version).attributes
        self._began_at_ns = time.time_ns()
        self._before = metrics.own()
        self._failed = metrics.recorder.tally.count(its.EXPORTS_FAILED)
        self._warned_at_s = -WARN_EVERY_S

    async def push(self) -> bool:
        """Send all of it as it is now. Whether the collector took it; if not, it is counted and logged."""
        readings = _since(self._metrics.own(), self._before)
        if self._metrics.worker == FIRST_WORKER:
            readings += await self._told()
        if await asyncio.to_thread(self._send, readings, time.time_ns()):
            return True
        self._failed.add()
        if time.monotonic() - self._warned_at_s >= WARN_EVERY_S:
            self._warned_at_s = time.monotonic()
            log.warning("metrics were not told: %s did not take them: %s", self._collector.host, self._collector.reason)
        return False

    def _send(self, readings: Sequence[Reading], now_ns: int) -> bool:
        # Protocol buffers take a while to load, and the first push has a minute.
        from telemetry.metrics.otlp import export_request

        request = export_request(
            readings, self._resource, scope=self._scope, began_at_ns=self._began_at_ns, now_ns=now_ns
        )
        return self._collector.send(request)


@asynccontextmanager
async def exporting_metrics(
    metrics: Metrics, told: Told, *, otlp_endpoint: str, environ: Mapping[str, str], version: str
) -> AsyncIterator[None]:
    """Send metrics while the block runs, and once more at its end, for CLOSE_S at most.

    Only where the settings or the standard variables name an endpoint, and nothing switches metrics off.
    """
    settings = collector_settings(otlp_endpoint, environ, signal="metrics")
    if settings is None:
        yield
        return
    collector = Collector(settings, user_agent=f"{SCOPE_NAME}/{version}")
    exporter = MetricsExporter(metrics, collector, told, environ=environ, version=version)
    leaving = asyncio.Event()
    pushing = asyncio.create_task(_keep_pushing(exporter, export_interval_s(environ), leaving), name="metrics export")
    try:
        yield
    finally:
        collector.stop_at(time.monotonic() + CLOSE_S)
        leaving.set()
        # A thread caught in a request outlives this by the request's own timeout at most.
        await asyncio.wait([pushing], timeout=CLOSE_S)
        pushing.cancel()
        with suppress(asyncio.CancelledError):
            await pushing
        collector.close()


async def _keep_pushing(exporter: MetricsExporter, interval_s: float, leaving: asyncio.Event) -> None:
    """One push after the other, the last when it is time to leave."""
    is_last = False
    while not is_last:
        with suppress(TimeoutError):
            await asyncio.wait_for(leaving.wait(), interval_s)
        is_last = leaving.is_set()
        try:
            await exporter.push()
        except Exception:
            log.exception("metrics could not be told")


def _since(readings: Iterable[Reading], before: Iterable[Reading]) -> list[Reading]:
    """What was counted after `before` was read: a worker does not tell again what its predecessor told."""
    had = {(reading.instrument.name, reading.labels): reading.numbers for reading in before}
    return [_less(reading, had.get((reading.instrument.name, reading.labels))) for reading in readings]


def _less(reading: Reading, had: tuple[float, ...] | None) -> Reading:
    if had is None or reading.instrument.kind == "gauge":
        return reading
    numbers = tuple(now - then for now, then in zip(reading.numbers, had, strict=True))
    return Reading(reading.instrument, reading.labels, numbers)
