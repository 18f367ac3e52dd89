"""A copy of a ledger at one moment, made while a service writes to it, and audited before it gets its name."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ledger.errors import BackupFailed, NotALedger
from ledger.sqlite.migrate import check_identity
from ledger.sqlite.verify import verify_file
from ledger.verify import Findings, Unreadable

_TOLD_EACH_S: Final = 0.5


def backup_file(source: Path, target: Path, *, on_step: Callable[[str], None]) -> Findings:
    """Copy `source` as it is at one moment into a new file, compacted, durable, its owner's alone; then audit the copy.

    Reads one snapshot, so that nobody who writes waits. A copy that was cut off leaves `target.partial`, which the next
    one writes anew. Raises Unreadable for a source that is no sound ledger, BackupFailed for anything else; then there
    is no `target`.
    """
    if not source.is_file():
        raise Unreadable(f"there is no ledger at {source}")
    if target.exists():
        raise BackupFailed(f"{target} is there already: choose another name")
    partial = target.with_name(target.name + ".partial")
    try:
        with _own_file(partial) as descriptor:
            with _telling_size(partial, on_step):
                _copy(source, partial)
            os.fsync(descriptor)
            findings = verify_file(partial, on_rule=on_step, is_still=True)
            os.link(partial, target)  # Unlike a rename it fails if somebody made a file of that name meanwhile.
            partial.unlink()
        _sync_folder(target.parent)
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written: {error.strerror}") from error
    return findings


def _copy(source: Path, partial: Path) -> None:
    with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
        try:
            if check_identity(db) == 0:
                raise Unreadable(f"{source} is empty")
            db.execute("VACUUM INTO ?", (str(partial),))
        except NotALedger as error:
            raise Unreadable(str(error)) from error
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise Unreadable(f"{source} cannot be read: {error}") from error
            raise BackupFailed(f"the copy was not finished: {error}") from error


@contextmanager
def _own_file(path: Path) -> Iterator[int]:
    """An empty file that its owner alone may read, and that no other backup writes to."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupFailed(f"another backup is writing {path}") from error
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, 0o600)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _telling_size(path: Path, on_step: Callable[[str], None]) -> Iterator[None]:
    """Say now and then how much is written: SQLite says nothing while it copies."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_TOLD_EACH_S):
            on_step(f"{path.stat().st_size / 1e6:,.0f} MB copied")

    teller = threading.Thread(target=tell, name="backup progress")
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
