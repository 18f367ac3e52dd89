"""Finished requests, told to an OTLP collector by a thread of its own, at a cost to the event loop of one append.

The thread takes facts from a bounded queue and encodes them in slices with a rest after each: it shares the interpreter
lock with the event loop, and one that holds it for a whole batch stalls every request in the process (DESIGN §9). A
collector that is slow or gone costs dropped spans, a counter and one log line a minute, never a request.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from opentelemetry.sdk.resources import Resource

from telemetry.collector import Collector
from telemetry.context import ParentContext
from telemetry.environment import (
    BatchSettings,
    batch_settings,
    captures_content,
    collector_settings,
    is_silenced,
    resource,
    sampling,
)
from telemetry.facts import MAX_CONTENT_CHARS, RequestFacts, content_chars, with_content_cut
from telemetry.sampling import Sampling, by_parent, kept_for, never
from telemetry.spans import span_count, spans_of
from telemetry.wire import SpanEncoder

log = logging.getLogger(__name__)

SCOPE_NAME: Final = "farthing"
# Half a millisecond under the interpreter lock, then at least as long without it.
SLICE_SPANS: Final = 32
REST_S: Final = 0.0005
# Captured text counts against the queue's bound: so many characters weigh as much as a span.
CHARS_A_SPAN: Final = 1024
FLUSH_S: Final = 10.0
CLOSE_S: Final = 5.0
WARN_EVERY_S: Final = 60.0


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """otlp_endpoint: a base, /v1/traces is appended; empty: the standard OTEL_* variables say. CONTRACT §2."""

    otlp_endpoint: str = ""
    capture_content: bool = False


class SpanExporter:
    """The queue and the thread that empties it. `record` is for one thread, the event loop's."""

    def __init__(
        self, collector: Collector, encoder: SpanEncoder, batch: BatchSettings, *, capture_content: bool
    ) -> None:
        self._collector = collector
        self._encoder = encoder
        self._batch = batch
        self._max_content_chars = MAX_CONTENT_CHARS if capture_content else 0
        self._queue: deque[RequestFacts] = deque()
        self._room = batch.queue_spans
        # Weights and spans since the start. None has two writers: the event loop's thread has the first two, the
        # exporter's the next three. _flush_to changes under the lock.
        self._added = 0
        self._refused_spans = 0
        self._taken = 0
        self._settled = 0
        self._lost_spans = 0
        self._flush_to = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._settling = threading.Condition()
        self._told_spans = 0
        self._told_at_s = -WARN_EVERY_S
        self._reason = ""
        self._thread = threading.Thread(target=self._run, name="farthing-spans")
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Spans that reached no collector."""
        return self._refused_spans + self._lost_spans

    def record(self, facts: RequestFacts) -> None:
        """Queue the facts, or count them as dropped where there is no room."""
        if content_chars(facts):
            facts = with_content_cut(facts, self._max_content_chars)
        weight = _weight(facts)
        if self._added - self._settled + weight > self._room:
            self._refused_spans += span_count(facts)
            return
        self._queue.append(facts)
        self._added += weight
        if self._added - self._taken >= self._batch.batch_spans and not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was recorded before is sent or dropped; False where that took longer. For any thread."""
        target = self._added
        with self._settling:
            self._flush_to = max(self._flush_to, target)
            self._wake.set()
            return self._settling.wait_for(lambda: self._settled >= target, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Send what is queued for as long as that, then drop the rest and let the thread go.

        A thread caught in a request outlives this by the request's own timeout at most.
        """
        self._room = 0
        self._collector.stop_at(time.monotonic() + timeout_s)
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("the collector at %s keeps the last spans waiting; they are given up", self._collector.host)

    def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                self._wake.wait(self._batch.delay_s)
                self._wake.clear()
                is_last = self._closing.is_set()
                self._send_queued()
                self._tell_of_drops()
        finally:
            self._collector.close()

    def _send_queued(self) -> None:
        """One batch, and more while there are full ones, or somebody waits for the end of the queue."""
        while self._queue:
            self._send_batch()
            with self._settling:
                self._settled = self._taken
                self._settling.notify_all()
            is_awaited = self._closing.is_set() or self._settled < self._flush_to
            if not is_awaited and self._added - self._taken < self._batch.batch_spans:
                return

    def _send_batch(self) -> None:
        spans: list[bytes] = []
        lost = 0
        full_at = self._taken + self._batch.batch_spans
        while self._queue and self._taken < full_at:
            facts = self._queue.popleft()
            self._taken += _weight(facts)
            if self._collector.is_over:
                lost += span_count(facts)
                continue
            had = len(spans)
            lost += self._encode(facts, spans)
            if len(spans) // SLICE_SPANS != had // SLICE_SPANS and self._can_rest:
                time.sleep(REST_S)
        if spans and not self._deliver(spans):
            lost += len(spans)
        self._lost_spans += lost

    @property
    def _can_rest(self) -> bool:
        """Not while it falls behind: a rest among busy threads costs a whole switch interval, and the queue fills."""
        return self._added - self._taken < self._room // 4

    def _encode(self, facts: RequestFacts, spans: list[bytes]) -> int:
        """Add the request's spans, all or none. How many were lost."""
        try:
            spans.extend([self._encoder.span(span) for span in spans_of(facts)])
        except Exception as error:  # noqa: BLE001  The top of a loop: one bad request must not cost the others theirs.
            self._reason = f"they could not be encoded: {type(error).__name__}"
            return span_count(facts)
        return 0

    def _deliver(self, spans: list[bytes]) -> bool:
        try:
            is_taken = self._collector.send(self._encoder.request(spans))
        except Exception as error:  # noqa: BLE001  The top of a loop: the thread must outlive any one request.
            self._reason = f"they could not be sent: {type(error).__name__}"
            return False
        if not is_taken:
            self._reason = f"{self._collector.host} did not take them: {self._collector.reason}"
        return is_taken

    def _tell_of_drops(self) -> None:
        """In words, once a minute at most."""
        dropped, now_s = self.dropped, time.monotonic()
        if dropped > self._told_spans and now_s - self._told_at_s >= WARN_EVERY_S:
            self._told_spans, self._told_at_s = dropped, now_s
            log.warning("%d spans dropped since the start; %s", dropped, self._reason or "the queue was full")


class Telemetry:
    """Where finished requests are told. Without an exporter nothing is kept and nothing leaves."""

    def __init__(
        self, exporter: SpanExporter | None, decide: Sampling, *, capture_content: bool, keeps_notable: bool = False
    ) -> None:
        # Whether anybody listens, and whether they may hear prompts and outputs.
        self.exports = exporter is not None
        self.capture_content = capture_content and self.exports
        self._exporter = exporter
        self._decide = decide
        self._keeps_notable = keeps_notable

    @property
    def dropped(self) -> int:
        """Spans that reached no collector, since the start."""
        return 0 if self._exporter is None else self._exporter.dropped

    def samples(self, parent: ParentContext | None, trace_id: str) -> bool:
        """Whether this trace is recorded, and whoever is called on its behalf is told so."""
        return self._decide(parent, trace_id)

    def record(self, facts: RequestFacts) -> None:
        """Take the facts of one finished request. Never blocks, never raises.

        What is worth having is kept even of traces that are not sampled: `sampling.kept_for`.
        """
        if self._exporter is not None and (facts.sampled or (self._keeps_notable and kept_for(facts))):
            self._exporter.record(facts)

    async def flush(self) -> bool:
        """Wait until all that was recorded before is sent or dropped; False where that took more than FLUSH_S."""
        return self._exporter is None or await asyncio.to_thread(self._exporter.flush, FLUSH_S)


@asynccontextmanager
async def open_telemetry(
    settings: TelemetrySettings, *, environ: Mapping[str, str], service_version: str
) -> AsyncIterator[Telemetry]:
    """Telemetry for one process. On leaving, what is queued is sent for CLOSE_S at most, and the rest dropped.

    Spans are exported where the settings or the standard variables name an endpoint, and nothing switches them off.
    """
    endpoint = collector_settings(settings.otlp_endpoint, environ)
    if endpoint is None:
        # Nothing is recorded here, so only a caller's own decision is passed on.
        yield Telemetry(None, by_parent(never), capture_content=False)
        return
    told = resource(environ, service_version=service_version)
    captures = captures_content(environ, settings.capture_content)
    exporter = SpanExporter(
        Collector(endpoint, user_agent=f"{SCOPE_NAME}/{service_version}"),
        SpanEncoder(_plain(told), scope_name=SCOPE_NAME, scope_version=service_version),
        batch_settings(environ),
        capture_content=captures,
    )
    try:
        yield Telemetry(exporter, sampling(environ), capture_content=captures, keeps_notable=not is_silenced(environ))
    finally:
        await asyncio.to_thread(exporter.close, CLOSE_S)


def _plain(told: Resource) -> dict[str, str | bool | int | float]:
    """The SDK's resource attributes as values that need nothing of the SDK."""
    return {
        key: value if isinstance(value, str | bool | int | float) else str(value)
        for key, value in told.attributes.items()
    }


def _weight(facts: RequestFacts) -> int:
    return span_count(facts) + content_chars(facts) // CHARS_A_SPAN
