"""Statements that are asked for many rows at once, on SQLite."""

import sqlite3
from contextlib import closing

import pytest

from ledger.sql import schema, statements
from ledger.sqlite.session import ROWS_AT_ONCE, Session, _with_rows

ASKED = [
    (need, name)
    for need in ("admit", "settle", "closed_holds", "responses")
    for name, sql in statements("sqlite", need).items()
    if "asked." in sql
]


@pytest.fixture
def db():
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=Session)) as db:
        db.executescript(schema("sqlite"))
        yield db


def test_each_row_finds_its_own_however_many_they_are(db):
    rows = [(f"route {number}", number) for number in range(200)]
    db.executemany("INSERT INTO refusals VALUES (0, ?, 'c', ?)", rows)
    find = "SELECT r.route, r.count FROM asked CROSS JOIN refusals AS r WHERE r.hour_ms = 0 AND r.route = asked.route"
    for count in (0, 1, 2, 15, 16, 85, 199):
        asked = [{"route": route, "beside": None} for route, _ in rows[:count]]
        assert db.find_each(find, asked) == rows[:count]
    assert db.find_each(find, [{"route": "none"}, {"route": "route 7"}]) == [("route 7", 7)]


def test_what_is_changed_is_told_as_it_was_found(db):
    db.executemany("INSERT INTO refusals VALUES (0, ?, 'c', ?)", [(f"{number}", number) for number in range(5)])
    look = "SELECT r.count FROM asked CROSS JOIN refusals AS r WHERE r.hour_ms = 0 AND r.route = asked.route"
    change = "UPDATE refusals SET count = count + :more WHERE route = :route RETURNING count"
    assert db.change_each(change, [{"route": "3", "more": 10}, {"route": "9", "more": 1}], look) == [(3,)]
    assert db.execute("SELECT count FROM refusals ORDER BY route").fetchall() == [(0,), (1,), (2,), (13,), (4,)]


@pytest.mark.parametrize(("need", "name"), ASKED)
def test_what_is_asked_for_comes_first_and_the_rest_is_looked_up(db, need, name):
    """A plan that read a table through, or built one, would cost more with every row that there is."""
    text, names = _with_rows(statements("sqlite", need)[name], ROWS_AT_ONCE[0])
    plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", [None] * ROWS_AT_ONCE[0] * len(names))]
    scans = [step for step in plan if step.startswith("SCAN") and step != "SCAN response_totals"]
    assert scans == [f"SCAN {ROWS_AT_ONCE[0]} CONSTANT ROWS", "SCAN asked"]
    assert not [step for step in plan if "AUTOMATIC" in step or "TEMP B-TREE" in step]
