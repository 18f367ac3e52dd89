"""`python -m benchmarks.cores`: where one SQLite file stops, on machines with more cores than this one.

The service times that a model needs are measured here; the model is first held against one worker and two, which can
be measured, too, and then asked about more cores. Takes about a minute. `--times` takes those of another run instead.
"""

import argparse
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from benchmarks import measures
from benchmarks.__main__ import direct
from benchmarks.cores.measured import CONNECTIONS, ledger_times, times, workers_rate
from benchmarks.cores.model import Outcome, Times, limit_per_second, simulate
from benchmarks.processes import running_upstream, stay_on_load_core

SECONDS: Final = 5.0
CORES: Final = (1, 2, 4, 8, 16, 32)
CALLS: Final = 3000
SEED: Final = 1


def main() -> None:
    """Measure, simulate and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long each measurement lasts ({SECONDS:g})")
    parser.add_argument("--times", help="service times as JSON, as a run prints them, instead of measuring")
    asked = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    if asked.times:
        given = msgspec.json.decode(asked.times, type=Times)
    else:
        given, checks = _measured(asked.seconds)
        for line in checks:
            console.print(escape(line))
    console.print(f"service times, µs: {escape(msgspec.json.encode(given).decode())}\n")
    for line in table(given):
        console.print(escape(line))


def _measured(seconds: float) -> tuple[Times, list[str]]:
    """The service times, and how the model does where it can be checked."""
    stay_on_load_core()
    ledger = ledger_times(seconds)
    with running_upstream() as upstream:
        without = uvloop.run(measures.rate(direct(upstream), CONNECTIONS, seconds))
        rates = [workers_rate(upstream, workers, seconds) for workers in (1, 2)]
    given = times(ledger, *rates, direct=without)
    alone = msgspec.structs.replace(given, beside=0.0)  # With one worker, the load has the other core.
    lines = []
    for workers, rate, told in ((1, rates[0], alone), (2, rates[1], given)):
        said = _simulated(told, workers)
        lines.append(
            f"workers and cores, {workers}: measured {rate.per_second:,.0f}/s, the model says "
            f"{said.per_second:,.0f}/s ({said.per_second / rate.per_second - 1:+.0%})"
        )
    return alone, lines


def table(given: Times) -> list[str]:
    """What the model says of each number of cores. Pure."""
    lines = [
        "| cores, a worker each | calls/s | of one core's | turn taken | writes a commit | at most, calls/s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    first = _simulated(given, CORES[0]).per_second
    for cores in CORES:
        said = _simulated(given, cores)
        lines.append(
            f"| {cores} | {said.per_second:,.0f} | {said.per_second / first:.1f} | {said.turn_share:.0%} | "
            f"{said.batch:.1f} | {limit_per_second(given, cores):,.0f} |"
        )
    return lines


def _simulated(given: Times, workers: int) -> Outcome:
    return simulate(given, processes=workers, connections=CONNECTIONS, calls=CALLS * workers, seed=SEED)


if __name__ == "__main__":
    main()
