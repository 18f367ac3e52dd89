"""`python -m benchmarks.reports [postings]`: how long reports take over a long history, and what they cost a writer.

See `benchmarks.history` for what is in it.
"""

import asyncio
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.history import Span, make_history
from benchmarks.ledger import _client
from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.ledger import open_ledger, open_reports
from ledger.reports import LatencyQuery, SpendQuery

POSTINGS = 1_000_000
REPEATS = 5
SECONDS = 4.0
PAUSE_S = 0.2
CLIENTS = 16
TURNS = 3


async def time_reports(path: Path, of: Span) -> dict[str, float]:
    """{report: the median of its times in milliseconds}."""
    until_ms = of.until_ms
    since_ms, before_ms = of.began_ms + HOUR_MS // 2, until_ms - HOUR_MS // 2
    found: dict[str, float] = {}
    async with open_reports(f"sqlite:{path}") as reports:
        asked: dict[str, Callable[[], object]] = {
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
            times_ms = []
            for _ in range(REPEATS):
                began_s = time.perf_counter()
                await ask()  # type: ignore[misc]
                times_ms.append((time.perf_counter() - began_s) * 1000)
            found[name] = median(times_ms)
    return found


def read_on(path: str) -> None:
    """Ask for the report five times a second until ended, on the other core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    async def reading() -> None:
        async with open_reports(f"sqlite:{path}") as reports:
            while True:
                await reports.spend(SpendQuery(group_by=("model", "day")))
                await asyncio.sleep(PAUSE_S)

    uvloop.run(reading())


def time_writer(path: Path) -> list[tuple[float, float]]:
    """[(pairs a second alone, beside a reader)], in turns, because other things also happen on a machine."""
    numbers, found = itertools.count(), []
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


async def write_pairs(path: Path, numbers: Iterator[int]) -> float:
    """Admissions that were settled, a second."""
    latencies_ms: list[float] = []
    async with open_ledger(f"sqlite:{path}") as ledger:
        began_s = time.perf_counter()
        clients = (_client(ledger, numbers, began_s + SECONDS, latencies_ms) for _ in range(CLIENTS))
        await asyncio.gather(*clients)
        return len(latencies_ms) / 2 / (time.perf_counter() - began_s)


def main() -> None:
    """Make the history, ask for the reports, print the table."""
    postings = int(sys.argv[1]) if len(sys.argv) > 1 else POSTINGS
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db"
        span = asyncio.run(make_history(path, postings))
        table = Table("report", "ms", title=f"Reports over {postings:,} postings, {path.stat().st_size / 1e9:.1f} GB")
        for report, ms in asyncio.run(time_reports(path, span)).items():
            table.add_row(report, f"{ms:,.0f}")
        console.print(table)
        for alone, beside in time_writer(path):
            console.print(
                f"writer: {alone:,.0f} pairs/s alone, {beside:,.0f} beside a reader: {beside / alone - 1:+.0%}"
            )


if __name__ == "__main__":
    main()
