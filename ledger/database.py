"""What an operation sees of its database, whichever engine keeps it.

The operations are plain functions over a `Database`: each is part of one transaction, and knows neither whose it is nor
how statements get there. `sqlite3.Connection` is one as it is.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class RuleBroken(Exception):
    """A rule of the schema refused a statement; its text is the rule's. SQLite's own is `sqlite3.IntegrityError`."""


class Rows(Protocol):
    """What a statement found, in order. rowcount: how many rows it wrote. description: a tuple for each column."""

    @property
    def rowcount(self) -> int: ...

    @property
    def description(self) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection in a transaction. Parameters: {name: value} for `:name`, or values in order for `?`."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Rows: ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Rows: ...


def named(rows: Rows) -> list[dict[str, Any]]:
    """Each row as {column: value}."""
    names = [column[0] for column in rows.description]
    return [dict(zip(names, row, strict=True)) for row in rows]
