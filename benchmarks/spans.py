"""`python -m benchmarks.spans`: what being traced costs a call, in processor time and in calls a second.

First the whole service under load, telling a collector and telling nobody, and the floor (`floor.py`), in short turns
on one core, so that a slow moment of the machine falls on all of them. What telling adds, over the spans of a call, is
what a span costs from its first fact to the collector's answer. Machines differ, so it is told as a share of the
floor's call, too; and as the median of several rounds of turns with its quartiles, for one round says little on a core
that others use. Then the parts of it that are the exporter's thread's, each alone, and OpenTelemetry's own encoder
beside them. Takes two minutes.
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
from benchmarks.processes import Process, running_floor, running_gateway, running_upstream, stay_on_load_core
from benchmarks.profile import read_threads
from telemetry import AttemptFacts, ChatFacts, RequestFacts, new_span_id, new_trace_id
from telemetry.collector import Collector
from telemetry.environment import CollectorSettings
from telemetry.spans import Span, spans_of
from telemetry.wire import SpanEncoder

# Rounds of turns. What a thread still does for a turn's calls after it belongs to the round.
ROUNDS: Final = 11
TURNS: Final = 9
SECONDS: Final = 0.3
CONNECTIONS: Final = 16
SPANS_A_CALL: Final = 3
REPEATS: Final = 21
CALLS: Final = 170
# 60 µs on the machine of DESIGN §9, whose floor makes 4,490 calls a second of one core.
GOAL: Final = 0.27


class Cost(msgspec.Struct, frozen=True):
    """A round of one process. loop_us: of a call's processor time the main thread's, where the event loop runs."""

    per_second: float
    cpu_us: float
    loop_us: float


def main() -> None:
    """Measure and print."""
    stay_on_load_core()
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream())
        floor = stack.enter_context(running_floor(upstream.port))
        untold, told = (
            stack.enter_context(running_gateway(Path(_folder(stack)), upstream.port, tells=tells))
            for tells in (False, True)
        )
        rounds = uvloop.run(_in_turns({"the floor": floor, "untold": untold, "told": told}))
        console = Console(width=120)
        console.print(_loads(rounds))
        console.print(_parts(upstream.port))


def _folder(stack: ExitStack) -> str:
    return stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))


async def _in_turns(measured: dict[str, Process]) -> dict[str, list[Cost]]:
    """{its name: what its calls cost in each round}, after one that is not counted."""
    costs: dict[str, list[Cost]] = {name: [] for name in measured}
    for _ in range(ROUNDS + 1):
        before = {name: _spent_us(process) for name, process in measured.items()}
        calls = dict.fromkeys(measured, 0)
        order = list(measured)
        for _ in range(TURNS):
            for name in order:
                calls[name] += await _turn(measured[name], "m" if name == "the floor" else "bench")
            order.reverse()
        for name, process in measured.items():
            cpu_us, loop_us = (
                (after - at_first) / calls[name]
                for after, at_first in zip(_spent_us(process), before[name], strict=True)
            )
            costs[name].append(Cost(calls[name] / (TURNS * SECONDS), cpu_us, loop_us))
    return {name: found[1:] for name, found in costs.items()}


async def _turn(process: Process, model: str) -> int:
    load = await run_load(process.target(), body(model), connections=CONNECTIONS, seconds=SECONDS)
    assert not load.failures
    return len(load.latencies_ms)


def _spent_us(process: Process) -> tuple[float, float]:
    """Processor time of all its threads, and of its main one."""
    return process.cpu_s() * 1e6, read_threads(process.pid)[process.pid][0] / 1000


def _loads(rounds: dict[str, list[Cost]]) -> Table:
    table = Table(title=f"Proxied calls at {CONNECTIONS} connections, {ROUNDS} rounds: medians, and quartiles")
    for column in ("", "calls/s", "CPU µs a call", "event loop's"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, found in rounds.items():
        rates, costs, loops = ([getattr(cost, figure) for cost in found] for figure in Cost.__struct_fields__)
        table.add_row(name, _spread(rates), _spread(costs), _spread(loops))
    pairs = list(zip(rounds["untold"], rounds["told"], strict=True))
    spans_us = [(told.cpu_us - untold.cpu_us) / SPANS_A_CALL for untold, told in pairs]
    loops_us = [(told.loop_us - untold.loop_us) / SPANS_A_CALL for untold, told in pairs]
    table.add_row("a span", "", _spread(spans_us), _spread(loops_us))
    shares = [span_us / floor.cpu_us for span_us, floor in zip(spans_us, rounds["the floor"], strict=True)]
    table.caption = f"A span is {_median(shares):.2f} of the floor's call (goal: {GOAL} at most)."
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
        took = [_cpu_s(work) / len(spans) * 1e6 for _ in range(REPEATS)]
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


def _spread(figures: list[float]) -> str:
    """Its median, and its first and third quartile."""
    first, median, third = statistics.quantiles(figures)
    return f"{median:,.0f} ({first:,.0f} to {third:,.0f})"


def _median(figures: list[float]) -> float:
    return statistics.median(figures)


if __name__ == "__main__":
    main()
