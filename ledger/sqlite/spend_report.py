"""The spend report: money from attempts, counts from generations, added up by the same dimensions.

Money, tokens and attempts belong to the attempt's deployment and the moment of its hold; generations, hits and
savings to the deployment that answered and the moment of the call. Source: CONTRACT §5 and §7, "Counting".
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from ledger.money import format_usd
from ledger.reports import SpendQuery, iso

# {dimension: (its expression over an attempt, and over a generation)}. Constants: nothing of a query becomes SQL text.
_MOMENTS: Final = {"hour": "%Y-%m-%dT%H:00:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
_EXPRESSIONS: Final = {
    "model": ("h.deployment", "g.deployment"),
    "provider": (
        "substr(h.deployment, 1, instr(h.deployment, ':') - 1)",
        "substr(g.deployment, 1, instr(g.deployment, ':') - 1)",
    ),
    "basis": (
        "COALESCE(p.cost_basis, CASE h.state WHEN 'held' THEN 'unknown' ELSE 'free' END)",
        "COALESCE(g.cost_basis, 'unknown')",
    ),
    "outcome": ("COALESCE(h.outcome, 'open')", "COALESCE(g.outcome, 'open')"),
    **{
        name: (f"g.{column}", f"g.{column}")
        for name, column in {
            "key": "key_id",
            "team": "team",
            "user": "user_id",
            "workflow": "workflow",
            "run": "run",
            "route": "route",
        }.items()
    },
    **{
        name: (
            f"strftime('{form}', h.taken_at_ms / 1000, 'unixepoch')",
            f"strftime('{form}', g.created_at_ms / 1000, 'unixepoch')",
        )
        for name, form in _MOMENTS.items()
    },
}
_ATTEMPTS: Final = """
SELECT {group}
       COALESCE(SUM(p.cost_nanousd), 0) AS cost_nanousd,
       COALESCE(SUM(CASE WHEN p.cost_basis IN ('estimated', 'unknown') THEN p.cost_nanousd END), 0)
           AS estimated_nanousd,
       SUM(CASE WHEN h.state = 'held' THEN h.held_nanousd ELSE 0 END) AS held_nanousd,
       COALESCE(SUM(CASE WHEN h.outcome <> 'ok' THEN p.cost_nanousd END), 0) AS wasted_nanousd,
       SUM(p.kind IS NOT 'correction') AS attempts,
       COALESCE(SUM(p.input_tokens + p.cached_tokens + p.cache_write_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(p.output_tokens + p.reasoning_tokens), 0) AS completion_tokens,
       COALESCE(SUM(p.cached_tokens), 0) AS cached_tokens,
       COALESCE(SUM(p.reasoning_tokens), 0) AS reasoning_tokens
  FROM holds AS h
  JOIN generations AS g USING (generation_id)
  LEFT JOIN postings AS p USING (hold_id)
 WHERE (:since_ms IS NULL OR h.taken_at_ms >= :since_ms) AND (:until_ms IS NULL OR h.taken_at_ms < :until_ms){filters}
"""
_GENERATIONS: Final = """
SELECT {group}
       COALESCE(SUM(g.saved_nanousd), 0) AS saved_nanousd,
       COUNT(*) AS generations,
       COALESCE(SUM(g.cache = 'hit'), 0) AS cache_hits,
       COALESCE(SUM(g.cache = 'coalesced'), 0) AS coalesced
  FROM generations AS g
 WHERE (:since_ms IS NULL OR g.created_at_ms >= :since_ms)
   AND (:until_ms IS NULL OR g.created_at_ms < :until_ms){filters}
"""
_MEASURES: Final = (
    "cost_nanousd", "estimated_nanousd", "held_nanousd", "saved_nanousd", "wasted_nanousd", "generations", "attempts",
    "cache_hits", "coalesced", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens",
)  # fmt: skip

Key = tuple[Any, ...]
Counts = dict[str, int]


def spend_report(db: sqlite3.Connection, *, query: SpendQuery) -> dict[str, Any]:
    """The report of CONTRACT §5. The total is the sum of the rows, so they agree exactly."""
    rows: dict[Key, Counts] = {}
    for statement, side in ((_ATTEMPTS, 0), (_GENERATIONS, 1)):
        for key, counts in _grouped(db, statement, side, query):
            row = rows.setdefault(key, dict.fromkeys(_MEASURES, 0))
            for name, value in counts.items():
                row[name] += value
    total = {name: sum(row[name] for row in rows.values()) for name in _MEASURES}
    ordered = sorted(rows.items(), key=lambda item: (-item[1]["cost_nanousd"], item[0]))
    groups = [dict(zip(query.group_by, key, strict=True)) | _rendered(row) for key, row in ordered]
    return {
        "since": iso(query.since_ms),
        "until": iso(query.until_ms),
        "currency": "USD",
        "group_by": list(query.group_by),
        "total": _rendered(total) | _refused(db, query),
        "rows": groups if query.group_by else [],
    }


def _grouped(db: sqlite3.Connection, statement: str, side: int, query: SpendQuery) -> Iterable[tuple[Key, Counts]]:
    dimensions = [_EXPRESSIONS[name][side] for name in query.group_by]
    conditions = [f" AND {_EXPRESSIONS[name][side]} = :filter_{name}" for name in query.filters]
    sql = statement.format(group="".join(f"{expression}, " for expression in dimensions), filters="".join(conditions))
    if dimensions:
        sql += " GROUP BY " + ", ".join(str(number) for number in range(1, len(dimensions) + 1))
    values: dict[str, Any] = {"since_ms": query.since_ms, "until_ms": query.until_ms}
    values |= {f"filter_{name}": value for name, value in query.filters.items()}
    cursor = db.execute(sql, values)
    names = [column[0] for column in cursor.description][len(dimensions) :]
    for row in cursor:
        counts = dict(zip(names, row[len(dimensions) :], strict=True))
        yield row[: len(dimensions)], {name: count or 0 for name, count in counts.items()}


def _rendered(row: Counts) -> dict[str, Any]:
    return {"cost_usd": format_usd(row["cost_nanousd"]), **row}


def _refused(db: sqlite3.Connection, query: SpendQuery) -> dict[str, int]:
    """How many calls were not admitted, by whole hours; left out where the report is narrowed to less than all."""
    if query.filters:
        return {}
    row = db.execute(
        "SELECT COALESCE(SUM(count), 0) FROM refusals"
        " WHERE (:since_ms IS NULL OR hour_ms >= :since_ms - 3600000) AND (:until_ms IS NULL OR hour_ms < :until_ms)",
        {"since_ms": query.since_ms, "until_ms": query.until_ms},
    ).fetchone()
    return {"refused": row[0]}
