"""`python -m benchmarks.reports [POSTINGS | FILE]`: what reports over a long history take, and cost a writer.

See `benchmarks.history` for what is in it; a FILE that it made grows by this. Processor time is told beside: on a
machine that others use it is what says something.
"""

import asyncio
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.history import Span, make_history, span_of
from benchmarks.ledger import _client
from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.errors import ReadingTooLong
from ledger.ledger import open_ledger, open_reports
from ledger.reports import LatencyQuery, SpendQuery

POSTINGS = 1_000_000
REPEATS = 5
SECONDS = 4.0
PAUSE_S = 0.2
CLIENTS = 16
TURNS = 5


async def time_reports(path: Path, of: Span) -> dict[str, tuple[float, float] | None]:
    """{report: the medians of its times in milliseconds, all and of processors}. None: it took too long."""
    until_ms = of.until_ms
    since_ms, before_ms = of.began_ms + HOUR_MS // 2, until_ms - HOUR_MS // 2
    found: dict[str, tuple[float, float] | None] = {}
    async with open_reports(f"sqlite:{path}") as reports:
        asked: dict[str, Callable[[], Awaitable[object]]] = {
            "spend by model and day": partial(reports.spend, SpendQuery(group_by=("model", "day"))),
            "the same, with half hours at its ends": partial(
                reports.spend, SpendQuery(group_by=("model", "day"), since_ms=since_ms, until_ms=before_ms)
            ),
            "spend by key and outcome": partial(reports.spend, SpendQuery(group_by=("key", "outcome"))),
            "spend by workflow": partial(reports.spend, SpendQuery(group_by=("workflow",))),
            "spend by user, of thousands": partial(reports.spend, SpendQuery(group_by=("user",))),
            "spend of the last day by hour": partial(
                reports.spend, SpendQuery(group_by=("hour",), since_ms=until_ms - DAY_MS)
            ),
            "latency by model": partial(reports.latency, LatencyQuery(group_by=("model",))),
            "latency of the last day by hour": partial(
                reports.latency, LatencyQuery(group_by=("hour",), since_ms=until_ms - DAY_MS)
            ),
        }
        for name, ask in asked.items():
            found[name] = await _time(ask)
    return found


async def _time(ask: Callable[[], Awaitable[object]]) -> tuple[float, float] | None:
    times_ms, cpu_ms = [], []
    for _ in range(REPEATS):
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            await ask()
        except ReadingTooLong:
            return None
        times_ms.append((time.perf_counter() - began_s) * 1000)
        cpu_ms.append((time.process_time() - began_cpu_s) * 1000)
    return median(times_ms), median(cpu_ms)


def read_on(path: str) -> None:
    """Ask for the report five times a second until ended, on the other core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    async def reading() -> None:
        async with open_reports(f"sqlite:{path}") as reports:
            while True:
                await reports.spend(SpendQuery(group_by=("model", "day")))
                await asyncio.sleep(PAUSE_S)

    uvloop.run(reading())


class Written(msgspec.Struct, frozen=True):
    """Admissions that were settled, a second; the processor time of each, and how long one waited, in microseconds."""

    per_second: float
    cpu_us: float
    waited_us: float


def time_writer(path: Path) -> list[tuple[Written, Written]]:
    """[(pairs alone, beside a reader)], in turns, because other things also happen on a machine."""
    numbers, found = itertools.count(time.time_ns()), []  # Ids that no earlier run has used.
    for _ in range(TURNS):
        alone = uvloop.run(write_pairs(path, numbers))
        reader = multiprocessing.get_context("spawn").Process(target=read_on, args=(str(path),))
        reader.start()
        try:
            found.append((alone, uvloop.run(write_pairs(path, numbers))))
        finally:
            reader.terminate()
            reader.join()
    return found


async def write_pairs(path: Path, numbers: Iterator[int]) -> Written:
    """Let the clients write for a while."""
    latencies_ms: list[float] = []
    async with open_ledger(f"sqlite:{path}") as ledger:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        clients = (_client(ledger, numbers, began_s + SECONDS, latencies_ms) for _ in range(CLIENTS))
        await asyncio.gather(*clients)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    pairs = len(latencies_ms) / 2
    return Written(pairs / took_s, cpu_s / pairs * 1e6, sum(latencies_ms) / pairs * 1000)


def main() -> None:
    """Make the history, ask for the reports, print the tables."""
    given = sys.argv[1] if len(sys.argv) > 1 else f"{POSTINGS}"
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db" if given.isdigit() else Path(given)
        if given.isdigit():
            asyncio.run(make_history(path, int(given)))
        table = Table("report", "ms", "CPU ms", title=f"Reports over a ledger of {path.stat().st_size / 1e9:.1f} GB")
        for report, times_ms in asyncio.run(time_reports(path, span_of(path))).items():
            table.add_row(report, *(("stopped", "") if times_ms is None else (f"{ms:,.0f}" for ms in times_ms)))
        console.print(table)
        console.print(beside(time_writer(path)))


def beside(turns: list[tuple[Written, Written]]) -> Table:
    """What readers cost the writer: the median of the turns."""
    table = Table(
        "pairs", "alone", "beside a reader", "more", title="The writer, and one who reads five times a second"
    )
    for name, figure in (("CPU µs", "cpu_us"), ("waited µs", "waited_us"), ("per second", "per_second")):
        told = [(getattr(alone, figure), getattr(both, figure)) for alone, both in turns]
        more = median(both / alone - 1 for alone, both in told)
        table.add_row(name, f"{median(a for a, _ in told):,.0f}", f"{median(b for _, b in told):,.0f}", f"{more:+.1%}")
    return table


if __name__ == "__main__":
    main()
