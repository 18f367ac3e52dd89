"""Every figure that the service tells: its name, unit, labels and meaning. Values only.

The `gen_ai.*` and `http.*` names and buckets are the conventions' own, as of semantic-conventions 1.41, which is what
dashboards read (the GenAI ones are "Development"); `farthing.*` names are ours and stable. Money is in dollars as a
float, for graphs alone: the ledger has the truth to the nano-dollar.
"""

import re
from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]

# Source: semantic-conventions 1.41, "Generative AI metrics": operation duration, time to first chunk and per output
# chunk; token usage.
GEN_AI_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
GEN_AI_TOKENS: Final = tuple(float(4**power) for power in range(14))
# Source: semantic-conventions 1.41, "HTTP metrics": http.server.request.duration.
HTTP_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SHORT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
BATCH_WRITES: Final = tuple(float(2**power) for power in range(9))

_SUFFIXES: Final = {"s": "_seconds", "By": "_bytes", "USD": "_usd"}
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. unit: as UCUM has it, braces for what is counted; labels: as OTLP has them.

    bounds: of a histogram's buckets. merge: what a gauge of several worker processes is.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"

    @property
    def width(self) -> int:
        """How many numbers one series of it takes: a histogram's are its buckets, the last without a bound, and sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1

    @property
    def prometheus_name(self) -> str:
        """Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility"."""
        name = prometheus_label(self.name)
        suffix = _SUFFIXES.get(self.unit, "")
        name = name if name.endswith(suffix) else name + suffix
        return f"{name}_total" if self.kind == "counter" else name


def prometheus_label(name: str) -> str:
    """A dotted name as Prometheus takes it."""
    return _NOT_IN_NAMES.sub("_", name)


def _counter(name: str, unit: str, text: str, *labels: str) -> Instrument:
    return Instrument(name=name, kind="counter", unit=unit, help=text, labels=labels)


def _gauge(name: str, unit: str, text: str, *labels: str, merge: Literal["sum", "max"] = "sum") -> Instrument:
    return Instrument(name=name, kind="gauge", unit=unit, help=text, labels=labels, merge=merge)


def _histogram(name: str, unit: str, text: str, *labels: str, bounds: tuple[float, ...]) -> Instrument:
    return Instrument(name=name, kind="histogram", unit=unit, help=text, labels=labels, bounds=bounds)


# What the conventions know.
_GEN_AI: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
OPERATION_DURATION: Final = _histogram(
    "gen_ai.client.operation.duration",
    "s",
    "Calls that asked a provider, retries included, by the deployment that was tried last",
    *_GEN_AI,
    "error.type",
    bounds=GEN_AI_SECONDS,
)
FIRST_CHUNK: Final = _histogram(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    "From an attempt's first byte out to its first output, of streamed attempts that answered",
    *_GEN_AI,
    bounds=GEN_AI_SECONDS,
)
CHUNK_GAP: Final = _histogram(
    "gen_ai.client.operation.time_per_output_chunk",
    "s",
    "From one chunk of output to the next, of streamed attempts that answered",
    *_GEN_AI,
    bounds=GEN_AI_SECONDS,
)
TOKEN_USAGE: Final = _histogram(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens of answered calls, cached input and reasoning included",
    *_GEN_AI,
    "gen_ai.token.type",
    bounds=GEN_AI_TOKENS,
)
HTTP_DURATION: Final = _histogram(
    "http.server.request.duration",
    "s",
    "HTTP requests, streams until their end",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    bounds=HTTP_SECONDS,
)

# Calls and money, counted when the ledger has taken them.
CALLS: Final = _counter(
    "farthing.calls", "{call}", "Calls that were admitted and are over", "route", "cache", "outcome"
)
REFUSALS: Final = _counter(
    "farthing.refusals", "{request}", "Requests that ended with a problem, or without their caller", "code"
)
ATTEMPTS: Final = _counter(
    "farthing.attempts", "{attempt}", "Requests to providers that are over", "deployment", "outcome", "hedge"
)
ATTEMPT_DURATION: Final = _histogram(
    "farthing.attempt.duration", "s", "Attempts that answered, first byte out to end", "deployment",
    bounds=GEN_AI_SECONDS,
)  # fmt: skip
TOKENS: Final = _counter("farthing.tokens", "{token}", "Tokens that were charged, by class", "deployment", "class")
COST: Final = _counter("farthing.cost", "USD", "Cost of attempts, for graphs", "deployment", "basis")
KEY_COST: Final = _counter("farthing.key.cost", "USD", "Cost of attempts by API key, for graphs", "key")
WASTED: Final = _counter(
    "farthing.wasted", "USD", "Cost of attempts whose output nobody used, for graphs", "deployment"
)
SAVED: Final = _counter("farthing.saved", "USD", "What hits and coalesced calls did not cost", "deployment", "cache")
OVERRUNS: Final = _counter("farthing.overruns", "{attempt}", "Attempts that cost more than they held", "deployment")

# This process, and how it fares.
IN_FLIGHT: Final = _gauge("farthing.calls.in_flight", "{call}", "Calls in progress")
WORKERS: Final = _gauge("farthing.workers", "{process}", "Worker processes")
LOOP_LAG: Final = _histogram(
    "farthing.event_loop.lag", "s", "How much later than asked the event loop came round", bounds=SHORT_SECONDS
)
CPU: Final = _counter("farthing.process.cpu", "s", "Processor time of all worker processes")
RESIDENT: Final = _gauge("farthing.process.resident", "By", "Memory of all worker processes")
GATE_IN_USE: Final = _gauge("farthing.gate.in_use", "{attempt}", "Places taken in a provider's gate", "provider")
GATE_WAITING: Final = _gauge("farthing.gate.waiting", "{attempt}", "Attempts that wait for a place", "provider")
GATE_LIMIT: Final = _gauge("farthing.gate.limit", "{attempt}", "Places of a provider's gate, all workers", "provider")
BATCH: Final = _histogram("farthing.ledger.batch", "{write}", "Writes that shared one commit", bounds=BATCH_WRITES)
QUEUE_WAIT: Final = _histogram(
    "farthing.ledger.queue.wait", "s", "How long a batch's oldest write waited before it began", bounds=SHORT_SECONDS
)
COMMIT: Final = _histogram(
    "farthing.ledger.commit.duration", "s", "A batch, its turn at the file awaited and its commit", bounds=SHORT_SECONDS
)
QUEUE_AGE: Final = _gauge(
    "farthing.ledger.queue.age", "s", "How long the oldest write that still waits has waited", merge="max"
)
CACHE_SERVER: Final = _counter(
    "farthing.cache_server.requests",
    "{request}",
    "What became of bodies to be kept on the cache server, or found there",
    "operation",
    "outcome",
)
SPANS_DROPPED: Final = _counter("farthing.spans.dropped", "{span}", "Spans that reached no collector")
EXPORTS_FAILED: Final = _counter(
    "farthing.metrics.exports_failed", "{export}", "Pushes of these metrics that no collector took"
)

# What all processes on one ledger know alike: told once, whichever of them is asked.
DRIFT: Final = _gauge(
    "farthing.ledger.drift",
    "{row}",
    "Broken rows that the service's own audit of the ledger has found; above 0: run farthing verify",
)
VERIFIED: Final = _gauge(
    "farthing.ledger.verified_seq", "{line}", "The newest line of the ledger that the service's own audit looked at"
)
VERIFY: Final = _gauge("farthing.ledger.verify", "s", "How long the last look of the service's own audit took")
WAL: Final = _gauge("farthing.ledger.wal", "By", "Size of the ledger's write-ahead log; 0 on a server")
QUEUE_DEPTH: Final = _gauge(
    "farthing.ledger.queue_depth", "{write}", "Writes that wait for the ledger, in all worker processes"
)
CEILINGS: Final = _gauge("farthing.ceilings", "{ceiling}", "Ceilings in force; the fullest of them are told one by one")
_OF_CEILING: Final = ("scope", "window")
# {unit of a ceiling: (its limit, what is spent, what is held, what of that are slices)}.
CEILING: Final = {
    unit: tuple(
        _gauge(f"farthing.ceiling.{what}{ending}", told, text, *_OF_CEILING)
        for what, text in (
            ("limit", "The most that may be held and spent in the current window"),
            ("spent", "What is spent in the current window"),
            ("held", "What open attempts hold in the current window, slices included"),
            ("sliced", "What processes hold in the current window for calls to come"),
        )
    )
    for unit, ending, told in (("usd", "", "USD"), ("tokens", ".tokens", "{token}"), ("calls", ".calls", "{call}"))
}
ALERTS: Final = _gauge(
    "farthing.alerts.deliveries", "{delivery}", "Alerts that are to be delivered, and that were given up", "state"
)
BREAKER_STATE: Final = _gauge(
    "farthing.breaker.state", "{breaker}", "1 for the state that a deployment's breaker is in", "deployment", "state"
)
BREAKER_OPENINGS: Final = _counter("farthing.breaker.openings", "{opening}", "Times a breaker opened", "deployment")
PACED: Final = _gauge(
    "farthing.pacing.remaining", "s", "How long a deployment is left alone yet, as its provider asked", "deployment"
)
BLOCKED: Final = _gauge("farthing.deployment.blocked", "{deployment}", "1 where a hint blocks it", "deployment")

INSTRUMENTS: Final = (
    OPERATION_DURATION,
    FIRST_CHUNK,
    CHUNK_GAP,
    TOKEN_USAGE,
    HTTP_DURATION,
    CALLS,
    REFUSALS,
    ATTEMPTS,
    ATTEMPT_DURATION,
    TOKENS,
    COST,
    KEY_COST,
    WASTED,
    SAVED,
    OVERRUNS,
    IN_FLIGHT,
    WORKERS,
    LOOP_LAG,
    CPU,
    RESIDENT,
    GATE_IN_USE,
    GATE_WAITING,
    GATE_LIMIT,
    BATCH,
    QUEUE_WAIT,
    COMMIT,
    QUEUE_AGE,
    CACHE_SERVER,
    SPANS_DROPPED,
    EXPORTS_FAILED,
    DRIFT,
    VERIFIED,
    VERIFY,
    WAL,
    QUEUE_DEPTH,
    CEILINGS,
    ALERTS,
    BREAKER_STATE,
    BREAKER_OPENINGS,
    PACED,
    BLOCKED,
    *(instrument for told in CEILING.values() for instrument in told),
)
BY_NAME: Final = {instrument.name: instrument for instrument in INSTRUMENTS}
