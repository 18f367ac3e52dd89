"""A connection for a long reading, and its snapshot."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ledger.database import Database

_CACHE_KIB: Final = 32 * 1024


class Connection(Database, Protocol):
    """What a reading asks of one, by whichever copy of SQLite."""

    def create_function(
        self, name: str, narg: int, func: Callable[..., int], /, *, deterministic: bool = ...
    ) -> object: ...


def connect(path: Path, *, is_still: bool) -> sqlite3.Connection:
    """A connection that only reads, lent from thread to thread."""
    db = sqlite3.connect(uri_of(path, is_still=is_still), uri=True, isolation_level=None, check_same_thread=False)
    prepare(db)
    return db


def uri_of(path: Path, *, is_still: bool) -> str:
    """A file's name, for a connection that only reads. is_still: nobody else has it open."""
    return f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if is_still else "")


def prepare(db: Database) -> None:
    """For a long reading."""
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def begin(db: Database) -> None:
    """A snapshot begins with its first reading."""
    db.execute("BEGIN")
    db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
