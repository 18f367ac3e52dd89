"""A connection by the SQLite that APSW brings: newer than most systems' own, and it reads a third faster (3.54, 3.40).

Only for a process in which no other copy of SQLite opens the same file: to close it there would take our locks away.
Source: sqlite.org/howtocorrupt.html, "Multiple copies of SQLite linked into the same application".
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw

from ledger.sqlite.reading import prepare, uri_of

# As long as `sqlite3` waits by itself.
_BUSY_TIMEOUT_MS: Final = 5000
# Of the largest file; with more, nothing was measured.
_MAPPED_BYTES: Final = 0x7FFF0000
_ERRORS: Final[dict[int, type[sqlite3.DatabaseError]]] = {
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
}


class Bundled:
    """Speaks as a connection of `sqlite3`, as far as readings ask. Raises sqlite3.DatabaseError.

    So does it where a function of Python's failed, or a text is none.
    """

    def __init__(self, uri: str) -> None:
        try:
            self._db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        except apsw.Error as error:
            raise as_sqlite3(error) from error
        self._db.set_busy_timeout(_BUSY_TIMEOUT_MS)

    def execute(self, sql: str, parameters: Any = None, /) -> "BundledRows":
        """All rows are read at once."""
        return self._rows(apsw.Cursor.execute, sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> "BundledRows":
        """As above."""
        return self._rows(apsw.Cursor.executemany, sql, parameters)

    def create_function(
        self, name: str, narg: int, func: Callable[..., int], /, *, deterministic: bool = False
    ) -> None:
        """As sqlite3's."""
        try:
            self._db.create_scalar_function(name, func, narg, deterministic=deterministic)
        except apsw.Error as error:
            raise as_sqlite3(error) from error

    def close(self) -> None:
        """Idempotent."""
        self._db.close()

    def _rows(
        self, execute: Callable[[apsw.Cursor, str, Any], apsw.Cursor], sql: str, parameters: Any
    ) -> "BundledRows":
        cursor = self._db.cursor()
        try:
            execute(cursor, sql, parameters)
            return BundledRows(_columns(cursor), cursor.fetchall(), self._db.changes())
        except (apsw.NoMemError, MemoryError) as error:
            raise MemoryError from error  # As sqlite3: it says nothing of the file.
        except apsw.Error as error:
            raise as_sqlite3(error) from error
        except Exception as error:  # APSW passes on what a function, or a text that is none, raised.
            raise sqlite3.OperationalError(str(error)) from error
        finally:
            cursor.close(force=True)  # Whatever kept its statement from its end.


class BundledRows:
    """See `ledger.database.Rows`."""

    def __init__(self, description: Any, rows: list[Any], rowcount: int) -> None:
        self.description, self.rowcount = description, rowcount
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        """None: there are no more."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """Those that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


def connect_mapped(path: Path, *, is_still: bool) -> Bundled:
    """As `ledger.sqlite.reading.connect`. The system reads the file into our memory: what it cannot read ends us."""
    db = Bundled(uri_of(path, is_still=is_still))
    prepare(db)
    db.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    return db


def as_sqlite3(error: apsw.Error) -> sqlite3.DatabaseError:
    """The same as sqlite3 would have said it."""
    code = getattr(error, "result", apsw.SQLITE_ERROR)
    told = _ERRORS.get(code, sqlite3.OperationalError)(str(error))
    told.sqlite_errorcode = getattr(error, "extendedresult", code)
    return told


def _columns(cursor: apsw.Cursor) -> Any:
    try:
        return cursor.description
    except apsw.ExecutionCompleteError:  # No row was found.
        return ()
