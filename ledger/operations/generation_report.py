"""Calls as they are on record: who asked, every attempt with its hold, every posting with its arithmetic."""

import json
from typing import Any, Final

from ledger.chain import FURTHER_CLASSES
from ledger.database import Database, named
from ledger.money import format_usd
from ledger.operations.prices import PriceUnreadable, find_price
from ledger.reports import SPEND_DIMENSIONS, GenerationsQuery, iso, ms_of_us, page_name, page_place
from ledger.sql import statements
from ledger.usage import Usage

SQL: Final = statements("sqlite", "reports")
_FAR_MS: Final = 1 << 48

Row = dict[str, Any]


def generation_report(db: Database, *, generation_id: str) -> dict[str, Any] | None:
    """What `GET /ledger/generations/{id}` answers. None: no such generation."""
    found = _rows(db, "generation", {"generation_id": generation_id})
    return _story(db, found[0]) if found else None


def generations_report(db: Database, *, query: GenerationsQuery) -> dict[str, Any]:
    """What `GET /ledger/generations` answers: each call as alone, but without postings. next None: no more.

    Raises UnknownPage.
    """
    before_ms, before_id = (_FAR_MS, "") if query.before is None else page_place(query.before)
    values: dict[str, Any] = {
        **dict.fromkeys(SPEND_DIMENSIONS),
        **query.filters,
        "since_ms": query.since_ms or 0,
        "until_ms": _FAR_MS if query.until_ms is None else query.until_ms,
        "before_ms": before_ms,
        "before_id": before_id,
        "most": query.limit + 1,
    }
    found = _rows(db, "generations", values)
    page = found[: query.limit]
    stories = [_story(db, generation) for generation in page]
    for story in stories:
        for attempt in story["attempts"]:
            del attempt["postings"]
    more = len(found) > len(page)
    return {
        "generations": stories,
        "next": page_name(page[-1]["created_at_ms"], page[-1]["generation_id"]) if more else None,
    }


def _story(db: Database, generation: Row) -> dict[str, Any]:
    wanted = {"generation_id": generation["generation_id"]}
    postings = _rows(db, "postings_of_generation", wanted)
    room = _rows(db, "ceilings_of_generation", wanted)
    attempts = [_attempt(db, row, postings, room) for row in _rows(db, "attempts_of_generation", wanted)]
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
        "saved_usd": format_usd(generation["saved_nanousd"]),
        "saved_nanousd": generation["saved_nanousd"],
        "held_nanousd": sum(attempt["held_nanousd"] for attempt in attempts if attempt["state"] == "held"),
        "estimated_prompt_tokens": generation["estimated_prompt_tokens"],
        "latency_ms": ms_of_us(generation["latency_us"]),
        "ttft_ms": ms_of_us(generation["ttft_us"]),
        "attempts": attempts,
    }


def _attempt(db: Database, row: Row, postings: list[Row], room: list[Row]) -> dict[str, Any]:
    provider, _, model = row["deployment"].partition(":")
    own = [_posting(db, row["deployment"], posting) for posting in postings if posting["hold_id"] == row["hold_id"]]
    cost_nanousd = sum(posting["cost_nanousd"] for posting in own)
    return {
        "attempt": row["attempt"],
        "deployment": row["deployment"],
        "provider": provider,
        "model": model,
        "hold_id": row["hold_id"],
        "state": row["state"],
        "held_nanousd": row["held_nanousd"],
        "held_usd": format_usd(row["held_nanousd"]),
        "held_tokens": row["held_tokens"],
        "ceilings": [taken["ceiling_id"] for taken in room if taken["hold_id"] == row["hold_id"]],
        "cost_nanousd": cost_nanousd,
        "cost_usd": format_usd(cost_nanousd),
        "price_version": row["price_version"],
        "outcome": row["outcome"],
        "status": row["status"],
        "error": row["error"],
        "hedge": bool(row["hedge"]),
        "queued_ms": ms_of_us(row["queued_us"]),
        "latency_ms": ms_of_us(row["latency_us"]),
        "ttft_ms": ms_of_us(row["ttft_us"]),
        "taken_at": iso(row["taken_at_ms"]),
        "closed_at": iso(row["closed_at_ms"]),
        "postings": own,
    }


def _posting(db: Database, deployment: str, row: Row) -> dict[str, Any]:
    counts = {name: row[name] for name in FURTHER_CLASSES}
    if row["input_tokens"] is not None:
        counts = {name: count or 0 for name, count in counts.items()}
    return {
        **{name: value for name, value in row.items() if name != "posted_at_ms"},
        **counts,
        "cost_usd": format_usd(row["cost_nanousd"]),
        "posted_at": iso(row["posted_at_ms"]),
        "arithmetic": _arithmetic(db, deployment, row | counts),
    }


def _arithmetic(db: Database, deployment: str, row: Row) -> dict[str, Any] | None:
    """What the line's usage costs at its price. None: nobody knows the usage, or no price is on record.

    It is the line's own cost where the basis is `priced_usage`; a correction is the difference to the lines before it.
    """
    counts = [row[name] for name in Usage.__struct_fields__]
    if any(count is None or count < 0 for count in counts):
        return None
    try:
        price = find_price(db, deployment, row["price_version"])
    except PriceUnreadable:
        return None
    if price is None:
        return None
    usage = Usage.of_counts(counts)
    return {
        "tier_above_prompt_tokens": price.threshold_for(usage.prompt_tokens),
        "charges": [
            {
                "of": charge.of,
                "tokens": charge.tokens,
                "usd_per_mtok": None if charge.nanousd_per_mtok is None else format_usd(charge.nanousd_per_mtok),
                "cost_nanousd": charge.cost_nanousd,
            }
            for charge in price.explain(usage)
        ],
        "cost_nanousd": price.cost_nanousd(usage),
    }


def _rows(db: Database, statement: str, values: dict[str, Any]) -> list[Row]:
    return named(db.execute(SQL[statement], values))
