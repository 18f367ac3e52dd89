"""`python -m benchmarks.spans`: what being traced costs a call, in processor time and in calls a second.

First the whole service under load, telling a collector and telling nobody, in turns on one core, so that a slow moment
of the machine falls on both: the difference, over the spans of a call, is what a span costs from its first fact to the
collector's answer. Then the parts of it that are the exporter's thread's, each alone, and OpenTelemetry's own encoder
beside them: its 82 µs for 15 attributes on a quiet core say how quiet this one is. Takes about a minute.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext
from rich.console import Console
from rich.table import Table

from benchmarks.load import body, run_load
from benchmarks.processes import Process, running_gateway, running_upstream, stay_on_load_core
from telemetry import AttemptFacts, ChatFacts, RequestFacts, new_span_id, new_trace_id
from telemetry.collector import Collector
from telemetry.environment import CollectorSettings
from telemetry.spans import Span, spans_of
from telemetry.wire import SpanEncoder

TURNS: Final = 11
SECONDS: Final = 2.0
CONNECTIONS: Final = 16
SPANS_A_CALL: Final = 3
ROUNDS: Final = 21
CALLS: Final = 170
GOAL_US: Final = 60


class Turn(msgspec.Struct, frozen=True):
    """One load on one gateway."""

    per_second: float
    cpu_us: float


def main() -> None:
    """Measure and print."""
    stay_on_load_core()
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream())
        gateways = [
            stack.enter_context(running_gateway(Path(_folder(stack)), upstream.port, tells=tells))
            for tells in (False, True)
        ]
        turns = uvloop.run(_in_turns(gateways))
        console = Console()
        console.print(_loads(*turns))
        console.print(_parts(upstream.port))


def _folder(stack: ExitStack) -> str:
    return stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))


async def _in_turns(gateways: list[Process]) -> tuple[list[Turn], list[Turn]]:
    """A B A B …, after a turn of each that is not counted."""
    turns: tuple[list[Turn], list[Turn]] = ([], [])
    for _ in range(TURNS + 1):
        for gateway, mine in zip(gateways, turns, strict=True):
            before_s = gateway.cpu_s()
            load = await run_load(gateway.target(), body("bench"), connections=CONNECTIONS, seconds=SECONDS)
            assert not load.failures
            cpu_us = (gateway.cpu_s() - before_s) / len(load.latencies_ms) * 1e6
            mine.append(Turn(load.per_second, cpu_us))
    return turns[0][1:], turns[1][1:]


def _loads(silent: list[Turn], telling: list[Turn]) -> Table:
    table = Table(title=f"Proxied calls at {CONNECTIONS} connections, in turns")
    for column in ("spans", "calls/s, each turn", "median", "CPU µs a call, each turn", "median"):
        table.add_column(column, justify="left" if column == "spans" else "right")
    for name, turns in (("untold", silent), ("told", telling)):
        rates, costs = [turn.per_second for turn in turns], [turn.cpu_us for turn in turns]
        table.add_row(name, _each(rates), f"{_median(rates):,.0f}", _each(costs), f"{_median(costs):,.0f}")
    more = [told.cpu_us - untold.cpu_us for untold, told in zip(silent, telling, strict=True)]
    a_span_us = _median(more) / SPANS_A_CALL
    table.caption = f"a span costs {a_span_us:.0f} µs of CPU (median of {len(more)} pairs; goal: {GOAL_US} at most)"
    return table


def _parts(port: int) -> Table:
    """What the exporter's thread does, for as many spans as one request to the collector takes."""
    settings = CollectorSettings(url=f"http://127.0.0.1:{port}/v1/traces", headers={}, timeout_s=5, compression="none")
    collector, encoder = Collector(settings, user_agent="bench"), SpanEncoder({}, scope_name="bench", scope_version="")
    facts = [_facts(number) for number in range(CALLS)]
    spans = [span for request in facts for span in spans_of(request)]
    encoded = [encoder.span(span) for span in spans]
    request = encoder.request(encoded)
    readable = [_readable(span) for span in spans]
    parts: dict[str, Callable[[], object]] = {
        "spans of facts": lambda: [spans_of(request) for request in facts],
        "bytes of spans": lambda: [encoder.span(span) for span in spans],
        "sent": lambda: collector.send(encoder.request(encoded)),
        "bytes, by OpenTelemetry's encoder": lambda: encode_spans(readable).SerializeToString(),
    }
    table = Table(title=f"One span of {len(spans)} in a request of {len(request) / 1e3:.0f} kB, µs of CPU")
    for column in ("part", "median", "worst"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, work in parts.items():
        took = [_cpu_s(work) / len(spans) * 1e6 for _ in range(ROUNDS)]
        table.add_row(name, f"{_median(took):.1f}", f"{max(took):.1f}")
    collector.close()
    return table


def _readable(span: Span) -> ReadableSpan:
    """The span as OpenTelemetry's encoder reads it."""
    return ReadableSpan(
        span.name,
        SpanContext(int(span.trace_id, 16), int(span.span_id, 16), is_remote=False),
        attributes=span.attributes,
        events=[Event(event.name, event.attributes, event.at_ns) for event in span.events],
        start_time=span.started_at_ns,
        end_time=span.ended_at_ns,
    )


def _cpu_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def _facts(number: int) -> RequestFacts:
    """An everyday call: one attempt, two ceilings, its hold and its settlement."""
    began_ns = time.time_ns()
    attempt = AttemptFacts(
        span_id=new_span_id(),
        number=1,
        provider="openai",
        model="gpt-4o-mini",
        server_address="api.openai.com",
        server_port=443,
        started_at_ns=began_ns + 800_000,
        ended_at_ns=began_ns + 50_800_000,
        first_output_at_ns=None,
        outcome="ok",
        status=200,
        response_model="gpt-4o-mini-2024-07-18",
        finish_reason="stop",
        held_nanousd=2_460_000 + number,
        charged_nanousd=120_000 + number,
        charged_basis="priced_usage",
        price_version="2026-11-01",
        queued_s=number / 1e7,
        breaker_state="closed",
        ceilings=("month global", "day provider:openai"),
    )
    chat = ChatFacts(
        generation_id=f"gen_{number:026d}",
        span_id=new_span_id(),
        route="chat",
        provider="openai",
        model="gpt-4o-mini",
        started_at_ns=began_ns + 200_000,
        ended_at_ns=began_ns + 51_500_000,
        outcome="ok",
        cache="miss",
        stream=False,
        cost_nanousd=120_000 + number,
        cost_basis="priced_usage",
        input_tokens=200 + number,
        output_tokens=150 + number,
        cached_tokens=0,
        reasoning_tokens=0,
        finish_reason="stop",
        request={"max_tokens": 400, "temperature": 0.2},
        events=(
            ("farthing.admit", began_ns + 700_000, {"farthing.duration_ms": 0.5 + number / 1e3}),
            ("farthing.settle", began_ns + 51_000_000, {"farthing.duration_ms": 0.6 + number / 1e3}),
        ),
        attempts=(attempt,),
        response_model="gpt-4o-mini-2024-07-18",
        response_id=f"chatcmpl-{number:026d}",
        attribution={"key": "key_1", "team": "search", "user": "", "workflow": "summarise", "run": ""},
    )
    return RequestFacts(
        trace_id=new_trace_id(),
        span_id=new_span_id(),
        parent_span_id="",
        sampled=True,
        tracestate="",
        method="POST",
        route="/v1/chat/completions",
        path="/v1/chat/completions",
        status=200,
        started_at_ns=began_ns,
        ended_at_ns=began_ns + 51_800_000,
        server_address="127.0.0.1",
        server_port=4000,
        chat=chat,
        generation_id=chat.generation_id,
        public_url="http://127.0.0.1:4000",
    )


def _each(figures: list[float]) -> str:
    return " ".join(f"{figure:,.0f}" for figure in figures)


def _median(figures: list[float]) -> float:
    return statistics.median(figures)


if __name__ == "__main__":
    main()
