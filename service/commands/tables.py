"""Reports as tables and as CSV."""

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ledger.money import format_usd

Row = Mapping[str, Any]
Cell = Callable[[Row], str]


class Sparks(NamedTuple):
    """A line for each row, under its heading. line: by the values of the report's group_by; None: all rows together."""

    heading: str
    line: Callable[[tuple[str, ...] | None], str]


# Output that is piped is not cut to the width of a terminal that is not there.
PIPED_WIDTH: Final = 400
# Beside a column's own characters: a blank on either side, and one that rich keeps.
COLUMN_EXTRA: Final = 3
CLOSE_EXTRA: Final = 2
# Names are folded to this, before there is no table.
LEAST_NAME: Final = 8


def plain_console() -> Console:
    """Standard output, where a name from a config, a caller or a provider is never taken for markup or an emoji."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, emoji=False, highlight=False)


def spend_table(report: dict[str, Any], sparks: Sparks | None = None) -> Table:
    """The spend report, money in dollars to the last place, with its total last. What is zero throughout has no column.

    Names are folded where they do not fit, figures never: see `on_width`.
    """
    every_row = [*report["rows"], report["total"]]
    shown = {name: cell for name, cell in _SPEND.items() if name in _ALWAYS or any(map(_is_not_zero(name), every_row))}
    return _table("spend", report, {_HEADINGS.get(name, name): cell for name, cell in shown.items()}, sparks)


def latency_table(report: dict[str, Any], sparks: Sparks | None = None) -> Table:
    """The latency report in milliseconds, with its total last. A dash where nothing was measured."""
    return _table("latency, ms", report, _LATENCY, sparks)


def on_width(table: Table, width: int) -> Table:
    """The table, closer where it must be; or, where its figures would be broken, row by row, each on its own line.

    What is marked `no_wrap` is not broken either.
    """
    cells = [list(column.cells) for column in table.columns]
    needed = sum(map(_least_width, table.columns, cells))
    is_close = needed + COLUMN_EXTRA * len(cells) > width
    if is_close and needed + CLOSE_EXTRA * len(cells) > width:
        return _row_by_row(table, cells)
    table.collapse_padding, table.pad_edge = is_close, not is_close
    for column in table.columns:
        column.no_wrap = _is_whole(column)
    return table


def _least_width(column: Column, cells: Sequence[Any]) -> int:
    longest = max(len(str(cell)) for cell in (column.header, *cells))
    return longest if _is_whole(column) else min(longest, LEAST_NAME)


def _row_by_row(table: Table, cells: Sequence[Sequence[Any]]) -> Table:
    lines = Table(
        Column(overflow="fold"),
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
    )
    lines.padding, lines.pad_edge = 0, False
    for row in zip(*cells, strict=True):
        told = [(column, str(cell)) for column, cell in zip(table.columns, row, strict=True) if str(cell)]
        lines.add_row(Text(", ".join(cell for column, cell in told if not _is_figure(column)), style="bold"))
        for column, cell in told:
            if _is_figure(column):
                lines.add_row(f" {column.header} {cell}")
    return lines


def _is_figure(column: Column) -> bool:
    return column.justify == "right"


def _is_whole(column: Column) -> bool:
    return column.no_wrap or _is_figure(column)


def report_csv(report: dict[str, Any]) -> str:
    """The report's rows under a heading, one column a figure; without grouping, the total is the one row.

    Figures are as in the JSON, dots for decimals. Names that callers chose are as they chose them: a spreadsheet may
    take one that begins with "=" for a formula.
    """
    rows = [_flat(row) for row in (report["rows"] if report["group_by"] else [report["total"]])]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else _columns(report), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _table(title: str, report: dict[str, Any], columns: Mapping[str, Cell], sparks: Sparks | None) -> Table:
    groups: list[str] = report["group_by"]
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE)
    for name in groups:
        table.add_column(name, overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", overflow="fold")
    if sparks is not None:
        table.add_column(sparks.heading, no_wrap=True)
    for row in report["rows"]:
        line = () if sparks is None else (sparks.line(tuple(row[name] for name in groups)),)
        table.add_row(*(_name(row[name]) for name in groups), *(cell(row) for cell in columns.values()), *line)
    table.add_section()
    label = ["total", *[""] * (len(groups) - 1)] if groups else []
    line = () if sparks is None else (sparks.line(None),)
    table.add_row(*label, *(cell(report["total"]) for cell in columns.values()), *line, style="bold")
    return table


def _name(value: object) -> Text:
    """Callers choose some of the names: none of them is markup, and none speaks to the terminal."""
    return Text(printable("-" if value is None or value == "" else str(value)))


def printable(text: str) -> str:
    """What a terminal shows and does not obey: other characters as their codes."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _columns(report: dict[str, Any]) -> list[str]:
    """The columns that rows would have, if there were any."""
    return [*report["group_by"], *(name for name in _flat(report.get("total", {})) if name != "refused")]


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


def _is_not_zero(name: str) -> Callable[[Row], bool]:
    return lambda row: row[name] != 0


def _money(name: str) -> Cell:
    def shown(row: Row) -> str:
        dollars, _, places = format_usd(abs(row[name])).partition(".")
        return f"{'-' if row[name] < 0 else ''}{int(dollars):,}.{places}"

    return shown


def _count(name: str) -> Cell:
    return lambda row: f"{row[name]:,}"


def _span(name: str) -> Cell:
    return lambda row: "-" if row[name] is None else f"{row[name]:,.1f}"


def _first_output(name: str) -> Cell:
    return lambda row: _span(name)(row["ttft"])


_SPEND: Final[dict[str, Cell]] = {
    "cost_nanousd": _money("cost_nanousd"),
    "held_nanousd": _money("held_nanousd"),
    "saved_nanousd": _money("saved_nanousd"),
    "wasted_nanousd": _money("wasted_nanousd"),
    "generations": _count("generations"),
    "attempts": _count("attempts"),
    "cache_hits": _count("cache_hits"),
    "coalesced": _count("coalesced"),
    "prompt_tokens": _count("prompt_tokens"),
    "completion_tokens": _count("completion_tokens"),
}
_ALWAYS: Final = frozenset({"cost_nanousd", "generations", "prompt_tokens", "completion_tokens"})
_HEADINGS: Final = {
    "cost_nanousd": "cost $",
    "held_nanousd": "held $",
    "saved_nanousd": "saved $",
    "wasted_nanousd": "wasted $",
    "generations": "calls",
    "cache_hits": "hits",
    "prompt_tokens": "prompt",
    "completion_tokens": "completion",
}
_LATENCY: Final[dict[str, Cell]] = {
    "count": _count("count"),
    "errors": _count("errors"),
    **{name: _span(f"{name}_ms") for name in ("mean", "p50", "p90", "p95", "p99", "max")},
    **{f"ttft {name}": _first_output(f"{name}_ms") for name in ("p50", "p95")},
}
