"""`python -m benchmarks --quick`: ratios to the direct call, beside the last recorded ones, in a minute.

A machine is busy now and idle then, so rates say little and ratios of neighbours in time much: each round runs every
load for a second, and the median of the rounds' ratios is told. A fall is a warning: another machine has other ratios.
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
CHAT: Final = "/v1/chat/completions"


class Load(msgspec.Struct, frozen=True):
    """One load of a round. of: the load whose rate its own is told as a share of; empty: it is such a load."""

    name: str
    at: Process
    make: Body
    of: str = ""


async def measure(gateway: Process, upstream: Process, floor: Process) -> dict[str, float]:
    """{a load as a share of another: the median over the rounds}."""
    loads = (
        Load("direct", upstream, body("m")),
        Load("floor", floor, body("m"), of="direct"),
        Load("proxied", gateway, body("bench"), of="direct"),
        Load("hits", gateway, body("bench", equal=True), of="direct"),
        Load("direct streams", upstream, body("m", stream=True)),
        Load("streams", gateway, body("bench", stream=True), of="direct streams"),
    )
    rounds = [
        {load.name: await _rate(load, SLICE_S if number else WARM_UP_S) for load in loads} for number in _rounds()
    ]
    pairs = [(load.name, load.of) for load in loads if load.of] + [("proxied", "floor")]
    return {f"{name} / {of}": _median([rates[name] / rates[of] for rates in rounds[1:]]) for name, of in pairs}


def compared(ratios: Mapping[str, float], recorded: Mapping[str, float]) -> tuple[Table, list[str]]:
    """The ratios beside those that were recorded, and a warning for each that fell by much. Pure."""
    table = Table("share", "now", "recorded", "change", title="Quick look: rates at 16 connections, as shares")
    warnings = []
    for name, now in ratios.items():
        before = recorded.get(name)
        change = None if not before else now / before - 1
        told = ("-", "-") if before is None or change is None else (f"{before:.4f}", f"{change:+.0%}")
        table.add_row(name, f"{now:.4f}", *told)
        if change is not None and change < -FALL_THAT_WARNS:
            warnings.append(f"warning: {name} fell from {before:.4f} to {now:.4f} ({change:+.0%})")
    return table, warnings


async def look(gateway: Process, upstream: Process, floor: Process, *, records: bool) -> None:
    """Print the table and its warnings. records: write the ratios down for the next time."""
    ratios = await measure(gateway, upstream, floor)
    console = Console()
    table, warnings = compared(ratios, read_recorded())
    console.print(table)
    for warning in warnings:
        console.print(warning, style="yellow")
    if records:
        RECORDED.write_bytes(
            msgspec.json.format(msgspec.json.encode({k: round(v, 4) for k, v in ratios.items()})) + b"\n"
        )


def read_recorded() -> dict[str, float]:
    """What was recorded last; nothing before the first time."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=dict[str, float]) if RECORDED.exists() else {}


def _rounds() -> range:
    return range(ROUNDS + 1)


async def _rate(load: Load, seconds: float) -> float:
    return (
        await run_load("127.0.0.1", load.at.port, CHAT, load.make, connections=CONNECTIONS, seconds=seconds)
    ).per_second


def _median(ratios: Sequence[float]) -> float:
    return statistics.median(ratios)
