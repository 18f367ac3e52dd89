"""What an operation sees of its database, whichever engine keeps it.

The operations are plain functions over a `Database`: each is part of one transaction, and knows neither whose it is nor
how statements get there. `sqlite3.Connection` is one as it is, and `ledger.sqlite.bundled` has another.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from ledger.reports import Latency, Spend

Result = TypeVar("Result")


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


class BatchDatabase(Database, Protocol):
    """One that a batch runs on: it does for many at once what is done for each of them."""

    def find_each(self, sql: str, parameters: Iterable[Any], /) -> Iterable[Any]:
        """What the statement finds for each of these {name: value}, as rows, in any order."""

    def change_each(self, sql: str, parameters: Iterable[Any], look: str, /) -> Iterable[Any]:
        """Run a statement that says what it changed for each of these, and tell what it said.

        look: finds, in the same columns, what will be changed; for an engine that has to look first.
        """


def named(rows: Rows) -> list[dict[str, Any]]:
    """Each row as {column: value}."""
    names = [column[0] for column in rows.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


@runtime_checkable
class _OwnWords(Protocol):
    def words_of(self, statement: str) -> str: ...


def words_of(db: Database, statement: str) -> str:
    """A statement in this engine's words, for what is put together of several: it has to be of one dialect."""
    return db.words_of(statement) if isinstance(db, _OwnWords) else statement


class Snapshot(Protocol):
    """See `ledger.faces.Transaction`."""

    async def get_all_spend(self, *, since_ms: int | None = None, until_ms: int | None = None) -> dict[str, Spend]: ...

    async def get_all_latency(
        self, *, since_ms: int | None = None, until_ms: int | None = None
    ) -> dict[str, Latency]: ...


class Readings(Protocol):
    """Where an engine's readings are made."""

    async def read(self, work: Callable[[Database], Result]) -> Result:
        """Run `work` on one snapshot. Raises ReadingTooLong, and LedgerUnavailable."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """One moment that several readings are of."""

    async def free_bytes(self) -> int | None:
        """See `ledger.faces.Rates`."""
