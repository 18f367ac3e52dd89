"""Connections without threads: each piece of work runs whole at a later step, on a real file, with faults on order.

The file is real and in WAL mode, but nothing waits for the disk (synchronous `off`): a simulated crash ends a process
and never the machine, so everything committed is there afterwards just the same.
"""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from ledger.sqlite.connection import _apply_writer_settings
from ledger.sqlite.session import Session

Fault = Literal["busy", "statement", "full", "commit_lost", "commit_kept"]
FAULTS: tuple[Fault, ...] = ("busy", "statement", "full", "commit_lost", "commit_kept")


class FaultyDatabase(Session):
    """A database that fails once when it is told to, at a chosen statement."""

    fault: Fault | None = None
    after = 0

    def execute(self, sql, *parameters):
        if self.fault is not None:
            self._fail(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql, *parameters):
        if self.fault is not None:
            self._fail(sql)
        return super().executemany(sql, *parameters)

    def _fail(self, sql: str) -> None:
        fault, is_commit = self.fault, sql == "COMMIT"
        if fault == "busy" and sql == "BEGIN IMMEDIATE":
            self.fault = None
            raise _error(sqlite3.SQLITE_BUSY)
        if fault in {"commit_lost", "commit_kept"} and is_commit:
            self.fault = None
            if fault == "commit_kept":
                super().execute("COMMIT")
            raise _error(sqlite3.SQLITE_IOERR)
        if fault in {"statement", "full"} and self.in_transaction and not is_commit:
            self.after -= 1
            if self.after <= 0:
                self.fault = None
                if fault == "full":
                    super().execute("ROLLBACK")  # SQLite does this by itself where it finds no room.
                raise _error(sqlite3.SQLITE_FULL if fault == "full" else sqlite3.SQLITE_IOERR)


def _error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"simulated: {code}")
    error.sqlite_errorcode = code
    return error


class SimulatedConnection:
    """`ledger.sqlite.connection.Connection` to the writer: one piece of work after another, each at a later step."""

    def __init__(self, db: FaultyDatabase, chance: random.Random, after: Callable[[FaultyDatabase, int], None]) -> None:
        self.db = db
        self._chance = chance
        self._after = after
        self._busy_until_s = 0.0
        self.fault_rate = 0.0

    async def run(self, work):
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        begins_s = max(loop.time(), self._busy_until_s) + self._chance.choice((0.0001, 0.001, 0.02))
        self._busy_until_s = begins_s
        loop.call_at(begins_s, self._act, work, done)
        return await done

    def _act(self, work, done: asyncio.Future) -> None:
        loop, changes = asyncio.get_running_loop(), self.db.total_changes
        if self._chance.random() < self.fault_rate:
            self.db.fault, self.db.after = self._chance.choice(FAULTS), self._chance.randint(1, 25)
        try:
            result, error = work(self.db), None
        except Exception as raised:  # noqa: BLE001  # It belongs to whoever asked for the work.
            result, error = None, raised
        self.db.fault = None
        self._after(self.db, changes)
        # A process can be stopped between the commit and the moment that it hears of it.
        self._busy_until_s = loop.time() + self._chance.choice((0.0, 0.0005, 0.005))
        loop.call_at(self._busy_until_s, _tell, done, result, error)


def _tell(done: asyncio.Future, result: object, error: Exception | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)


def open_database(path: Path) -> FaultyDatabase:
    db = sqlite3.connect(path, isolation_level=None, timeout=0, cached_statements=256, factory=FaultyDatabase)
    _apply_writer_settings(db, synchronous="normal")
    db.execute("PRAGMA synchronous = OFF")
    return db


@asynccontextmanager
async def open_connection(path: Path, make: Callable[[FaultyDatabase], SimulatedConnection]) -> AsyncIterator:
    db = open_database(path)
    try:
        yield make(db)
    finally:
        db.close()
