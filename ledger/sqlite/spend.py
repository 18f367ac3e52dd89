"""What was spent, by any dimensions: whole hours from the table that is kept by the hour, the rest from detail.

Money, tokens and attempts belong to the attempt's deployment and the moment of its hold; generations, hits and
savings to the deployment that answered and the moment of the call. Source: CONTRACT §5 and §7, "Counting".
"""

from collections.abc import Iterator
from typing import Final

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database, words_of
from ledger.reports import MOMENT_LENGTHS, Spend, SpendQuery, iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")
FAR_MS: Final = 1 << 48
PIECE_MS: Final = 30 * DAY_MS
# Kept by the hour. The other dimensions that callers name would make as many rows as there are calls.
_COLUMNS_BY_HOUR: Final = {
    "model": "deployment",
    "provider": "deployment",
    "route": "route",
    "key": "key_id",
    "team": "team",
    "basis": "basis",
    "outcome": "outcome",
}
_COLUMNS: Final = {**_COLUMNS_BY_HOUR, "user": "user_id", "workflow": "workflow", "run": "run"}
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


def spend_by(db: Database, query: SpendQuery, *, by_hour: bool = True) -> dict[Key, Spend]:
    """{the values of query.group_by: what was spent}, groups of which nothing is counted left out.

    by_hour False: all of it from detail, which comes to the same.
    """
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = FAR_MS if query.until_ms is None else query.until_ms
    named = {*query.group_by, *query.filters}
    first_whole_ms, last_whole_ms = -(-since_ms // HOUR_MS) * HOUR_MS, until_ms // HOUR_MS * HOUR_MS
    if not by_hour or first_whole_ms >= last_whole_ms or not named <= {*_COLUMNS_BY_HOUR, *MOMENT_LENGTHS}:
        spans = [("spend_detail", since_ms, until_ms)]
    else:
        spans = [
            ("spend_detail", since_ms, first_whole_ms),
            *(("spend_hours", *piece) for piece in _pieces(db, first_whole_ms, last_whole_ms)),
            ("spend_detail", last_whole_ms, until_ms),
        ]
    groups: dict[Key, Spend] = {}
    for source, begins_ms, ends_ms in spans:
        if begins_ms < ends_ms:
            for key, spend in _read(db, source, query, begins_ms, ends_ms):
                groups.setdefault(key, Spend()).add(spend)
    return {key: spend for key, spend in groups.items() if spend != Spend()}


def needs_detail_before(query: SpendQuery, moment_ms: int) -> bool:
    """Whether this report is not made of whole hours alone before this moment."""
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = FAR_MS if query.until_ms is None else query.until_ms
    is_by_hour = {*query.group_by, *query.filters} <= {*_COLUMNS_BY_HOUR, *MOMENT_LENGTHS}
    is_whole = since_ms % HOUR_MS == 0 and (until_ms % HOUR_MS == 0 or until_ms >= moment_ms)
    return since_ms < moment_ms and not (is_by_hour and is_whole)


def _pieces(db: Database, since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """A long span in pieces that SQLite groups within its memory: sorting a year at once takes it ten times as long."""
    oldest_ms, newest_ms = db.execute(SQL["hours_kept"]).fetchone()
    begins_ms = since_ms
    for ends_ms in range(max(since_ms, oldest_ms or 0) + PIECE_MS, min(until_ms, newest_ms or 0), PIECE_MS):
        yield begins_ms, ends_ms
        begins_ms = ends_ms
    yield begins_ms, until_ms


def _read(db: Database, source: str, query: SpendQuery, since_ms: int, until_ms: int) -> Iterator[tuple[Key, Spend]]:
    """Groups of one source, as fine as SQLite keeps them; a provider, day or month is made of several."""
    named = tuple(dict.fromkeys((*query.group_by, *query.filters)))
    columns = tuple(dict.fromkeys(_COLUMNS[name] for name in named if name in _COLUMNS))
    unit_ms = _unit_ms(named)
    grouping = (*columns, *(("at_ms / :unit_ms * :unit_ms",) if unit_ms else ()))
    exact = [name for name in query.filters if name in _COLUMNS and name != "provider"]
    sql = f"SELECT {''.join(f'{column}, ' for column in grouping)}{_SUMS} FROM ({words_of(db, SQL[source])}) AS source"  # noqa: S608  # Constants.
    if exact:
        sql += " WHERE " + " AND ".join(f"{_COLUMNS[name]} = :filter_{name}" for name in exact)
    if grouping:
        sql += " GROUP BY " + ", ".join(str(number + 1) for number in range(len(grouping)))
    values: dict[str, str | int] = {"since_ms": since_ms, "until_ms": until_ms, "unit_ms": unit_ms}
    values |= {f"filter_{name}": query.filters[name] for name in exact}
    moments: dict[int, str] = {}
    for row in db.execute(sql, values):
        found = dict(zip(columns, row, strict=False))
        moment = ""
        if unit_ms:
            at_ms = row[len(columns)]
            moment = moments.get(at_ms) or moments.setdefault(at_ms, iso(at_ms) or "")
        value_of = {name: _value(name, found, moment) for name in named}
        if all(value_of[name] == wanted for name, wanted in query.filters.items()):
            yield tuple(value_of[name] for name in query.group_by), Spend(*row[len(grouping) :])


def _value(name: str, found: dict[str, str], moment: str) -> str:
    """What a row is in one dimension."""
    if name == "hour":
        return moment[: MOMENT_LENGTHS[name]] + ":00:00Z"
    if name in MOMENT_LENGTHS:
        return moment[: MOMENT_LENGTHS[name]]
    value = found[_COLUMNS[name]]
    return value.partition(":")[0] if name == "provider" else value


def _unit_ms(named: tuple[str, ...]) -> int:
    """The span of time that rows must not be added up beyond; 0: any."""
    if "hour" in named:
        return HOUR_MS
    return DAY_MS if {"day", "month"} & set(named) else 0
