"""What spend is read from: detail, and sums that are kept of it, all under the names that a report groups by."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database, words_of
from ledger.reports import MOMENT_LENGTHS, SpendQuery, moment_of
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")
# What stands together in the tables of sums by name.
PERIOD_MS: Final = 10 * DAY_MS
# The names of so many hours and days are remembered, for each is in many rows.
MOMENTS_KEPT: Final = 4096
_moment: Final = lru_cache(MOMENTS_KEPT)(moment_of)
NAMES: Final = ("user", "workflow", "run")
COLUMNS: Final = {
    "user": "user_id",
    "workflow": "workflow",
    "run": "run",
    "model": "deployment",
    "provider": "deployment",
    "route": "route",
    "key": "key_id",
    "team": "team",
    "basis": "basis",
    "outcome": "outcome",
}
_SUMS: Final = """
       COALESCE(SUM(cost_nanousd), 0) AS cost_nanousd,
       COALESCE(SUM(CASE WHEN basis IN ('estimated', 'unknown') THEN cost_nanousd END), 0) AS estimated_nanousd,
       COALESCE(SUM(held_nanousd), 0) AS held_nanousd,
       COALESCE(SUM(saved_nanousd), 0) AS saved_nanousd,
       COALESCE(SUM(CASE WHEN outcome <> 'ok' THEN cost_nanousd END), 0) AS wasted_nanousd,
       COALESCE(SUM(generations), 0) AS generations,
       COALESCE(SUM(attempts), 0) AS attempts,
       COALESCE(SUM(cache_hits), 0) AS cache_hits,
       COALESCE(SUM(coalesced), 0) AS coalesced,
       COALESCE(SUM(prompt_tokens), 0) AS prompt_tokens,
       COALESCE(SUM(completion_tokens), 0) AS completion_tokens,
       COALESCE(SUM(cached_tokens), 0) AS cached_tokens,
       COALESCE(SUM(reasoning_tokens), 0) AS reasoning_tokens
"""

Key = tuple[str, ...]
# The fields of a Spend, in their order.
Sums = tuple[int, ...]


def read(
    db: Database,
    source: str,
    query: SpendQuery,
    since_ms: int,
    until_ms: int,
    *,
    of: Mapping[str, str | int] = MappingProxyType({}),
    only: Collection[str] | None = None,
) -> Iterator[tuple[Key, Sums]]:
    """Groups of one source, as fine as SQLite keeps them; a provider, day or month is made of several.

    of: what else its statement asks for. only: of the dimension in it, these names.
    """
    named = tuple(dict.fromkeys((*query.group_by, *query.filters)))
    found_in = {COLUMNS[name] for name in named if name in COLUMNS}
    # A name first, as its table is ordered: then nothing is sorted.
    columns = tuple(column for column in dict.fromkeys(COLUMNS.values()) if column in found_in)
    unit_ms = unit_of(named)
    grouping = (*columns, *(("at_ms / :unit_ms * :unit_ms",) if unit_ms else ()))
    values: dict[str, str | int] = {"since_ms": since_ms, "until_ms": until_ms, "unit_ms": unit_ms, **of}
    exact = [name for name in query.filters if name in COLUMNS and name != "provider"]
    conditions = [f"{COLUMNS[name]} = :filter_{name}" for name in exact]
    values |= {f"filter_{name}": query.filters[name] for name in exact}
    if only is not None:
        column = COLUMNS[str(of["dimension"])]
        conditions.append(f"{column} IN ({', '.join(f':only_{place}' for place in range(len(only)))})")
        values |= {f"only_{place}": name for place, name in enumerate(only)}
    sql = f"SELECT {''.join(f'{column}, ' for column in grouping)}{_SUMS} FROM ({words_of(db, SQL[source])}) AS source"  # noqa: S608  # Constants.
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    if grouping:
        sql += " GROUP BY " + ", ".join(str(number + 1) for number in range(len(grouping)))
    takes = [_taker(name, columns) for name in query.group_by]
    checks = [(_taker(name, columns), wanted) for name, wanted in query.filters.items()]
    for row in db.execute(sql, values):
        if all(take(row) == wanted for take, wanted in checks):
            yield tuple([take(row) for take in takes]), tuple(row[len(grouping) :])


def read_pairs(
    db: Database, query: SpendQuery, since_ms: int, until_ms: int, *, among: Collection[str] | None
) -> Iterator[tuple[Key, Sums]]:
    """Sums of users and workflows together, a few days at a time that stand together: so nothing is sorted.

    among: of the first of NAMES that it is grouped by, the only ones that are wanted.
    """
    if among is not None and not among:
        return
    oldest_ms, newest_ms = db.execute(SQL["hours_kept"]).fetchone()
    begins_ms, ends_ms = max(since_ms, oldest_ms or 0), min(until_ms, (newest_ms or 0) + 1)
    who = next((name for name in query.group_by if name in NAMES), "")
    for period_ms in range(begins_ms // PERIOD_MS * PERIOD_MS, ends_ms, PERIOD_MS):
        of: dict[str, str | int] = {"period_ms": period_ms, "dimension": who}
        yield from read(db, "spend_days_by_pair", query, since_ms, until_ms, of=of, only=among)


def unit_of(named: tuple[str, ...]) -> int:
    """The span of time that rows must not be added up beyond; 0: any."""
    if "hour" in named:
        return HOUR_MS
    return DAY_MS if {"day", "month"} & set(named) else 0


def _taker(name: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], str]:
    """What a row is in one dimension: its columns come first, then the moment."""
    if name in MOMENT_LENGTHS:
        return lambda row: _moment(name, row[len(columns)])
    place = columns.index(COLUMNS[name])
    if name == "provider":
        return lambda row: str(row[place]).partition(":")[0]
    return itemgetter(place)
