"""The tables that a ledger is made of, as its schema says. The other engines have the same ones: a test proves it."""

import sqlite3
from contextlib import closing
from functools import cache
from graphlib import TopologicalSorter
from typing import Final

from ledger.operations.rows import Table
from ledger.sql import schema

# Columns that hold whole answers: {table: its columns}. Anything else is short.
HEAVY: Final = {"responses": ("body",), "idempotency": ("hit", "result"), "failed_flights": ("failure",)}
# Empty whenever anything is committed: nothing of them is to be copied, and no other engine needs them.
PASSING: Final = frozenset({"postponing", "postponed", "nowhere"})


@cache
def tables() -> tuple[Table, ...]:
    """All of them, each after those that it refers to."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(schema("sqlite"))
        found = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        names = [name for (name,) in found if name not in PASSING]
        refers = {
            name: {other for (other,) in db.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (name,))} - {name}
            for name in names
        }
        return tuple(_table(db, name) for name in TopologicalSorter(refers).static_order())


@cache
def triggers() -> tuple[tuple[str, str], ...]:
    """(name, the statement that makes it) of each trigger."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(schema("sqlite"))
        return tuple(db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"))


def _table(db: sqlite3.Connection, name: str) -> Table:
    columns = db.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
    key = sorted((place, column) for column, place in columns if place)
    return Table(
        name=name,
        columns=tuple(column for column, _ in columns),
        key=tuple(column for _, column in key),
        heavy=HEAVY.get(name, ()),
    )
