"""What was spent, by any dimensions: whole hours from the sums that are kept by the hour, the rest from detail.

Money, tokens and attempts belong to the attempt's deployment and the moment of its hold; generations, hits and
savings to the deployment that answered and the moment of the call. Source: CONTRACT §5 and §7, "Counting".
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database, words_of
from ledger.operations.lines import pruned_before
from ledger.reports import MOMENT_LENGTHS, Spend, SpendQuery, iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")
FAR_MS: Final = 1 << 48
PIECE_MS: Final = 30 * DAY_MS
# Kept by the hour; for each of NAMES as well, but not for two of them at once: that would be a row a call.
_COLUMNS_BY_HOUR: Final = {
    "model": "deployment",
    "provider": "deployment",
    "route": "route",
    "key": "key_id",
    "team": "team",
    "basis": "basis",
    "outcome": "outcome",
}
NAMES: Final = ("user", "workflow", "run")
_COLUMNS: Final = {"user": "user_id", "workflow": "workflow", "run": "run", **_COLUMNS_BY_HOUR}
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
    first_whole_ms, last_whole_ms = -(-since_ms // HOUR_MS) * HOUR_MS, until_ms // HOUR_MS * HOUR_MS
    if _names_in(query):
        # Folded detail took its sums by name along; what is left of it can still be counted.
        first_whole_ms = max(first_whole_ms, pruned_before(db) or 0)
    if not by_hour or first_whole_ms >= last_whole_ms or not _is_kept_by_hour(query):
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
            if source == "spend_hours":
                _tell_names_apart(db, query, begins_ms, ends_ms, groups)
    return {key: spend for key, spend in groups.items() if spend != Spend()}


def needs_detail_before(query: SpendQuery, moment_ms: int) -> bool:
    """Whether this report is not made of whole hours alone before this moment."""
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = FAR_MS if query.until_ms is None else query.until_ms
    is_kept = not _names_in(query)  # Sums by name go with their detail.
    is_whole = since_ms % HOUR_MS == 0 and (until_ms % HOUR_MS == 0 or until_ms >= moment_ms)
    return since_ms < moment_ms and not (is_kept and is_whole)


def _names_in(query: SpendQuery) -> list[str]:
    return [name for name in NAMES if name in query.group_by or name in query.filters]


def _is_kept_by_hour(query: SpendQuery) -> bool:
    return len(_names_in(query)) < 2


def _tell_names_apart(db: Database, query: SpendQuery, since_ms: int, until_ms: int, groups: dict[Key, Spend]) -> None:
    """Move what each name spent from the group of those that gave none, where all of it was put at first."""
    name = next(iter(_names_in(query)), None)
    if name is None:
        return
    wanted = query.filters.get(name)
    if wanted == "":
        filters = {other: value for other, value in query.filters.items() if other != name}
        query = msgspec.structs.replace(query, filters=filters)
    place = query.group_by.index(name) if name in query.group_by else None
    span = {"dimension": name, "since_ms": since_ms, "until_ms": until_ms}
    for (period_ms,) in db.execute(SQL["periods_kept"], span).fetchall():
        of = {"dimension": name, "period_ms": period_ms}
        for key, spend in _read(db, "spend_hours_by_name", query, since_ms, until_ms, of=of):
            if wanted != "":
                groups.setdefault(key, Spend()).add(spend)
            if not wanted:
                nameless = key if place is None else (*key[:place], "", *key[place + 1 :])
                groups.setdefault(nameless, Spend()).add(spend, sign=-1)


def _pieces(db: Database, since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """A long span in pieces that SQLite groups within its memory: sorting a year at once takes it ten times as long."""
    oldest_ms, newest_ms = db.execute(SQL["hours_kept"]).fetchone()
    begins_ms = since_ms
    for ends_ms in range(max(since_ms, oldest_ms or 0) + PIECE_MS, min(until_ms, newest_ms or 0), PIECE_MS):
        yield begins_ms, ends_ms
        begins_ms = ends_ms
    yield begins_ms, until_ms


def _read(
    db: Database,
    source: str,
    query: SpendQuery,
    since_ms: int,
    until_ms: int,
    *,
    of: Mapping[str, str | int] | None = None,
) -> Iterator[tuple[Key, Spend]]:
    """Groups of one source, as fine as SQLite keeps them; a provider, day or month is made of several.

    of: what else its statement asks for.
    """
    named = tuple(dict.fromkeys((*query.group_by, *query.filters)))
    found_in = {_COLUMNS[name] for name in named if name in _COLUMNS}
    # A name first, as its table is ordered: then nothing is sorted.
    columns = tuple(column for column in dict.fromkeys(_COLUMNS.values()) if column in found_in)
    unit_ms = _unit_ms(named)
    grouping = (*columns, *(("at_ms / :unit_ms * :unit_ms",) if unit_ms else ()))
    exact = [name for name in query.filters if name in _COLUMNS and name != "provider"]
    sql = f"SELECT {''.join(f'{column}, ' for column in grouping)}{_SUMS} FROM ({words_of(db, SQL[source])}) AS source"  # noqa: S608  # Constants.
    if exact:
        sql += " WHERE " + " AND ".join(f"{_COLUMNS[name]} = :filter_{name}" for name in exact)
    if grouping:
        sql += " GROUP BY " + ", ".join(str(number + 1) for number in range(len(grouping)))
    values: dict[str, str | int] = {"since_ms": since_ms, "until_ms": until_ms, "unit_ms": unit_ms, **(of or {})}
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
