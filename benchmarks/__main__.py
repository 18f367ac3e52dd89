"""`make bench`: what Farthing costs beside the direct call, in one run. Takes about a minute and a half.

`--quick` takes one, and prints ratios beside the last recorded ones; with `--record` it records its own.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import quick
from benchmarks.load import Body, Measured, body, run_load
from benchmarks.processes import DELAY_MS, LOAD_CORE, Process, running_floor, running_gateway, running_upstream

SECONDS: Final = 3.0
WARM_UP_S: Final = 1.0
CONNECTIONS: Final = (1, 16, 64)


def main() -> None:
    """Run every load and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="ratios only, in a minute")
    parser.add_argument("--record", action="store_true", help="and record them")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {LOAD_CORE})
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))
        upstream = stack.enter_context(running_upstream())
        gateway = stack.enter_context(running_gateway(Path(folder), upstream.port))
        floor = stack.enter_context(running_floor(upstream.port))
        if asked.quick:
            uvloop.run(quick.look(gateway, upstream, floor, records=asked.record))
        else:
            uvloop.run(_measure(gateway, upstream, floor))


async def _measure(gateway: Process, upstream: Process, floor: Process) -> None:
    console = Console()
    idle_mb = gateway.rss_mb()
    console.print(await _throughput(gateway, upstream, floor))
    console.print(await _added_latency(gateway, upstream))
    console.print(await _streams(gateway, upstream))
    console.print(f"memory: {idle_mb:.0f} MB idle, {gateway.rss_mb():.0f} MB after the loads")


async def _throughput(gateway: Process, upstream: Process, floor: Process) -> Table:
    table = _table(
        "Throughput, requests/s", "connections", "direct", "floor", "proxied", "CPU µs/request", "hits", "CPU µs/hit"
    )
    for connections in CONNECTIONS:
        direct = await _load(upstream, "/v1/chat/completions", body("m"), connections)
        proxied, cpu_us = await _loaded(gateway, body("bench"), connections)
        hits, hit_us = await _loaded(gateway, body("bench", equal=True), connections)
        least = await _load(floor, "/v1/chat/completions", body("m"), connections)
        figures = (direct.per_second, least.per_second, proxied.per_second, cpu_us, hits.per_second, hit_us)
        table.add_row(str(connections), *(f"{figure:,.0f}" for figure in figures))
    return table


async def _added_latency(gateway: Process, upstream: Process) -> Table:
    table = _table(f"Added latency at {DELAY_MS} ms upstream, ms", "connections", "p50", "p99")
    for connections in CONNECTIONS:
        direct = await _load(upstream, f"/delay/{DELAY_MS}/v1/chat/completions", body("m"), connections)
        proxied = await _load(gateway, "/v1/chat/completions", body("slow"), connections)
        added = (proxied.quantile_ms(q) - direct.quantile_ms(q) for q in (0.5, 0.99))
        table.add_row(str(connections), *(f"{figure:.2f}" for figure in added))
    return table


async def _streams(gateway: Process, upstream: Process) -> Table:
    table = _table("Streams of 100 events", "connections", "direct/s", "proxied/s", "first event added p50 ms")
    for connections in CONNECTIONS[:2]:
        direct = await _load(upstream, "/v1/chat/completions", body("m", stream=True), connections)
        proxied = await _load(gateway, "/v1/chat/completions", body("bench", stream=True), connections)
        added_ms = proxied.first_quantile_ms(0.5) - direct.first_quantile_ms(0.5)
        table.add_row(str(connections), f"{direct.per_second:,.0f}", f"{proxied.per_second:,.0f}", f"{added_ms:.2f}")
    return table


async def _loaded(gateway: Process, make: Body, connections: int) -> tuple[Measured, float]:
    """A load on the gateway, and its processor time for each answer in microseconds."""
    before_s = gateway.cpu_s()
    measured = await _load(gateway, "/v1/chat/completions", make, connections, warm_up_s=0)
    return measured, (gateway.cpu_s() - before_s) / max(1, len(measured.latencies_ms)) * 1e6


async def _load(at: Process, path: str, make: Body, connections: int, *, warm_up_s: float = WARM_UP_S) -> Measured:
    if warm_up_s:
        await run_load("127.0.0.1", at.port, path, make, connections=connections, seconds=warm_up_s)
    measured = await run_load("127.0.0.1", at.port, path, make, connections=connections, seconds=SECONDS)
    if measured.failures:
        sys.stderr.write(f"{measured.failures} of {len(measured.latencies_ms)} calls failed\n")
    return measured


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    main()
