"""What is told of the turns: medians over the rounds, as the Markdown that the README shows. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from benchmarks.peers.turns import A_SECOND, FEW, MANY, Figures
from benchmarks.processes import DELAY_MS

FAILED: Final = "fails"
NONE: Final = "-"
# (what a column tells, the figures in it, their decimals)
COLUMNS: Final = (
    (f"proxied/s, {FEW} connections", ("proxied",), 0),
    (f"{MANY} connections", ("proxied_many",), 0),
    ("CPU ms a call", ("cpu_ms",), 2),
    (f"added at {DELAY_MS} ms upstream, {FEW} connections, p50 / p99 ms", ("closed_p50_ms", "closed_p99_ms"), 1),
    (f"at {A_SECOND} calls/s, p50 / p99 ms", ("open_p50_ms", "open_p99_ms"), 1),
    ("hits/s", ("hits",), 0),
    ("100-event streams/s", ("streams",), 0),
    (f"first event added, {FEW} connections / alone, ms", ("first_ms", "first_alone_ms"), 1),
    ("60 equal calls: upstream", ("upstream_calls",), 0),
    ("memory at start / after, MB", ("idle_mb", "after_mb"), 0),
    ("first answer, s", ("start_s",), 1),
)
# What one gateway is compared with another by: (figure, whether more is better, what is told of it).
RATIOS: Final = (
    ("proxied", True, "calls"),
    ("proxied_many", True, f"calls at {MANY} connections"),
    ("hits", True, "hits"),
    ("streams", True, "streams"),
    ("cpu_ms", False, "the processor time of a call"),
)


def medians(turns: Sequence[Figures]) -> Figures:
    """Each figure's median over the turns in which it came out; None if it never did."""
    names = dict.fromkeys(name for turn in turns for name in turn)
    found: Figures = {}
    for name in names:
        values = [value for turn in turns if (value := turn.get(name)) is not None]
        found[name] = median(values) if values else None
    return found


def table(turns: Mapping[str, Sequence[Figures]], missing: Mapping[str, str]) -> list[str]:
    """A row a gateway, in the order of `turns`; then those that are missing, and why."""
    lines = [f"| | {' | '.join(name for name, _, _ in COLUMNS)} |", "| --- |" + " ---: |" * len(COLUMNS)]
    for name, of_gateway in turns.items():
        figures = medians(of_gateway)
        cells = [" / ".join(_told(figures, each, places) for each in names) for _, names, places in COLUMNS]
        lines.append(f"| {name} | {' | '.join(NONE if set(cell) <= set(f'{NONE}/ ') else cell for cell in cells)} |")
    return lines + [f"| {name} | not measured: {reason} |" for name, reason in missing.items()]


def ratios(turns: Mapping[str, Sequence[Figures]], first: str) -> list[str]:
    """The first gateway beside each other one: the median of the ratios of the turns of one round."""
    lines = []
    for name, others in turns.items():
        if name == first or not others:
            continue
        told = []
        for figure, more_is_better, of in RATIOS:
            pairs = [(own.get(figure), other.get(figure)) for own, other in zip(turns[first], others, strict=False)]
            found = [own / other for own, other in pairs if own is not None and other]
            if found:
                ratio = median(found)
                told.append(f"{ratio:.1f} times the {of}" if more_is_better else f"{ratio:.2f} of {of}")
        lines.append(f"- beside {name}: {', '.join(told)}")
    return lines


def _told(figures: Figures, name: str, places: int) -> str:
    if name not in figures:
        return NONE
    value = figures[name]
    return FAILED if value is None else f"{value:,.{places}f}"
