"""The latest calls of all processes, in one line each."""

import json
from collections.abc import Sequence
from typing import Any, Final

from ledger.database import Database, named
from ledger.latest import CallSummary
from ledger.money import format_usd
from ledger.reports import iso, ms_of_us
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")


def latest_calls(db: Database, *, also: Sequence[str], most: int) -> list[CallSummary]:
    """The calls of `LedgerReports.latest_calls`."""
    rows = db.execute(SQL["latest_calls"], {"also": json.dumps(list(also)), "most": most})
    return [_summary(row) for row in named(rows)]


def _summary(row: dict[str, Any]) -> CallSummary:
    is_open = row["outcome"] is None
    return CallSummary(
        id=row["generation_id"],
        state="running" if is_open else "ended",
        created_at=iso(row["created_at_ms"]),
        route=row["route"],
        deployment=(row["tried"] if is_open else "") or row["deployment"],
        key=row["key_id"],
        key_name=row["key_name"],
        team=row["team"],
        user=row["user_id"],
        workflow=row["workflow"],
        stream=bool(row["stream"]),
        cache=row["cache"],
        attempts=row["attempts"],
        outcome=row["outcome"] or "",
        error_code=row["error_code"] or "",
        cost_nanousd=None if is_open else row["cost_nanousd"],
        cost_usd=None if is_open else format_usd(row["cost_nanousd"]),
        saved_nanousd=row["saved_nanousd"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        latency_ms=ms_of_us(row["latency_us"]),
        ttft_ms=ms_of_us(row["ttft_us"]),
        trace_id=row["trace_id"],
    )
