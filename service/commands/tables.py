"""Reports as tables and as CSV."""

import csv
import io
from typing import Any, Final

from rich.table import Table

_SPEND: Final = {
    "cost $": "cost_usd",
    "held": "held_nanousd",
    "saved": "saved_nanousd",
    "wasted": "wasted_nanousd",
    "calls": "generations",
    "attempts": "attempts",
    "hits": "cache_hits",
    "coalesced": "coalesced",
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
}
_LATENCY: Final = ("count", "errors", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")
_TTFT: Final = ("p50_ms", "p95_ms")


def spend_table(report: dict[str, Any]) -> Table:
    """The spend report, money in dollars, with its total last."""
    table = Table(*report["group_by"], title="spend", title_justify="left", show_footer=False)
    for heading in _SPEND:
        table.add_column(heading, justify="right")
    for row in report["rows"]:
        table.add_row(*(str(row[name]) for name in report["group_by"]), *_spend_cells(row))
    table.add_section()
    table.add_row(*_total_label(report), *_spend_cells(report["total"]), style="bold")
    return table


def latency_table(report: dict[str, Any]) -> Table:
    """The latency report in milliseconds, with its total last."""
    table = Table(*report["group_by"], title="latency, ms", title_justify="left")
    for heading in (*_LATENCY, *(f"ttft {name}" for name in _TTFT)):
        table.add_column(heading.removesuffix("_ms"), justify="right")
    for row in report["rows"]:
        table.add_row(*(str(row[name]) for name in report["group_by"]), *_latency_cells(row))
    table.add_section()
    table.add_row(*_total_label(report), *_latency_cells(report["total"]), style="bold")
    return table


def report_csv(report: dict[str, Any]) -> str:
    """The report's rows as CSV with a heading, one column a figure; without grouping, the total is the one row."""
    rows = [_flat(row) for row in report["rows"] or [report["total"]]]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


def _total_label(report: dict[str, Any]) -> list[str]:
    groups = report["group_by"]
    return ["total", *[""] * (len(groups) - 1)] if groups else []


def _spend_cells(row: dict[str, Any]) -> list[str]:
    return [_amount(name, row[name]) for name in _SPEND.values()]


def _amount(name: str, value: Any) -> str:
    if name == "cost_usd":
        return str(value)
    if name.endswith("_nanousd"):
        return f"{value / 1e9:,.6f}"
    return f"{value:,}"


def _latency_cells(row: dict[str, Any]) -> list[str]:
    values = [row[name] for name in _LATENCY] + [row["ttft"][name] for name in _TTFT]
    return ["-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" for value in values]
