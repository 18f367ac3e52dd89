"""`make bench`: what Farthing costs beside the direct call and the floor, in one run. Takes under three minutes.

`--quick` takes one, and prints ratios beside the last recorded ones; with `--record` it records its own. `--seconds`
says how long each load lasts, for a look that need not be exact.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import measures, quick
from benchmarks.load import CHAT
from benchmarks.measures import LARGE_A_SECOND, LARGE_BYTES, Contender, Equal, Rate
from benchmarks.processes import (
    DELAY_MS,
    Process,
    prepared_gateway,
    running_floor,
    running_gateway,
    running_upstream,
    started,
    stay_on_load_core,
    wait_for_answer,
)

SECONDS: Final = 3.0
ROUNDS: Final = 3
CONNECTIONS: Final = (1, 16, 256)
STREAM_CONNECTIONS: Final = (1, 16)
# An open load's, beyond what any of its rates needs at once.
OPEN_CONNECTIONS: Final = 200
OPEN_RATES: Final = (200, 500, 1000)
STARTS: Final = 3


class Measuring(msgspec.Struct, frozen=True):
    """What is measured in this run, and how long each load lasts."""

    direct: Contender
    floor: Contender
    farthing: Contender
    seconds: float


def main() -> None:
    """Run every load and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="ratios only, in a minute")
    parser.add_argument("--record", action="store_true", help="and record them")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long each load lasts ({SECONDS:g})")
    asked = parser.parse_args()
    stay_on_load_core()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))
        upstream = stack.enter_context(running_upstream())
        gateway = stack.enter_context(running_gateway(Path(folder), upstream.port))
        floor = stack.enter_context(running_floor(upstream.port))
        if asked.quick:
            uvloop.run(quick.look(gateway, upstream, floor, records=asked.record))
            return
        console = Console(width=120)
        uvloop.run(
            _measure(Measuring(direct(upstream), _floor(floor), farthing(gateway), asked.seconds), upstream, console)
        )
        console.print(f"start to first answer: {median(_starts_s(upstream, STARTS)):.2f} s, median of {STARTS}")


def direct(upstream: Process) -> Contender:
    """The upstream itself, without a gateway."""
    return Contender("direct", upstream, upstream.target(), upstream.target(path=f"/delay/{DELAY_MS}{CHAT}"))


def farthing(gateway: Process) -> Contender:
    """Farthing, as `running_gateway` starts it."""
    return Contender("Farthing", gateway, gateway.target("bench"), gateway.target("slow"))


def _floor(floor: Process) -> Contender:
    return Contender("floor", floor, floor.target())


async def _measure(it: Measuring, upstream: Process, console: Console) -> None:
    idle_mb = it.farthing.process.rss_mb()
    console.print(await _throughput(it))
    console.print(await _closed_latency(it))
    console.print(await _open_latency(it))
    console.print(await _streams(it))
    console.print(await _beside_large(it))
    console.print(_told(await measures.equal_calls(it.farthing, upstream)))
    rss_mb = it.farthing.process.rss_mb()
    console.print(
        f"memory: {idle_mb:.0f} MB idle, {rss_mb:.0f} MB after the loads (benchmarks.memory: after many calls)"
    )


async def _throughput(it: Measuring) -> Table:
    """Rates by turns, so that a slow moment of the machine falls on all; the median of the rounds counts."""
    columns = ("connections", "direct", "floor", "proxied", "of the floor", "CPU µs", "hits", "CPU µs", "hit p50 ms")
    table = _table("Throughput, requests/s", *columns)
    seconds = it.seconds / ROUNDS
    for connections in CONNECTIONS:
        rounds = [
            (
                await measures.rate(it.direct, connections, seconds),
                await measures.rate(it.floor, connections, seconds),
                await measures.rate(it.farthing, connections, seconds),
                await measures.rate(it.farthing, connections, seconds, equal=True),
            )
            for _ in range(ROUNDS)
        ]
        direct, floor, proxied, hits = (_median(rates) for rates in zip(*rounds, strict=True))
        share = median(proxied.per_second / floor.per_second for _, floor, proxied, _ in rounds)
        table.add_row(
            *_whole(connections, direct.per_second, floor.per_second, proxied.per_second),
            f"{share:.2f}",
            *_whole(proxied.cpu_us, hits.per_second, hits.cpu_us),
            f"{hits.p50_ms:.2f}",
        )
    return table


async def _closed_latency(it: Measuring) -> Table:
    table = _table(f"Added latency at {DELAY_MS} ms upstream, one call after the other", "connections", "p50", "p99")
    for connections in CONNECTIONS[:2]:
        direct = await measures.latency(it.direct, connections, it.seconds)
        proxied = await measures.latency(it.farthing, connections, it.seconds)
        added = (proxied.quantile_ms(q) - direct.quantile_ms(q) for q in (0.5, 0.99))
        table.add_row(str(connections), *(f"{figure:.2f}" for figure in added))
    return table


async def _open_latency(it: Measuring) -> Table:
    """At rates by the clock; a rate beyond what the gateway can do shows as seconds."""
    title = f"Added latency at {DELAY_MS} ms upstream, calls by the clock over {OPEN_CONNECTIONS} connections"
    table = _table(title, "calls/s", "answered/s", "p50", "p99", "longest")
    for a_second in OPEN_RATES:
        direct = await measures.latency(it.direct, OPEN_CONNECTIONS, it.seconds, a_second=a_second)
        proxied = await measures.latency(it.farthing, OPEN_CONNECTIONS, it.seconds, a_second=a_second)
        added = (proxied.quantile_ms(q) - direct.quantile_ms(q) for q in (0.5, 0.99, 1.0))
        table.add_row(*_whole(a_second, proxied.per_second), *(f"{figure:.2f}" for figure in added))
    return table


async def _streams(it: Measuring) -> Table:
    table = _table("Streams of 100 events", "connections", "direct/s", "proxied/s", "first event added p50 ms")
    for connections in STREAM_CONNECTIONS:
        direct = await measures.streams(it.direct, connections, it.seconds)
        proxied = await measures.streams(it.farthing, connections, it.seconds)
        added_ms = proxied.first_p50_ms - direct.first_p50_ms
        table.add_row(*_whole(connections, direct.per_second, proxied.per_second), f"{added_ms:.2f}")
    return table


async def _beside_large(it: Measuring) -> Table:
    title = f"Small calls beside {LARGE_A_SECOND} prompts of {LARGE_BYTES / 1e6:g} MB a second, ms"
    table = _table(title, "", "p50", "p99", "longest")
    for contender in (it.direct, it.farthing):
        for beside in (False, True):
            measured = await measures.small_calls(contender, it.seconds, beside_large=beside)
            name = f"{contender.name}, {'beside them' if beside else 'alone'}"
            table.add_row(name, *(f"{measured.quantile_ms(q):.2f}" for q in (0.5, 0.99, 1.0)))
    return table


def _told(equal: Equal) -> str:
    return (
        f"{measures.EQUAL_CALLS} equal calls at once: {equal.upstream_calls} upstream, everyone answered "
        f"{equal.answered_ms:.1f} ms after its answer"
    )


def _starts_s(upstream: Process, times: int) -> Iterable[float]:
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="farthing-bench-") as folder:
            prepared = prepared_gateway(Path(folder), upstream.port)
            began_s = time.perf_counter()
            with started(prepared) as gateway:
                yield wait_for_answer(farthing(gateway).now) - began_s


def _median(rates: Iterable[Rate]) -> Rate:
    """Each figure's own median."""
    columns = zip(*(msgspec.structs.astuple(rate) for rate in rates), strict=True)
    return Rate(*(median(column) for column in columns))


def _whole(*figures: float) -> list[str]:
    return [f"{figure:,.0f}" for figure in figures]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    main()
