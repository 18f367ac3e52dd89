"""A connection as a batch sees it: what is looked up or changed for each of many is so in as few statements as can be.

From Python a small statement takes several times what SQLite takes to run it, and each hands the interpreter over to
whichever thread waits for it.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

# So many rows at once: few texts to keep ready, and few statements for any number. SQLite takes 32,766 values in one.
ROWS_AT_ONCE: Final = (64, 16, 4, 1)
_ASKED: Final = re.compile(r"\basked\.(\w+)")


class Asking:
    """What `ledger.database.BatchDatabase` adds to a connection of sqlite3's."""

    def find_each(self: Any, sql: str, parameters: Iterable[Any], /) -> list[Any]:
        """What the statement finds for each of these rows: its table `asked`, of the columns that it names in it."""
        rows = list(parameters)
        found: list[Any] = []
        for part in _parts(rows):
            statement, names = _with_rows(sql, len(part))
            found += self.execute(statement, [row[name] for row in part for name in names]).fetchall()
        return found

    def change_each(self: Any, sql: str, parameters: Iterable[Any], look: str, /) -> list[Any]:
        """What `look` finds for each of these rows, before the statement is run for each of them.

        A statement for all of them that says what it changed has SQLite build two tables for it.
        """
        rows = list(parameters)
        found: list[Any] = self.find_each(look, rows)
        self.executemany(_silent(sql), rows)
        return found


class Session(Asking, sqlite3.Connection):
    """The connection that writes. See `ledger.database.BatchDatabase`, which it implements."""


def _parts(rows: list[Any]) -> Iterator[list[Any]]:
    place = 0
    for count in ROWS_AT_ONCE:
        while len(rows) - place >= count:
            yield rows[place : place + count]
            place += count


@cache
def _with_rows(sql: str, count: int) -> tuple[str, tuple[str, ...]]:
    """A statement that is asked for so many rows, and the columns that it takes of each, in the order of its values."""
    names = tuple(dict.fromkeys(_ASKED.findall(sql)))
    row = f"({', '.join('?' * len(names))})"
    return f"WITH asked ({', '.join(names)}) AS (VALUES {', '.join([row] * count)})\n{sql}", names


@cache
def _silent(sql: str) -> str:
    """A statement that does not say what it changed."""
    return sql.partition("RETURNING")[0]
