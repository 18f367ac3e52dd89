"""What was spent, by any dimensions: whole hours from the sums that are kept by the hour, the rest from detail.

Money, tokens and attempts belong to the attempt's deployment and the moment of its hold; generations, hits and
savings to the deployment that answered and the moment of the call. Source: CONTRACT §5 and §7, "Counting".
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import add, sub
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database
from ledger.operations.lines import pruned_before
from ledger.operations.pairs import pairs_kept
from ledger.operations.spend_sources import NAMES, SQL, Key, Sums, read, read_pairs, unit_of
from ledger.reports import Spend, SpendQuery

FAR_MS: Final = 1 << 48
PIECE_MS: Final = 30 * DAY_MS
# Times apart from each other that detail is read of, for the sake of one name; of more, all between is read as well.
MOST_TIMES: Final = 200
# Kept together, by the day; no other two names are: that would be a row a call.
PAIR: Final = ["user", "workflow"]
_NOTHING: Final = (0,) * len(Spend.__struct_fields__)
Groups = dict[Key, Sums]
# What is read of, from when on and until when.
Span = tuple[str, int, int]


def spend_by(
    db: Database, query: SpendQuery, *, by_hour: bool = True, among: Collection[str] | None = None
) -> dict[Key, Spend]:
    """{the values of query.group_by: what was spent}, groups of which nothing is counted left out.

    by_hour False: all of it from detail, which comes to the same. among: of the first of NAMES that it is grouped by,
    the only values that are wanted.
    """
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = FAR_MS if query.until_ms is None else query.until_ms
    whole = _whole_hours(db, query, since_ms, until_ms)
    is_kept = by_hour and len(names_in(query)) < 2 and whole[0] < whole[1]
    if not by_hour:
        spans = [("spend_detail", since_ms, until_ms)]
    elif is_kept:
        pieces = (("spend_hours", *piece) for piece in _pieces(db, *whole))
        spans = [("spend_detail", since_ms, whole[0]), *pieces, ("spend_detail", whole[1], until_ms)]
    elif _is_kept_by_pair(query):
        spans = _by_pair(db, query, since_ms, until_ms)
    else:
        spans = _counted(db, query, since_ms, until_ms)
    groups: Groups = {}
    for source, begins_ms, ends_ms in spans:
        if begins_ms < ends_ms:
            if source == "spend_days_by_pair":
                found = read_pairs(db, query, begins_ms, ends_ms, among=among)
            else:
                found = read(db, source, query, begins_ms, ends_ms)
            for key, sums in found:
                _add(groups, key, sums)
    if is_kept:
        _tell_names_apart(db, query, whole, groups, among)
    told = {key: Spend(*sums) for key, sums in groups.items() if any(sums)}
    if among is None:
        return told
    place = next(place for place, name in enumerate(query.group_by) if name in NAMES)
    return {key: spend for key, spend in told.items() if key[place] in among}


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


def _is_kept_by_pair(query: SpendQuery) -> bool:
    return names_in(query) == PAIR and "hour" not in query.group_by and "hour" not in query.filters


def _names_wanted(query: SpendQuery) -> dict[str, str]:
    """The names that it is narrowed to, by their dimension."""
    return {dimension: query.filters[dimension] for dimension in NAMES if query.filters.get(dimension)}


def _whole_hours(db: Database, query: SpendQuery, since_ms: int, until_ms: int) -> tuple[int, int]:
    """From when on and until when there are sums of whole hours; the latter first if there are none."""
    first_ms, last_ms = -(-since_ms // HOUR_MS) * HOUR_MS, until_ms // HOUR_MS * HOUR_MS
    if names_in(query):
        # Folded detail took its sums by name along; what is left of it can still be counted.
        first_ms = max(first_ms, pruned_before(db) or 0)
    return first_ms, last_ms


def _by_pair(db: Database, query: SpendQuery, since_ms: int, until_ms: int) -> list[Span]:
    """Whole days from the sums of pairs, as far as they have come, with what is open of them; the rest from detail."""
    kept_since_ms, kept_until_ms = pairs_kept(db)
    first_ms = -(-max(since_ms, kept_since_ms) // DAY_MS) * DAY_MS
    # A day that is added up in part is so from its beginning: who asks for more than that part has all of it.
    last_ms = kept_until_ms if until_ms >= kept_until_ms else until_ms // DAY_MS * DAY_MS
    if first_ms >= last_ms:
        return _counted(db, query, since_ms, until_ms)
    added_up = [("spend_open", first_ms, last_ms), ("spend_days_by_pair", first_ms, last_ms)]
    return [*_counted(db, query, since_ms, first_ms), *added_up, *_counted(db, query, last_ms, until_ms)]


def _counted(db: Database, query: SpendQuery, since_ms: int, until_ms: int) -> list[Span]:
    """Detail; of whole hours, if it is narrowed to names, only where one of them spent anything."""
    first_ms, last_ms = _whole_hours(db, query, since_ms, until_ms)
    if first_ms >= last_ms or not _names_wanted(query):
        return [("spend_detail", since_ms, until_ms)]
    whole = _where_named(db, query, first_ms, last_ms)
    return [("spend_detail", since_ms, first_ms), *whole, ("spend_detail", last_ms, until_ms)]


def _where_named(db: Database, query: SpendQuery, since_ms: int, until_ms: int) -> list[Span]:
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
        spans += [("spend_open", reached_ms, begins_ms), ("spend_detail", begins_ms, ends_ms)]
        reached_ms = ends_ms
    return [*spans, ("spend_open", reached_ms, until_ms)]


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


def _by_name(query: SpendQuery, since_ms: int, until_ms: int) -> Iterator[Span]:
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
    spans: Iterable[Span],
    name: str,
    query: SpendQuery,
    only: Sequence[str] | None,
) -> Iterator[tuple[Key, Sums]]:
    """What names spent, a few periods at a time: so nothing is sorted. only: these names; None: all."""
    for source, since_ms, until_ms in spans:
        if since_ms >= until_ms:
            continue
        unit_ms = unit_of((*query.group_by, *query.filters))
        span = {"dimension": name, "since_ms": since_ms, "until_ms": until_ms, "unit_ms": unit_ms}
        for (period_ms,) in db.execute(SQL["periods_kept"], span).fetchall():
            of = {"dimension": name, "period_ms": period_ms}
            yield from read(db, source, query, since_ms, until_ms, of=of, only=only)


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
