"""The two ends of a copy that are files: see `ledger.copying`."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from ledger.copying import CopyRefused
from ledger.database import Database
from ledger.errors import NotALedger
from ledger.operations import unfinished
from ledger.operations.rows import Row, Table, insert
from ledger.sql import migrations, schema
from ledger.sqlite.connection import create_private, sync_folder
from ledger.sqlite.files import check_file
from ledger.sqlite.migrate import APPLICATION_ID, check_identity, run_script
from ledger.sqlite.tables import triggers

Result = TypeVar("Result")

_BUSY_TIMEOUT_S: Final = 5.0
_CACHE_KIB: Final = 64 * 1024


class FileSource:
    """A ledger's file, read in one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def read(self, work: Callable[[Database], Result]) -> Result:
        """Run `work` on that moment."""
        return work(self._db)


@contextmanager
def open_source(path: Path) -> Iterator[FileSource]:
    """A ledger as it is now. Raises NotALedger."""
    if not path.is_file():
        raise NotALedger(f"there is no ledger at {path}")
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)) as db:
        db.execute("BEGIN")
        if check_identity(db) != len(migrations("sqlite")):
            raise NotALedger(f"{path} is of an older farthing: start the service on it once, it brings it up to date")
        yield FileSource(db)


class FileTarget:
    """A file that a copy is made in, and that is made when the copy begins. Made by `open_target`."""

    def __init__(self, path: Path, closed_at_end: ExitStack) -> None:
        self._path = path
        self._closed_at_end = closed_at_end
        self._taker = secrets.token_hex(8)
        self._opened: sqlite3.Connection | None = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            create_private(self._path)
            self._opened = self._closed_at_end.enter_context(_connected(self._path))
        return self._opened

    def read(self, work: Callable[[Database], Result]) -> Result:
        return work(self._db)

    def begun(self) -> str | None:
        if not self._path.exists() or not self._path.stat().st_size:
            check_file(self._path)
            return None
        uri = f"{self._path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)) as db:
            return self._begun(db)

    def begin(self, mark: str, copied: tuple[Table, ...], *, now_ms: int) -> None:
        def make(db: sqlite3.Connection) -> None:
            if self._begun(db) is not None:
                raise CopyRefused(f"another copy to {self._path} has just begun")
            run_script(db, schema("sqlite"))
            for name, _ in triggers():
                db.execute(f'DROP TRIGGER "{name}"')
            for table in copied:
                db.execute(f'DELETE FROM "{table.name}"')  # noqa: S608  # The schema's own names.
            unfinished.make(db, mark=mark, taker=self._taker)
            db.execute(f"PRAGMA user_version = {len(migrations('sqlite'))}")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")

        self._write(make)

    def take_over(self) -> None:
        if check_identity(self._db, is_unfinished=True) != len(migrations("sqlite")):
            raise CopyRefused(
                f"the copy in {self._path} was begun by an older farthing: remove the file and begin anew"
            )
        self._write(lambda db: unfinished.take_over(db, taker=self._taker))

    def _begun(self, db: sqlite3.Connection) -> str | None:
        if check_identity(db, is_unfinished=True) == 0:
            return None
        if not _is_unfinished(db):
            raise NotALedger(f"there is a ledger in {self._path}: a copy needs a file of its own, choose another name")
        return unfinished.mark_of(db)

    def storable(self, rows: list[Row]) -> list[Row]:
        return rows

    def add(self, table: Table, rows: list[Row]) -> None:
        self._write_ours(lambda db: db.executemany(insert(table), rows))

    def add_no_more(self) -> None:
        pass  # What is written can be read.

    def finish(self) -> None:
        def end(db: sqlite3.Connection) -> None:
            for _, statement in triggers():
                db.execute(statement)
            unfinished.end(db)

        self._write_ours(end)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sync_folder(self._path)

    def _write_ours(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def check_and_work(db: sqlite3.Connection) -> None:
            if not (_is_unfinished(db) and unfinished.is_taken_by(db, taker=self._taker)):
                raise CopyRefused(f"another copy to {self._path} has begun since: this one ends")
            work(db)

        self._write(check_and_work)

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            work(self._db)
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


@contextmanager
def open_target(path: Path) -> Iterator[FileTarget]:
    """A file to copy to."""
    with ExitStack() as closed_at_end:
        yield FileTarget(path, closed_at_end)


def _is_unfinished(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (unfinished.TABLE,)).fetchone() is not None


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT_S)) as db:
        # Keys that refer to others are looked at by the audit, all at once. Nobody else checkpoints, as none writes.
        for setting in (
            "journal_mode = WAL", "synchronous = FULL", "foreign_keys = OFF", "trusted_schema = OFF",
            f"cache_size = -{_CACHE_KIB}",
        ):  # fmt: skip
            db.execute(f"PRAGMA {setting}")
        yield db
