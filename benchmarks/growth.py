"""`python -m benchmarks.growth [FILE ...]`: what an admission and its settlement cost when the ledger has grown.

Over 10,000, 100,000 and 1,000,000 postings, and those of the ledgers given, which grow by it: `benchmarks.history`
makes one of 10,000,000 (9 GB, ten minutes). The ledgers take turns, so that what else happens on the machine happens to
all of them; the least of each counts.
"""

import asyncio
import itertools
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.history import make_history
from benchmarks.ledger import _client
from ledger.ledger import open_ledger

SIZES: Final = (10_000, 100_000, 1_000_000)
CLIENTS: Final = 64
SECONDS: Final = 1.5
TURNS: Final = 5


async def pairs(path: Path, numbers: Iterator[int], seconds: float) -> float:
    """Admissions that were settled, for so long: microseconds of CPU time each."""
    latencies_ms: list[float] = []
    async with open_ledger(f"sqlite:{path}") as ledger:
        cpu_s, ends_at_s = time.process_time(), time.perf_counter() + seconds
        await asyncio.gather(*(_client(ledger, numbers, ends_at_s, latencies_ms) for _ in range(CLIENTS)))
        cpu_s = time.process_time() - cpu_s
    return cpu_s / (len(latencies_ms) / 2) * 1e6


def main(arguments: list[str]) -> None:
    """Make the ledgers, let them take turns, print the table."""
    with tempfile.TemporaryDirectory() as name:
        paths = {size: Path(name) / f"{size}.db" for size in SIZES}
        for size, path in paths.items():
            uvloop.run(make_history(path, size))
        for given in map(Path, arguments):
            paths[count_postings(given)] = given
        Console().print(table(paths))


def table(paths: dict[int, Path]) -> Table:
    """Each of these ledgers, {postings: it}, in turns."""
    numbers = itertools.count(time.time_ns())  # Ids that no earlier run has used.
    costs: dict[int, list[float]] = {size: [] for size in paths}
    for _ in range(TURNS):
        for size, path in paths.items():
            costs[size].append(uvloop.run(pairs(path, numbers, SECONDS)))
    told = Table("postings", "GB", "CPU µs/pair", "ratio", title="Admit + settle as the ledger grows")
    least = {size: min(found) for size, found in costs.items()}
    for size, path in paths.items():
        gigabytes = f"{path.stat().st_size / 1e9:.2f}"
        told.add_row(f"{size:,}", gigabytes, f"{least[size]:,.0f}", f"{least[size] / least[SIZES[0]]:.2f}")
    return told


def count_postings(path: Path) -> int:
    """How many lines a ledger has."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT MAX(seq) FROM postings").fetchone()[0])


if __name__ == "__main__":
    main(sys.argv[1:])
