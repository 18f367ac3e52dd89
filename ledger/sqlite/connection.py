"""Connections to the database file, with every setting read back."""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import aiosqlite

from ledger.errors import NotALedger
from ledger.sqlite.session import Session

Synchronous = Literal["full", "normal"]
Result = TypeVar("Result")

BUSY_TIMEOUT_S: Final = 5.0
WRITER_CACHE_KIB: Final = 64 * 1024
# The WAL's file keeps its length when it starts over (`ledger.sqlite.wal` says why). What a reader that stayed, or a
# very large batch, has made of it beyond this is cut off.
WAL_KEPT_BYTES: Final = 16 << 20
# A reader that stays keeps the WAL from shrinking; one statement that takes longer than this is stopped.
READ_STATEMENT_S: Final = 2.0
_PROGRESS_STEPS: Final = 20_000
_SYNCHRONOUS: Final = {"normal": 1, "full": 2}


class Connection(aiosqlite.Connection):
    """aiosqlite's thread and queue, with whole functions as its unit of work: a hop a batch, not a statement."""

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work` on the connection's own thread. A caller that is cancelled stops waiting; the work still ends."""
        result: Result = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite's own gap
        return result


@asynccontextmanager
async def open_writer(path: Path, synchronous: Synchronous) -> AsyncIterator[Connection]:
    """The one connection of this process that writes. Raises NotALedger if a setting did not take."""
    create_private(path)
    connection = Connection(partial(_connect, str(path), uri=False), iter_chunk_size=64)
    async with connection:
        await connection.run(partial(_apply_writer_settings, synchronous=synchronous))
        yield connection


@asynccontextmanager
async def open_reader(path: Path) -> AsyncIterator[Connection]:
    """A read-only connection to a file that exists."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = Connection(partial(_connect, uri, uri=True), iter_chunk_size=64)
    async with connection:
        await connection.run(_apply_reader_settings)
        yield connection


def sync_folder(database: Path) -> None:
    """Make the names of the database and its WAL last: a synced file that no folder names is lost all the same."""
    folder = os.open(database.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_bounded(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
    """Run a reader's work; sqlite3.OperationalError ("interrupted") once it outlasts READ_STATEMENT_S."""
    ends_at_s = time.monotonic() + READ_STATEMENT_S
    db.set_progress_handler(lambda: time.monotonic() > ends_at_s, _PROGRESS_STEPS)
    try:
        return work(db)
    finally:
        db.set_progress_handler(None, 0)


def _connect(database: str, *, uri: bool) -> sqlite3.Connection:
    return sqlite3.connect(
        database, uri=uri, isolation_level=None, timeout=BUSY_TIMEOUT_S, cached_statements=256, factory=Session
    )


def create_private(path: Path) -> None:
    """Make the file readable by its owner alone before SQLite opens it; its WAL takes the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise NotALedger(
            f"{path} cannot be created ({error.strerror}): choose a folder that you may write to"
        ) from error


def _apply_writer_settings(db: sqlite3.Connection, *, synchronous: Synchronous) -> None:
    _set(db, "journal_mode", "WAL", read_back="wal")
    _set(db, "synchronous", synchronous, read_back=_SYNCHRONOUS[synchronous])
    _set(db, "wal_autocheckpoint", 0, read_back=0)
    _set(db, "journal_size_limit", WAL_KEPT_BYTES, read_back=WAL_KEPT_BYTES)
    _set(db, "foreign_keys", 1, read_back=1)
    _set(db, "trusted_schema", 0, read_back=0)
    _set(db, "cell_size_check", 1, read_back=1)
    _set(db, "cache_size", -WRITER_CACHE_KIB, read_back=-WRITER_CACHE_KIB)
    _set(db, "temp_store", "MEMORY", read_back=2)


def _apply_reader_settings(db: sqlite3.Connection) -> None:
    _set(db, "query_only", 1, read_back=1)
    _set(db, "trusted_schema", 0, read_back=0)
    _set(db, "wal_autocheckpoint", 0, read_back=0)


def _set(db: sqlite3.Connection, setting: str, value: str | int, *, read_back: str | int) -> None:
    db.execute(f"PRAGMA {setting} = {value}")  # A pragma takes no parameters; both parts are constants of this file.
    (found,) = db.execute(f"PRAGMA {setting}").fetchone()
    if found != read_back:
        raise NotALedger(f"SQLite did not take {setting} = {value} (it says {found}); use a local file system")
