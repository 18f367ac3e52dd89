"""How one figure of a report went over its window: a line of block characters for each row."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.reports import MOMENT_LENGTHS, LatencyQuery, SpendQuery, iso, parse_moment

BLOCKS: Final = "▁▂▃▄▅▆▇█"
NOTHING: Final = " "
MOST_CELLS: Final = 24
# Fewer say nothing that a number would not.
FEWEST_CELLS: Final = 4
BY_THE_HOUR_UP_TO_MS: Final = 3 * DAY_MS

Unit = Literal["hour", "day"]
Report = dict[str, Any]
Query = TypeVar("Query", SpendQuery, LatencyQuery)
Values = Sequence[float | None]


class Figure(msgspec.Struct, frozen=True):
    """What a line shows. of: its value in a report's row, None where nothing was measured; merge: of several values."""

    heading: str
    of: Callable[[Mapping[str, Any]], float | None]
    merge: Callable[[Iterable[float]], float]


class Courses(msgspec.Struct, frozen=True):
    """A figure by the hour or day, oldest first. rows: {the values of the report's group_by: how it went}."""

    figure: Figure
    unit: Unit
    rows: dict[tuple[str, ...], Values]
    total: Values

    def cells(self, most: int) -> int:
        """How many characters its lines take at most, where there is room for so many."""
        return min(most, MOST_CELLS, len(self.total))

    def heading(self, cells: int) -> str:
        """What a line of so many characters shows."""
        size = cell_size(len(self.total), cells)
        return f"{self.figure.heading} by {self.unit if size == 1 else f'{size} {self.unit}s'}"

    def line(self, key: tuple[str, ...] | None, cells: int) -> str:
        """How a row went, in at most so many characters; None: all rows together."""
        values = self.total if key is None else self.rows.get(key, ())
        return sparkline(resampled(values, cells, self.figure.merge))


def cell_size(count: int, cells: int) -> int:
    """How many of `count` steps one of at most `cells` characters stands for."""
    return -(-count // cells)


def sparkline(values: Values) -> str:
    """A block for each value, the greatest a whole one. What is nothing, or less, is blank."""
    most = max((value for value in values if value is not None), default=0)
    return "".join(
        NOTHING if value is None or value <= 0 else BLOCKS[min(int(value / most * len(BLOCKS)), len(BLOCKS) - 1)]
        for value in values
    )


def resampled(values: Values, cells: int, merge: Callable[[Iterable[float]], float]) -> list[float | None]:
    """The same course in at most so many steps, all of one length up to the newest; only the oldest may be shorter."""
    size = cell_size(len(values), cells)
    if size <= 1:
        return list(values)
    found: list[float | None] = []
    for end in range(len(values), 0, -size):
        known = [value for value in values[max(0, end - size) : end] if value is not None]
        found.append(merge(known) if known else None)
    return found[::-1]


async def courses(
    read: Callable[[Query], Awaitable[Report]], query: Query, figure: Figure, *, now_ms: int
) -> Courses | None:
    """How the figure of each row of this query's report went. None: its rows are moments already, or there are none."""
    if {*query.group_by} & MOMENT_LENGTHS.keys():
        return None
    span = await _span(read, query, now_ms)
    if span is None:
        return None
    unit: Unit = "hour" if span[1] - span[0] <= BY_THE_HOUR_UP_TO_MS else "day"
    moments = {name: place for place, name in enumerate(_moments(*span, unit))}
    total = await read(msgspec.structs.replace(query, group_by=(unit,)))
    grouped = await read(msgspec.structs.replace(query, group_by=(*query.group_by, unit)))
    return Courses(
        figure=figure,
        unit=unit,
        rows=_by_key(grouped["rows"], query.group_by, unit, moments, figure),
        total=_by_key(total["rows"], (), unit, moments, figure).get((), ()),
    )


def _by_key(
    rows: Iterable[Mapping[str, Any]], group_by: tuple[str, ...], unit: Unit, moments: dict[str, int], figure: Figure
) -> dict[tuple[str, ...], Values]:
    found: dict[tuple[str, ...], list[float | None]] = {}
    for row in rows:
        place = moments.get(row[unit])
        if place is not None:
            course = found.setdefault(tuple(row[name] for name in group_by), [None] * len(moments))
            course[place] = figure.of(row)
    return {**found}


async def _span(read: Callable[[Query], Awaitable[Report]], query: Query, now_ms: int) -> tuple[int, int] | None:
    """The window in milliseconds; where it has no beginning, from the first day of which anything is known."""
    until_ms = min(now_ms, now_ms if query.until_ms is None else query.until_ms)
    since_ms = query.since_ms
    if since_ms is None:
        days = [row["day"] for row in (await read(msgspec.structs.replace(query, group_by=("day",))))["rows"]]
        if not days:
            return None
        since_ms = parse_moment(min(days), now_ms)
    return (since_ms, until_ms) if since_ms < until_ms else None


def _moments(since_ms: int, until_ms: int, unit: Unit) -> list[str]:
    """The names of all hours or days that the window touches."""
    unit_ms = HOUR_MS if unit == "hour" else DAY_MS
    length, ending = MOMENT_LENGTHS[unit], ":00:00Z" if unit == "hour" else ""
    first_ms = since_ms - since_ms % unit_ms
    return [iso(moment_ms)[:length] + ending for moment_ms in range(first_ms, until_ms, unit_ms)]
