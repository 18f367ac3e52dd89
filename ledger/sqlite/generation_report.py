"""One call's whole story: who asked, every attempt with its hold, every posting."""

import json
import sqlite3
from typing import Any, Final

from ledger.money import format_usd
from ledger.reports import iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")


def generation_report(db: sqlite3.Connection, *, generation_id: str) -> dict[str, Any] | None:
    """What `GET /ledger/generations/{id}` answers. None: no such generation."""
    wanted = {"generation_id": generation_id}
    found = _rows(db, "generation", wanted)
    if not found:
        return None
    (generation,) = found
    postings = [_posting(row) for row in _rows(db, "postings_of_generation", wanted)]
    attempts = [_attempt(row, postings) for row in _rows(db, "attempts_of_generation", wanted)]
    cost_nanousd = sum(posting["cost_nanousd"] for posting in postings)
    return {
        "id": generation["generation_id"],
        "created_at": iso(generation["created_at_ms"]),
        "finished_at": iso(generation["finished_at_ms"]),
        "route": generation["route"],
        "deployment": generation["deployment"],
        "stream": bool(generation["stream"]),
        "cache": generation["cache"],
        "served_by": generation["served_by"],
        "outcome": generation["outcome"],
        "error_code": generation["error_code"],
        "key": generation["key_id"],
        "team": generation["team"],
        "user": generation["user_id"],
        "workflow": generation["workflow"],
        "run": generation["run"],
        "tags": json.loads(generation["tags"]),
        "trace_id": generation["trace_id"],
        "cost_usd": format_usd(cost_nanousd),
        "cost_nanousd": cost_nanousd,
        "cost_basis": generation["cost_basis"],
        "saved_nanousd": generation["saved_nanousd"],
        "held_nanousd": sum(attempt["held_nanousd"] for attempt in attempts if attempt["state"] == "held"),
        "estimated_prompt_tokens": generation["estimated_prompt_tokens"],
        "latency_ms": _ms(generation["latency_us"]),
        "ttft_ms": _ms(generation["ttft_us"]),
        "attempts": attempts,
    }


def _attempt(row: dict[str, Any], postings: list[dict[str, Any]]) -> dict[str, Any]:
    provider, _, model = row["deployment"].partition(":")
    return {
        "attempt": row["attempt"],
        "deployment": row["deployment"],
        "provider": provider,
        "model": model,
        "hold_id": row["hold_id"],
        "state": row["state"],
        "held_nanousd": row["held_nanousd"],
        "held_usd": format_usd(row["held_nanousd"]),
        "price_version": row["price_version"],
        "outcome": row["outcome"],
        "status": row["status"],
        "error": row["error"],
        "latency_ms": _ms(row["latency_us"]),
        "ttft_ms": _ms(row["ttft_us"]),
        "taken_at": iso(row["taken_at_ms"]),
        "closed_at": iso(row["closed_at_ms"]),
        "postings": [posting for posting in postings if posting["hold_id"] == row["hold_id"]],
    }


def _posting(row: dict[str, Any]) -> dict[str, Any]:
    posted_at_ms = row.pop("posted_at_ms")
    return {**row, "cost_usd": format_usd(row["cost_nanousd"]), "posted_at": iso(posted_at_ms)}


def _rows(db: sqlite3.Connection, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = db.execute(SQL[statement], values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _ms(us: int | None) -> float | None:
    return None if us is None else round(us / 1000, 3)
