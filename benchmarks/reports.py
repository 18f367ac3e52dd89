"""`python -m benchmarks.reports [POSTINGS | FILE]`: what reports over a long history take, and cost a writer.

See `benchmarks.history` for what is in it; a FILE that it made grows by this. Processor time is told beside: on a
machine that others use it is what says something. Writer and reader have a core each, for otherwise a reader takes what
the writer's threads used before; and what two busy cores cost each other, whatever they do, is told by a reader of a
copy: the rest is ours. `--writer`: that table alone, in a minute and a half and the history.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
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
STARTED_WITHIN_S = 60.0
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
            "spend of one user by workflow": partial(
                reports.spend, SpendQuery(group_by=("workflow",), filters={"user": "user-7"})
            ),
            "spend by user and workflow": partial(reports.spend, SpendQuery(group_by=("user", "workflow"))),
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


class Written(msgspec.Struct, frozen=True):
    """Admissions that were settled, a second; the processor time of each, and how long one waited, in microseconds."""

    per_second: float
    cpu_us: float
    waited_us: float


class Turn(msgspec.Struct, frozen=True):
    """What was written with nobody beside, beside a reader of a copy, and beside a reader of the same ledger."""

    alone: Written
    elsewhere: Written
    beside: Written


def time_writer(path: Path, copy: Path) -> list[Turn]:
    """In turns, because other things also happen on a machine."""
    cores = os.sched_getaffinity(0)
    numbers = itertools.count(time.time_ns())  # Ids that no earlier run has used.

    def write() -> Written:
        return uvloop.run(write_pairs(path, numbers))

    os.sched_setaffinity(0, {min(cores)})  # Of the threads that are begun from now on, too.
    try:
        turns = []
        for _ in range(TURNS):
            alone = write()
            with reading(copy, max(cores)):
                elsewhere = write()
            with reading(path, max(cores)):
                turns.append(Turn(alone, elsewhere, write()))
        return turns
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def reading(path: Path, core: int) -> Iterator[None]:
    """A process that asks for a report five times a second, and has asked for the first."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    reader = multiprocessing.get_context("spawn").Process(target=read_on, args=(str(path), core, theirs))
    reader.start()
    try:
        assert ours.poll(STARTED_WITHIN_S), "the reader did not begin"
        yield
        assert reader.is_alive(), "the reader ended"
    finally:
        reader.terminate()
        reader.join()


def read_on(path: str, core: int, begun: Connection) -> None:
    """Ask for the report until ended. Tells when the first is there."""
    os.sched_setaffinity(0, {core})

    async def asking() -> None:
        async with open_reports(f"sqlite:{path}") as reports:
            for asked in itertools.count(1):
                await reports.spend(SpendQuery(group_by=("model", "day")))
                if asked == 1:
                    begun.send(asked)
                await asyncio.sleep(PAUSE_S)

    uvloop.run(asking())


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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports")
    parser.add_argument("given", nargs="?", default=f"{POSTINGS}", metavar="POSTINGS | FILE")
    parser.add_argument("--writer", action="store_true", help="only what a reader costs the writer")
    asked = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db" if asked.given.isdigit() else Path(asked.given)
        if asked.given.isdigit():
            asyncio.run(make_history(path, int(asked.given)))
        if not asked.writer:
            console.print(told(asyncio.run(time_reports(path, span_of(path))), path))
        if len(os.sched_getaffinity(0)) == 1:
            console.print("On one core there is no saying what a reader costs.")
            return
        copy = Path(name) / "copy.db"
        shutil.copy(path, copy)
        console.print(beside(time_writer(path, copy)))


def told(times_ms: dict[str, tuple[float, float] | None], path: Path) -> Table:
    """What each report took."""
    table = Table("report", "ms", "CPU ms", title=f"Reports over a ledger of {path.stat().st_size / 1e9:.1f} GB")
    for report, took_ms in times_ms.items():
        table.add_row(report, *(("stopped", "") if took_ms is None else (f"{ms:,.0f}" for ms in took_ms)))
    return table


def beside(turns: list[Turn]) -> Table:
    """What readers cost the writer: medians of the turns. ours: beside a reader of its ledger, more than of a copy."""
    table = Table(
        "pairs", "alone", "a reader of a copy", "a reader of it", "more than alone", "ours",
        title="The writer, and one who reads five times a second",
    )  # fmt: skip
    for name, figure in (("CPU µs", "cpu_us"), ("waited µs", "waited_us"), ("per second", "per_second")):
        rows = [[getattr(it, figure) for it in (turn.alone, turn.elsewhere, turn.beside)] for turn in turns]
        medians = (f"{median(row[place] for row in rows):,.0f}" for place in range(3))
        more, ours = (median(row[2] / row[place] - 1 for row in rows) for place in (0, 1))
        table.add_row(name, *medians, f"{more:+.1%}", f"{ours:+.1%}")
    return table


if __name__ == "__main__":
    main()
