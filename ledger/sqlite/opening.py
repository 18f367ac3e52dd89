"""Opening the database file: what is done first, and whether trouble may pass by itself."""

import sqlite3
from pathlib import Path
from typing import Final

from ledger.sqlite.checkpoint import start_over
from ledger.sqlite.connection import sync_folder
from ledger.sqlite.migrate import migrate

# Trouble that opening the file again may end. Anything else needs a person.
PASSING: Final = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
})  # fmt: skip


def prepare(db: sqlite3.Connection, *, path: Path) -> None:
    """Bring the schema up to date, and everything that is on record to where a power cut cannot take it.

    A crash may leave frames in the WAL whose sync failed: they read well until the power goes, and with them would go
    every later commit. Moving them to the database writes and syncs them again. While another connection still reads
    the WAL nothing was recovered from it, so there nothing needs to be moved.
    """
    migrate(db)
    sync_folder(path)  # Before anything is moved: a database that half was moved to is nothing without its WAL.
    start_over(db, wait_ms=0)


def may_pass(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF in PASSING
    return isinstance(error, OSError)
