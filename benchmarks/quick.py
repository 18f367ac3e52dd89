"""`python -m benchmarks --quick`: what a call costs beside the floor and the direct call, now and when recorded.

A machine is busy now and idle then, so what is told are ratios of neighbours in time: each round runs every load for
a second, and the median of the rounds counts. Rates are shares of the direct call's; where others use the machine, the
two cores of a run are not equally busy, and so a fall of these is shown and no more. Processor time is told as the
floor's beside a call's, and a fall by much is a warning.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.load import Body, body, run_load
from benchmarks.processes import Process

RECORDED: Final = Path(__file__).with_name("recorded.json")
CONNECTIONS: Final = 16
ROUNDS: Final = 7
SLICE_S: Final = 1.0
WARM_UP_S: Final = 1.5
# A smaller fall is this much noise on a machine that others use, too.
FALL_THAT_WARNS: Final = 0.25
CPU: Final = "CPU: "


class Load(msgspec.Struct, frozen=True):
    """One load of a round."""

    name: str
    at: Process
    make: Body


class Slice(msgspec.Struct, frozen=True):
    """What one load came to. cpu_s: of the process that answered, for each answer."""

    per_second: float
    cpu_s: float


async def measure(gateway: Process, upstream: Process, floor: Process) -> dict[str, float]:
    """{what is told: its ratio, the median over the rounds}. All are the better the larger."""
    loads = (
        Load("direct", upstream, body("m")),
        Load("floor", floor, body("m")),
        Load("misses", gateway, body("bench")),
        Load("hits", gateway, body("bench", equal=True)),
        Load("direct streams", upstream, body("m", stream=True)),
        Load("streams", gateway, body("bench", stream=True)),
    )
    for load in loads:
        await _run(load, WARM_UP_S)
    return ratios([{load.name: await _run(load, SLICE_S) for load in loads} for _ in range(ROUNDS)])


def ratios(rounds: Sequence[Mapping[str, Slice]]) -> dict[str, float]:
    """See `measure`. rounds: {load: what it came to} of each. Pure."""
    rates = (("misses", "direct"), ("hits", "direct"), ("streams", "direct streams"), ("misses", "floor"))
    told = {
        f"rate: {name} / {of}": statistics.median(it[name].per_second / it[of].per_second for it in rounds)
        for name, of in rates
    }
    calls = {"a miss": "misses", "a hit": "hits", "a stream": "streams"}
    costs = {
        f"{CPU}the floor's / {call}": statistics.median(it["floor"].cpu_s / it[name].cpu_s for it in rounds)
        for call, name in calls.items()
    }
    return told | costs


def compared(found: Mapping[str, float], recorded: Mapping[str, float]) -> tuple[Table, list[str]]:
    """The ratios beside those that were recorded, and a warning for each of CPU that fell by much. Pure."""
    table = Table("ratio", "now", "recorded", "change", title=f"Quick look, at {CONNECTIONS} connections")
    warnings = []
    for name, now in found.items():
        before = recorded.get(name)
        change = None if not before else now / before - 1
        told = ("-", "-") if before is None or change is None else (f"{before:.4f}", f"{change:+.0%}")
        table.add_row(name, f"{now:.4f}", *told)
        if change is not None and change < -FALL_THAT_WARNS and name.startswith(CPU):
            warnings.append(f"warning: {name} fell from {before:.4f} to {now:.4f} ({change:+.0%})")
    return table, warnings


async def look(gateway: Process, upstream: Process, floor: Process, *, records: bool) -> None:
    """Print the table and its warnings. records: write the ratios down for the next time."""
    found = await measure(gateway, upstream, floor)
    console = Console()
    table, warnings = compared(found, read_recorded())
    console.print(table)
    for warning in warnings:
        console.print(warning, style="yellow")
    if records:
        RECORDED.write_bytes(
            msgspec.json.format(msgspec.json.encode({k: round(v, 4) for k, v in found.items()})) + b"\n"
        )


def read_recorded() -> dict[str, float]:
    """What was recorded last; nothing before the first time."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=dict[str, float]) if RECORDED.exists() else {}


async def _run(load: Load, seconds: float) -> Slice:
    before_s = load.at.cpu_s()
    measured = await run_load(load.at.target(), load.make, connections=CONNECTIONS, seconds=seconds)
    return Slice(measured.per_second, (load.at.cpu_s() - before_s) / max(1, len(measured.latencies_ms)))
