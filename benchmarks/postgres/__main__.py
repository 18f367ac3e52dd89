"""`python -m benchmarks.postgres`: holds and pairs a second on PostgreSQL, by 1 to 3 replicas, and where they stop.

The server, the replicas and their clients share the machine's cores. Fsync is on. Takes about two minutes.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from benchmarks import measures
from benchmarks.__main__ import direct
from benchmarks.cores.__main__ import CALLS, CORES, SEED
from benchmarks.cores.measured import CONNECTIONS, ledger_times, times, workers_rate
from benchmarks.cores.model import Times, limit_per_second, simulate
from benchmarks.postgres.replica import Turn
from benchmarks.postgres.replicas import Figures, figures
from benchmarks.postgres.server import Server, running
from benchmarks.processes import running_upstream
from ledger.postgres.store import PostgresWriter

SECONDS: Final = 4.0
HOLDING: Final = (1, 16, 64)
# Replicas, clients of each, and `slice_above_per_s`: every ceiling here is one hot ceiling.
PAIRING: Final = ((1, 1, 0), (1, 16, 0), (1, 64, 0), (2, 64, 0), (3, 64, 0), (1, 64, 10), (2, 64, 10), (3, 64, 10))


def main() -> None:
    """Measure, simulate and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long each measurement lasts ({SECONDS:g})")
    parser.add_argument("--no-model", action="store_true", help="measure the ledger alone")
    asked = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="farthing-bench-postgres-") as folder:
        Path(folder).chmod(0o755)  # The server may have to run as another user.
        with running(Path(folder) / "data") as server:
            _holds(server, asked.seconds, console)
            turns = _pairs(server, asked.seconds, console)
    if asked.no_model:
        return
    ours, theirs = _given(turns, asked.seconds)
    console.print(f"\nservice times on PostgreSQL, µs: {escape(msgspec.json.encode(ours).decode())}\n")
    for line in table(ours, theirs):
        console.print(line)


def _holds(server: Server, seconds: float, console: Console) -> None:
    columns = ("clients", "holds/s", "writes a commit", "turn, ms", "p50, ms", "p99, ms")
    console.print("Admissions alone, one replica:\n")
    _print_row(console, columns, is_head=True)
    for clients in HOLDING:
        one = figures(server, f"holds_{clients}", replicas=1, clients=clients, seconds=seconds, kind="holds")
        _print_row(console, (f"{clients}", f"{one.per_second:,.0f}", *_turns(one)))


def _pairs(server: Server, seconds: float, console: Console) -> list[Turn]:
    """Returns the turns of one replica alone."""
    columns = (
        "replicas", "clients each", "slices", "pairs/s", "CPU µs a pair", "the server's", "writes a commit",
        "turn, ms", "p50, ms", "p99, ms",
    )  # fmt: skip
    console.print("\nAdmissions and settlements; latencies of admissions:\n")
    _print_row(console, columns, is_head=True)
    alone: list[Turn] = []
    for replicas, clients, slices in PAIRING:
        name = f"pairs_{replicas}_{clients}_{slices}"
        one = figures(server, name, replicas=replicas, clients=clients, seconds=seconds, kind="pairs", slices=slices)
        spent = (f"{one.cpu_us:,.0f}", f"{one.server_cpu_us:,.0f}")
        load = (f"{replicas}", f"{clients}", "yes" if slices else "no")
        _print_row(console, (*load, f"{one.per_second:,.0f}", *spent, *_turns(one)))
        alone += one.turns if replicas == 1 and not slices else ()
    return alone


def _print_row(console: Console, cells: Sequence[str], *, is_head: bool = False) -> None:
    console.print(f"| {' | '.join(cells)} |")
    if is_head:
        console.print(f"|{' ---: |' * len(cells)}")


def _turns(one: Figures) -> tuple[str, ...]:
    latencies = (f"{one.quantile_ms(0.5):.1f}", f"{one.quantile_ms(0.99):.1f}")
    return f"{one.writes_a_batch:.1f}", f"{one.held_us / 1000:.2f}", *latencies


def _given(turns: Sequence[Turn], seconds: float) -> tuple[Times, Times]:
    """Service times of the whole service on PostgreSQL, and on a file. A write's are those of its turn's."""
    ledger = ledger_times(seconds)
    with running_upstream() as upstream:
        without = uvloop.run(measures.rate(direct(upstream), CONNECTIONS, seconds))
        rates = [workers_rate(upstream, workers, seconds) for workers in (1, 2)]
    on_file = msgspec.structs.replace(times(ledger, *rates, direct=without), beside=0.0)
    return server_times(on_file, turns), on_file


def server_times(on_file: Times, turns: Sequence[Turn]) -> Times:
    """What the model is given of a server: the calls' own work as on a file, the writes' times by these turns. Pure.

    A turn is a fixed time, its commit included, and so much for each write; a part of that is the replica's own work.
    """
    fixed_s, each_s = _line([(turn.writes, turn.held_s) for turn in turns])
    _, own_s = _line([(turn.writes, turn.cpu_s) for turn in turns])
    came_s = sorted(turn.came_s for turn in turns)[len(turns) // 2]
    return msgspec.structs.replace(
        on_file,
        write=own_s * 1e6,
        shared_write=own_s * 1e6,
        away=max(0.0, each_s - own_s) * 1e6,
        commit=max(0.0, fixed_s) * 1e6,
        turn=came_s * 1e6,
        batch_limit=PostgresWriter.batch_limit,
    )


def table(ours: Times, theirs: Times) -> list[str]:
    """What the model says of each number of replicas, a core each, beside as many workers on a file. Pure."""
    lines = [
        "| replicas, workers | PostgreSQL, calls/s | turn taken | at most | with slices | turn taken | at most "
        "| one file, calls/s | turn taken | at most |",
        f"|{' ---: |' * 10}",
    ]
    for count in CORES:
        cells = []
        for given in (ours, msgspec.structs.replace(ours, beside_turn=True), theirs):
            said = simulate(given, processes=count, connections=CONNECTIONS, calls=CALLS * count, seed=SEED)
            cells.append(f"{said.per_second:,.0f} | {said.turn_share:.0%} | {limit_per_second(given, count):,.0f}")
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return lines


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(where it begins, how steep it is): the straight line that is nearest to these points. Pure."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    steep = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y - steep * mean_x, steep


if __name__ == "__main__":
    main()
