"""`python -m benchmarks.size`: what a call takes on disk, what is left of it once folded, and what a year comes to.

By table, of three days of `benchmarks.history`. Detail grows by the call; sums by the hour, whatever happens in it.
Stored answers are apart: the cache has a bound of its own.
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.history import A_DAY, make_history, span_of
from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.upkeep import prune_ledger

DAYS: Final = 3
CALLS_A_SECOND: Final = 10
KEPT_DAYS: Final = 30
_SECONDS_A_DAY: Final = 86_400
_YEAR_DAYS: Final = 365
# What grows by the hour; all else grows by the call.
SUMS: Final = frozenset({"spend_hours", "spend_hours_by_name", "latency_buckets", "latency_days"})
# Kept for good; sums by name are folded with their detail.
KEPT: Final = SUMS - {"spend_hours_by_name"}


def sizes(path: Path) -> dict[str, int]:
    """{table or index: its bytes in the file}."""
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC").fetchall())


def main() -> None:
    """Make the history, fold all but its last day, print what it took and takes."""
    console = Console()
    calls = DAYS * A_DAY
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        asyncio.run(make_history(path, calls))
        before, span = sizes(path), span_of(path)
        fold_ms = span.until_ms - DAY_MS
        prune_ledger(f"sqlite:{path}", fold_ms, now_ms=span.until_ms + DAY_MS, on_step=lambda _: None)
        after = sizes(path)
    table = Table("", "bytes a call", "bytes an hour", "folded, a call", title=f"{calls:,} calls")
    hours = (span.until_ms - span.began_ms) / HOUR_MS
    for name, size in before.items():
        if size / calls >= 1:
            left = (after.get(name, 0) - size / DAYS) / (calls - calls / DAYS)
            shown = ("", f"{size / hours:,.0f}") if name in SUMS else (f"{size / calls:,.0f}", "")
            table.add_row(name, *shown, f"{max(0.0, left):,.0f}")
    console.print(table)
    call = sum(size for name, size in before.items() if name not in SUMS) / calls
    hour, kept_hour = (sum(before.get(name, 0) for name in names) / hours for names in (SUMS, KEPT))
    for days, kept_days in ((_YEAR_DAYS, _YEAR_DAYS), (_YEAR_DAYS, KEPT_DAYS)):
        detail = kept_days * _SECONDS_A_DAY * CALLS_A_SECOND * call + kept_days * 24 * hour
        folded = (days - kept_days) * 24 * kept_hour
        console.print(
            f"a year at {CALLS_A_SECOND} calls/s, detail of {kept_days} days kept: {(detail + folded) / 1e9:,.1f} GB"
        )


if __name__ == "__main__":
    main()
