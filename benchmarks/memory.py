"""`python -m benchmarks.memory`: what Farthing keeps in memory: idle, after 100,000 calls, and after as many again.

Calls that all differ, at 16 connections, on one core. What grows by the call shows in the second half, when caches and
pools have filled: its slope is told in bytes a call, by least squares over the samples. `--calls` makes it shorter.
Takes as long as twice so many calls take: some minutes.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import body, run_load
from benchmarks.processes import Process, running_gateway, running_upstream, stay_on_load_core, wait_for_answer

CALLS: Final = 100_000
CONNECTIONS: Final = 16
SLICE_S: Final = 2.0
# What it does by itself after its start, it has done by then.
SETTLED_S: Final = 5.0
GOAL_IDLE_MB: Final = 150
GOAL_LOADED_MB: Final = 300

# (calls so far, resident MB)
Sample = tuple[int, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"how many calls, twice ({CALLS:,})")
    asked = parser.parse_args()
    stay_on_load_core()
    with (
        tempfile.TemporaryDirectory(prefix="farthing-bench-") as folder,
        running_upstream() as upstream,
        running_gateway(Path(folder), upstream.port) as gateway,
    ):
        first, second = uvloop.run(_measure(gateway, asked.calls))
    Console(width=120).print(told(first, second))


async def _measure(gateway: Process, calls: int) -> tuple[list[Sample], list[Sample]]:
    """Samples of the first so many calls, the first of them idle, and of as many again."""
    wait_for_answer(gateway.target("bench"))
    await asyncio.sleep(SETTLED_S)
    first: list[Sample] = [(0, gateway.rss_mb())]
    await _sample(gateway, first, until=calls)
    second = first[-1:]
    await _sample(gateway, second, until=second[0][0] + calls)
    return first, second


async def _sample(gateway: Process, samples: list[Sample], *, until: int) -> None:
    done, make = samples[-1][0], body("bench")
    while done < until:
        measured = await run_load(gateway.target(), make, connections=CONNECTIONS, seconds=SLICE_S)
        assert not measured.failures, "calls failed"
        done += len(measured.latencies_ms)
        samples.append((done, gateway.rss_mb()))
        sys.stderr.write(f"{done:,} calls: {samples[-1][1]:.0f} MB\n")


def slope_bytes(samples: Sequence[Sample]) -> float:
    """By how many bytes memory grows with each call: the slope of the line with the least squares. Pure."""
    count = len(samples)
    mean_calls, mean_mb = sum(calls for calls, _ in samples) / count, sum(mb for _, mb in samples) / count
    spread = sum((calls - mean_calls) ** 2 for calls, _ in samples)
    shared = sum((calls - mean_calls) * (mb - mean_mb) for calls, mb in samples)
    return shared / spread * 1e6 if spread else 0.0


def told(first: Sequence[Sample], second: Sequence[Sample]) -> Table:
    """What the samples come to. Pure."""
    table = Table(title="Resident memory, MB")
    for column in ("", "MB", "goal"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("idle", f"{first[0][1]:.0f}", f"at most {GOAL_IDLE_MB}")
    table.add_row(f"after {first[-1][0]:,} calls", f"{first[-1][1]:.0f}", f"at most {GOAL_LOADED_MB}")
    table.add_row(f"after {second[-1][0]:,} calls", f"{second[-1][1]:.0f}", "no more")
    table.add_row("growth over the second half, bytes a call", f"{slope_bytes(second):,.0f}", "0")
    return table


if __name__ == "__main__":
    main()
