"""A connection for a long reading, and its snapshot."""

import sqlite3
from pathlib import Path
from typing import Final

_CACHE_KIB: Final = 32 * 1024
# Of the largest file, as much as SQLite maps.
_MAPPED_BYTES: Final = 0x7FFF0000


def connect(path: Path, *, is_still: bool, is_mapped: bool = False) -> sqlite3.Connection:
    """A connection that only reads, lent from thread to thread.

    is_mapped: the system reads the file into our memory by itself; what it cannot read ends the process.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if is_still else "")
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if is_mapped:
        db.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    return db


def begin(db: sqlite3.Connection) -> None:
    """A snapshot begins with its first reading."""
    db.execute("BEGIN")
    db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
