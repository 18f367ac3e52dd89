"""What was spent, by any dimensions: whole hours from the sums that are kept by the hour, the rest from detail.

Money, tokens and attempts belong to the attempt's deployment and the moment of its hold; generations, hits and
savings to the deployment that answered and the moment of the call. Source: CONTRACT §5 and §7, "Counting".
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import add, itemgetter, sub
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database, words_of
from ledger.operations.lines import pruned_before
from ledger.reports import MOMENT_LENGTHS, Spend, SpendQuery, iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")
FAR_MS: Final = 1 << 48
PIECE_MS: Final = 30 * DAY_MS
# Times apart from each other that detail is read of, for the sake of one name; of more, all between is read as well.
MOST_TIMES: Final = 200
# The names of so many hours and days are remembered, for each is in many rows.
MOMENTS_KEPT: Final = 4096
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
# The fields of a Spend, in their order.
Sums = tuple[int, ...]
_NOTHING: Final = (0,) * len(Spend.__struct_fields__)
Groups = dict[Key, Sums]


def spend_by(
    db: Database, query: SpendQuery, *, by_hour: bool = True, among: Collection[str] | None = None
) -> dict[Key, Spend]:
    """{the values of query.group_by: what was spent}, groups of which nothing is counted left out.

    by_hour False: all of it from detail, which comes to the same. among: of the first of NAMES that it is grouped by,
    the only values that are wanted.
    """
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = FAR_MS if query.until_ms is None else query.until_ms
    first_whole_ms, last_whole_ms = -(-since_ms // HOUR_MS) * HOUR_MS, until_ms // HOUR_MS * HOUR_MS
    if names_in(query):
        # Folded detail took its sums by name along; what is left of it can still be counted.
        first_whole_ms = max(first_whole_ms, pruned_before(db) or 0)
    is_kept = _is_kept_by_hour(query)
    if not by_hour or first_whole_ms >= last_whole_ms or not (is_kept or _names_wanted(query)):
        spans = [("spend_detail", since_ms, until_ms)]
    else:
        pieces = (("spend_hours", *piece) for piece in _pieces(db, first_whole_ms, last_whole_ms))
        whole = pieces if is_kept else _where_named(db, query, first_whole_ms, last_whole_ms)
        spans = [("spend_detail", since_ms, first_whole_ms), *whole, ("spend_detail", last_whole_ms, until_ms)]
    groups: Groups = {}
    for source, begins_ms, ends_ms in spans:
        if begins_ms < ends_ms:
            for key, sums in _read(db, source, query, begins_ms, ends_ms):
                _add(groups, key, sums)
    if is_kept and len(spans) > 1:
        _tell_names_apart(db, query, (first_whole_ms, last_whole_ms), groups, among)
    found = {key: Spend(*sums) for key, sums in groups.items() if any(sums)}
    if among is None:
        return found
    place = next(place for place, name in enumerate(query.group_by) if name in NAMES)
    return {key: spend for key, spend in found.items() if key[place] in among}


def needs_detail_before(query: SpendQuery, moment_ms: int) -> bool:
    """Whether this report is not made of whole hours alone before this moment."""
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = FAR_MS if query.until_ms is None else query.until_ms
    is_kept = not names_in(query)  # Sums by name go with their detail.
    is_whole = since_ms % HOUR_MS == 0 and (until_ms % HOUR_MS == 0 or until_ms >= moment_ms)
    return since_ms < moment_ms and not (is_kept and is_whole)


def names_in(query: SpendQuery) -> list[str]:
    """Which of NAMES it is grouped by or narrowed to."""
    return [name for name in NAMES if name in query.group_by or name in query.filters]


def _is_kept_by_hour(query: SpendQuery) -> bool:
    return len(names_in(query)) < 2


def _names_wanted(query: SpendQuery) -> dict[str, str]:
    """The names that it is narrowed to, by their dimension."""
    return {dimension: query.filters[dimension] for dimension in NAMES if query.filters.get(dimension)}


def _where_named(db: Database, query: SpendQuery, since_ms: int, until_ms: int) -> list[tuple[str, int, int]]:
    """Whole hours of a report on more than one of NAMES that is narrowed to some.

    Detail of the hours in which the rarest of these spent anything, which is kept of each by itself; and what is open
    in all others.
    """
    hours = min((_hours_of(db, *named, since_ms, until_ms) for named in _names_wanted(query).items()), key=len)
    times: list[tuple[int, int]] = []
    for hour_ms in hours:
        joins = bool(times) and times[-1][1] == hour_ms
        begins_ms = times.pop()[0] if joins else hour_ms
        times.append((begins_ms, hour_ms + HOUR_MS))
    if len(times) > MOST_TIMES:
        times = [(times[0][0], times[-1][1])]
    spans, reached_ms = [], since_ms
    for begins_ms, ends_ms in times:
        spans += [("spend_hours", reached_ms, begins_ms), ("spend_detail", begins_ms, ends_ms)]
        reached_ms = ends_ms
    return [*spans, ("spend_hours", reached_ms, until_ms)]


def _hours_of(db: Database, dimension: str, name: str, since_ms: int, until_ms: int) -> list[int]:
    """The hours in which this name spent anything, in order."""
    of = {"dimension": dimension, "name": name, "since_ms": since_ms, "until_ms": until_ms}
    return [hour_ms for (hour_ms,) in db.execute(SQL["hours_of_name"], of)]


def _tell_names_apart(
    db: Database, query: SpendQuery, hours: tuple[int, int], groups: Groups, among: Collection[str] | None
) -> None:
    """Move what each name spent in whole hours from the group of those that gave none, where it was put at first."""
    name = next(iter(names_in(query)), None)
    if name is None:
        return
    wanted = query.filters.get(name)
    others = {other: value for other, value in query.filters.items() if other != name}
    place = query.group_by.index(name) if name in query.group_by else None
    some = among if wanted is None else (wanted,)
    spans = list(_by_name(query, *hours))
    if some is None or any(some):
        only = None if some is None else [value for value in some if value]
        for key, sums in _named(db, spans, name, msgspec.structs.replace(query, filters=others), only):
            _add(groups, key, sums)
            if some is None:
                assert place is not None
                _take(groups, (*key[:place], "", *key[place + 1 :]), sums)
    if some is not None and "" in some:
        # What all names spent together, whoever they are.
        rest = tuple(dimension for dimension in query.group_by if dimension != name)
        for key, sums in _named(db, spans, name, msgspec.structs.replace(query, filters=others, group_by=rest), None):
            _take(groups, key if place is None else (*key[:place], "", *key[place:]), sums)


def _by_name(query: SpendQuery, since_ms: int, until_ms: int) -> Iterator[tuple[str, int, int]]:
    """Whole days from what is kept by the day, unless hours are to stay apart; the hours at their ends."""
    first_ms, last_ms = -(-since_ms // DAY_MS) * DAY_MS, until_ms // DAY_MS * DAY_MS
    if "hour" in query.group_by or "hour" in query.filters or first_ms >= last_ms:
        yield "spend_hours_by_name", since_ms, until_ms
        return
    yield "spend_hours_by_name", since_ms, first_ms
    yield "spend_days_by_name", first_ms, last_ms
    yield "spend_hours_by_name", last_ms, until_ms


def _named(
    db: Database,
    spans: Iterable[tuple[str, int, int]],
    name: str,
    query: SpendQuery,
    only: Sequence[str] | None,
) -> Iterator[tuple[Key, Sums]]:
    """What names spent, a few periods at a time: so nothing is sorted. only: these names; None: all."""
    for source, since_ms, until_ms in spans:
        if since_ms >= until_ms:
            continue
        unit_ms = _unit_ms((*query.group_by, *query.filters))
        span = {"dimension": name, "since_ms": since_ms, "until_ms": until_ms, "unit_ms": unit_ms}
        for (period_ms,) in db.execute(SQL["periods_kept"], span).fetchall():
            of = {"dimension": name, "period_ms": period_ms}
            yield from _read(db, source, query, since_ms, until_ms, of=of, only=only)


def _add(groups: Groups, key: Key, sums: Sums) -> None:
    groups[key] = tuple(map(add, groups.get(key, _NOTHING), sums))


def _take(groups: Groups, key: Key, sums: Sums) -> None:
    groups[key] = tuple(map(sub, groups.get(key, _NOTHING), sums))


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
    of: Mapping[str, str | int] = MappingProxyType({}),
    only: Sequence[str] | None = None,
) -> Iterator[tuple[Key, Sums]]:
    """Groups of one source, as fine as SQLite keeps them; a provider, day or month is made of several.

    of: what else its statement asks for. only: of its dimension, these names.
    """
    named = tuple(dict.fromkeys((*query.group_by, *query.filters)))
    found_in = {_COLUMNS[name] for name in named if name in _COLUMNS}
    # A name first, as its table is ordered: then nothing is sorted.
    columns = tuple(column for column in dict.fromkeys(_COLUMNS.values()) if column in found_in)
    unit_ms = _unit_ms(named)
    grouping = (*columns, *(("at_ms / :unit_ms * :unit_ms",) if unit_ms else ()))
    values: dict[str, str | int] = {"since_ms": since_ms, "until_ms": until_ms, "unit_ms": unit_ms, **of}
    exact = [name for name in query.filters if name in _COLUMNS and name != "provider"]
    conditions = [f"{_COLUMNS[name]} = :filter_{name}" for name in exact]
    values |= {f"filter_{name}": query.filters[name] for name in exact}
    if only is not None:
        column = _COLUMNS[str(of["dimension"])]
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


def _taker(name: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], str]:
    """What a row is in one dimension: its columns come first, then the moment."""
    if name in MOMENT_LENGTHS:
        return lambda row: _moment(name, row[len(columns)])
    place = columns.index(_COLUMNS[name])
    if name == "provider":
        return lambda row: str(row[place]).partition(":")[0]
    return itemgetter(place)


@lru_cache(MOMENTS_KEPT)
def _moment(name: str, at_ms: int) -> str:
    moment = (iso(at_ms) or "")[: MOMENT_LENGTHS[name]]
    return moment + ":00:00Z" if name == "hour" else moment


def _unit_ms(named: tuple[str, ...]) -> int:
    """The span of time that rows must not be added up beyond; 0: any."""
    if "hour" in named:
        return HOUR_MS
    return DAY_MS if {"day", "month"} & set(named) else 0
