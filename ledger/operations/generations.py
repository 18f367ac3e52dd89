"""The rows of calls: who asked, and how it ended."""

import json
from typing import Any, Final

from ledger.database import Database
from ledger.operations.idempotency import keep
from ledger.sql import statements
from ledger.values import Ending, GenerationFacts, Keeping

RECORD: Final = statements("sqlite", "admit")["record_generation"]


def generation_row(facts: GenerationFacts) -> dict[str, Any]:
    """The columns that say who asked."""
    row: dict[str, Any] = dict.fromkeys(("key", "team", "user", "workflow", "run"), "")
    row.update(facts.attribution)
    row["generation_id"] = facts.generation_id
    row["created_at_ms"] = facts.created_at_ms
    row["route"] = facts.route
    row["stream"] = facts.stream
    row["trace_id"] = facts.trace_id
    row["tags"] = json.dumps(facts.tags, ensure_ascii=False) if facts.tags else "{}"
    return row


def hit_row(
    facts: GenerationFacts, *, deployment: str, answer_of: str, saved_nanousd: int, now_ms: int
) -> dict[str, Any]:
    """The columns of one that a stored answer ended at once."""
    return {
        **generation_row(facts),
        "cache": "hit",
        "deployment": deployment,
        "served_by": answer_of,
        "outcome": "ok",
        "cost_basis": "free",
        "saved_nanousd": saved_nanousd,
        "finished_at_ms": now_ms,
        "latency_us": max(0, now_ms - facts.created_at_ms) * 1000,
        "ttft_us": None,
        "error_code": None,
    }


def record_follower(
    db: Database, facts: GenerationFacts, ending: Ending, *, leader_id: str, keeping: Keeping | None = None
) -> None:
    """Put a call on record that was answered by another one's flight. It has no hold and cost nothing."""
    row = {
        **generation_row(facts),
        "cache": "coalesced",
        "deployment": ending.deployment,
        "served_by": leader_id,
        "outcome": ending.outcome,
        "cost_basis": ending.cost_basis,
        "saved_nanousd": ending.saved_nanousd,
        "finished_at_ms": ending.finished_at_ms,
        "latency_us": ending.latency_us,
        "ttft_us": ending.ttft_us,
        "error_code": ending.error_code or None,
    }
    db.execute(RECORD, row)
    if keeping is not None:
        keep(db, keeping)


def ending_row(ending: Ending) -> dict[str, Any]:
    """How a generation ended, in columns."""
    return {
        "generation_id": ending.generation_id,
        "outcome": ending.outcome,
        "deployment": ending.deployment,
        "cost_basis": ending.cost_basis,
        "finished_at_ms": ending.finished_at_ms,
        "latency_us": ending.latency_us,
        "ttft_us": ending.ttft_us,
        "estimated_prompt_tokens": ending.estimated_prompt_tokens,
        "error_code": ending.error_code or None,
    }
