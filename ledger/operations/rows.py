"""Whole tables, read by ranges of their keys: what a copy is made and compared with, whatever the tables are for.

The only statements that are put together here and not written in `sql/`: they are the same for every table but for its
names, and those come from the schema (`ledger.sqlite.tables`), never from a row.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from ledger.database import Database

Row = tuple[Any, ...]

ROWS_AT_ONCE: Final = 5000
# Of the columns that hold whole answers, as much as this together; a single one may be larger.
BYTES_AT_ONCE: Final = 8 << 20
_ANSWERS_AT_ONCE: Final = 500


class Table(msgspec.Struct, frozen=True):
    """A table. key: the columns of its primary key, which its rows are in order of; heavy: those of any length."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    heavy: tuple[str, ...] = ()

    def key_of(self, row: Row) -> Row:
        """What this row is known by."""
        return tuple(row[self.columns.index(name)] for name in self.key)


def rows_after(db: Database, table: Table, after: Row | None) -> list[Row]:
    """The next rows in order of the key, not too many to hold. after: the key they come after; None: from the first."""
    most = _how_many(db, table, after) if table.heavy else ROWS_AT_ONCE
    return next_rows(db, table, after, most)


def next_rows(db: Database, table: Table, after: Row | None, most: int) -> list[Row]:
    """The next rows in order of the key, at most so many."""
    return _select(db, table, _names(table.columns), after, most)


def last_key(db: Database, table: Table) -> Row | None:
    """The highest key. None: the table is empty."""
    backwards = ", ".join(f'"{name}" DESC' for name in table.key)
    select = f'SELECT {_names(table.key)} FROM "{table.name}" ORDER BY {backwards} LIMIT 1'  # noqa: S608  # See above.
    row = db.execute(select).fetchone()
    return None if row is None else tuple(row)


def count_rows(db: Database, table: Table) -> int:
    """How many there are."""
    (count,) = db.execute(f'SELECT COUNT(*) FROM "{table.name}"').fetchone()  # noqa: S608  # See above.
    return int(count)


def insert(table: Table) -> str:
    """The statement that adds one row."""
    places = ", ".join("?" for _ in table.columns)
    return f'INSERT INTO "{table.name}" ({_names(table.columns)}) VALUES ({places})'  # noqa: S608  # See above.


def _how_many(db: Database, table: Table, after: Row | None) -> int:
    sizes = " + ".join(f'COALESCE(length("{name}"), 0)' for name in table.heavy)
    found: list[int] = [size for (size,) in _select(db, table, sizes, after, _ANSWERS_AT_ONCE)]
    return max(1, sum(size <= BYTES_AT_ONCE for size in accumulate(found)))


def _select(db: Database, table: Table, what: str, after: Row | None, most: int) -> list[Row]:
    key = _names(table.key)
    places = ", ".join("?" for _ in table.key)
    where = "" if after is None else f"WHERE ({key}) > ({places})"
    return db.execute(
        f'SELECT {what} FROM "{table.name}" {where} ORDER BY {key} LIMIT ?',  # noqa: S608  # See above.
        (*(after or ()), most),
    ).fetchall()


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
