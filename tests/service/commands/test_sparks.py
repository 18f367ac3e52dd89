"""How a figure went, in a line of blocks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.reports import SpendQuery, parse_moment
from service.commands.sparks import BLOCKS, Courses, Figure, cell_size, courses, resampled, sparkline

NOW_MS = parse_moment("2026-11-21T10:30:00Z", 0)
COST = Figure("cost", lambda row: row["cost"], sum)
VALUES = st.lists(st.none() | st.floats(-10, 1e12), max_size=80)


@given(VALUES)
def test_a_line_has_a_character_for_each_value_and_a_higher_value_never_a_lower_block(
    values: list[float | None],
) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    heights = [-1 if char == " " else BLOCKS.index(char) for char in line]
    pairs = sorted(zip([max(value or 0, 0) for value in values], heights, strict=True))
    assert [height for _, height in pairs] == sorted(heights)
    assert all((height >= 0) == (value > 0) for value, height in pairs)
    if any(value > 0 for value, _ in pairs):
        assert pairs[-1][1] == len(BLOCKS) - 1


@given(VALUES, st.integers(1, 30))
def test_in_fewer_steps_nothing_is_lost_and_all_but_the_oldest_are_of_one_length(
    values: list[float | None], cells: int
) -> None:
    found = resampled(values, cells, sum)
    size = cell_size(len(values), cells)
    assert len(found) <= cells
    assert sum(it or 0 for it in found) == pytest.approx(sum(it or 0 for it in values))
    if found and size > 1:
        newest = [it for it in values[-size:] if it is not None]
        assert found[-1] == (sum(newest) if newest else None)


def test_what_is_small_is_seen_and_what_is_nothing_is_not() -> None:
    assert sparkline([1, 8, None, 0, 4, -1]) == "▂█  ▅ "
    assert sparkline([0.001, 1000.0]) == "▁█"
    assert sparkline([0, None]) == "  "
    assert sparkline([]) == ""


class Costs:
    """A spend report of these costs: {(model, hour): cost}."""

    def __init__(self, costs: dict[tuple[str, str], int]) -> None:
        self._costs = costs
        self.asked: list[tuple[str, ...]] = []

    async def __call__(self, query: SpendQuery) -> dict[str, Any]:
        self.asked.append(query.group_by)
        sums: dict[tuple[str, ...], int] = {}
        for (model, hour), cost in self._costs.items():
            names = {"model": model, "hour": hour, "day": hour[:10]}
            key = tuple(names[name] for name in query.group_by)
            sums[key] = sums.get(key, 0) + cost
        return {"rows": [dict(zip(query.group_by, key, strict=True)) | {"cost": cost} for key, cost in sums.items()]}


HOURS = Costs({("a", "2026-11-21T08:00:00Z"): 4, ("b", "2026-11-21T10:00:00Z"): 1, ("a", "2026-11-21T10:00:00Z"): 1})


async def of(costs: Costs, *by: str, since_ms: int | None = None, until_ms: int | None = None) -> Courses | None:
    query = SpendQuery(group_by=by, since_ms=since_ms, until_ms=until_ms)
    return await courses(costs, query, COST, now_ms=NOW_MS)


async def test_up_to_three_days_go_by_the_hour_from_the_first_that_the_window_touches() -> None:
    course = await of(HOURS, "model", since_ms=NOW_MS - 3 * HOUR_MS)
    assert course is not None
    assert course.rows == {("a",): [None, 4, None, 1], ("b",): [None, None, None, 1]}
    assert course.total == [None, 4, None, 2]
    assert (course.heading(4), course.line(("a",), 4), course.line(None, 4)) == ("cost by hour", " █ ▃", " █ ▅")
    assert (course.heading(2), course.line(("a",), 2)) == ("cost by 2 hours", "█▃")
    assert course.line(("of the last moment",), 4) == ""


async def test_longer_windows_go_by_the_day() -> None:
    course = await of(HOURS, "model", since_ms=NOW_MS - 4 * DAY_MS)
    assert course is not None
    assert course.heading(5) == "cost by day"
    assert course.total == [None, None, None, None, 6]


async def test_a_window_without_a_beginning_begins_with_the_first_day_that_has_something() -> None:
    course = await of(HOURS)
    assert course is not None
    assert (course.unit, len(course.total)) == ("hour", 11)
    old = Costs({("a", "2025-11-21T08:00:00Z"): 1})
    course = await of(old)
    assert course is not None
    assert (course.unit, len(course.total), course.cells(100)) == ("day", 366, 24)


async def test_there_is_nothing_to_draw_of_moments_nor_of_an_empty_ledger_nor_of_the_future() -> None:
    assert await of(HOURS, "model", "day") is None
    assert await of(Costs({}), "model") is None
    assert await of(HOURS, "model", since_ms=NOW_MS + 1) is None
