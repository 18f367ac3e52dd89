"""When to move the WAL into the database file. The writer does it, in its turn, and nobody else.

Source: DESIGN §9, SQLite before 3.51.3 can lose a commit when two connections write and checkpoint at one instant.
"""

import logging
import sqlite3
from pathlib import Path

import msgspec

from ledger.sqlite.wal import Wal

log = logging.getLogger(__name__)


class WalRule(msgspec.Struct, frozen=True, kw_only=True):
    """How far the WAL may come.

    checkpoint_bytes: from here on what no reader needs is moved. restart_bytes: from here on the writer also waits, up
    to restart_wait_ms, for readers to let go, so that the WAL starts over. limit_bytes: from here on nothing new is
    admitted until it has.
    """

    checkpoint_bytes: int = 8 << 20
    restart_bytes: int = 64 << 20
    restart_wait_ms: int = 250
    limit_bytes: int = 1 << 30


class Checkpoints:
    """Keeps the WAL of one database short; what a reader held up is tried again as much later.

    is_full: the WAL has reached its limit, because a reader stays.
    """

    def __init__(self, database: Path, rule: WalRule | None = None) -> None:
        self._database = database
        self._wal = Wal(database)
        self._rule = rule or WalRule()
        self._due_at_bytes = self._rule.checkpoint_bytes
        self.is_full = False

    def run_if_due(self, db: sqlite3.Connection) -> None:
        """Checkpoint if the WAL has come far enough."""
        if not self.is_full and not self._wal.reaches(self._due_at_bytes):
            return
        size = self._wal.size()
        if size < self._rule.restart_bytes:
            moved_all = self.run(db)
        else:
            moved_all = start_over(db, wait_ms=0 if self.is_full else self._rule.restart_wait_ms)
            self._note(size, is_full=not moved_all and size >= self._rule.limit_bytes)
        self._due_at_bytes = self._rule.checkpoint_bytes if moved_all else size + self._rule.checkpoint_bytes

    def run(self, db: sqlite3.Connection) -> bool:
        """Move what no reader still needs. True if that was all of it."""
        _, in_wal, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(in_wal == moved)

    def _note(self, size: int, *, is_full: bool) -> None:
        if is_full and not self.is_full:
            log.error(
                "a process that reads the ledger does not let go of it, and its WAL has grown to %d MiB: nothing is "
                "admitted until it does; find it with `fuser %s-wal` and end it",
                size >> 20, self._database,
            )  # fmt: skip
        self.is_full = is_full


def start_over(db: sqlite3.Connection, *, wait_ms: int) -> bool:
    """Move the whole WAL and empty it. False: a reader still needed it after wait_ms; nothing is lost."""
    (usual_ms,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute(f"PRAGMA busy_timeout = {int(wait_ms)}")  # A pragma takes no parameters.
    try:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(usual_ms)}")
    return not busy
