"""The writer of one process on a SQLite file: each batch in its turn among all processes on the file."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ledger.errors import NotALedger
from ledger.figures import Batch
from ledger.sqlite.batches import run_batch
from ledger.sqlite.checkpoint import Checkpoints, WalRule
from ledger.sqlite.connection import Connection, Synchronous, open_writer
from ledger.sqlite.opening import may_pass, prepare
from ledger.sqlite.place import Place
from ledger.sqlite.turns import Turns
from ledger.sqlite.wal import Wal
from ledger.store.works import BatchLost, Committed, Work
from ledger.store.writer import Commit, Writer, run_writer

Result = TypeVar("Result")
OpenConnection = Callable[[Path, Synchronous], AbstractAsyncContextManager[Connection]]


class SqliteWriter(Writer):
    """Made by `open_store`.

    open_connection: where its connection comes from; a simulation has its own, without threads.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError)

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        open_connection: OpenConnection = open_writer,
        wal_rule: WalRule | None = None,
        *,
        tell: Callable[[Batch], None] | None = None,
    ) -> None:
        super().__init__(str(path), tell=tell)
        self.path = path
        self._place = Place(path)
        self._checkpoints = Checkpoints(path, wal_rule)
        self._open_connection = open_connection
        self._synchronous: Synchronous = synchronous

    @property
    def has_room(self) -> bool:
        return not self._checkpoints.is_full

    def may_pass(self, error: BaseException) -> bool:
        return may_pass(error)

    def wal_bytes(self) -> int:
        return Wal(self.path).size()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Commit]:
        self._place.check()  # Opened again: what is gone is not made anew, with nothing spent.
        turns = Turns(self.path)
        try:
            async with self._open_connection(self.path, self._synchronous) as connection:
                await connection.run(partial(_in_turn, turns=turns, work=partial(prepare, path=self.path)))
                self._place.found()
                yield partial(_commit, connection, turns, self._place, self._checkpoints)
                await connection.run(partial(_in_turn, turns=turns, work=self._checkpoints.run))
        finally:
            turns.close()


@asynccontextmanager
async def open_store(
    path: Path,
    synchronous: Synchronous,
    open_connection: OpenConnection = open_writer,
    wal_rule: WalRule | None = None,
    *,
    tell: Callable[[Batch], None] | None = None,
) -> AsyncIterator[SqliteWriter]:
    """A writer on this file, made and migrated if need be. Raises NotALedger."""
    writer = SqliteWriter(path, synchronous, open_connection, wal_rule, tell=tell)
    async with run_writer(writer):
        yield writer


async def _commit(
    connection: Connection, turns: Turns, place: Place, checkpoints: Checkpoints, works: Iterable[Work[Any]]
) -> Committed:
    in_turn = partial(_commit_in_turn, turns=turns, place=place, checkpoints=checkpoints, works=works)
    return await connection.run(in_turn)


def _commit_in_turn(
    db: sqlite3.Connection, *, turns: Turns, place: Place, checkpoints: Checkpoints, works: Iterable[Work[Any]]
) -> Committed:
    with turns.take():
        results = run_batch(db, works)
        try:
            place.check()
        except (OSError, NotALedger) as error:
            raise BatchLost(unknown=True) from error
        try:
            checkpoints.run_if_due(db)
        except (sqlite3.Error, OSError) as error:
            return results, error
    return results, None


def _in_turn(db: sqlite3.Connection, *, turns: Turns, work: Callable[[sqlite3.Connection], Result]) -> Result:
    with turns.take():
        return work(db)
