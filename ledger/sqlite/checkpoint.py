"""When to move the WAL into the database file. The writer does it, in its turn, and nobody else.

Source: DESIGN §9, SQLite before 3.51.3 can lose a commit when two connections write and checkpoint at one instant.
"""

import sqlite3
from pathlib import Path
from typing import Final

CHECKPOINT_BYTES: Final = 8 << 20


class Checkpoints:
    """Passive checkpoints each CHECKPOINT_BYTES of WAL; one that a reader held up is tried again as much later."""

    def __init__(self, database: Path) -> None:
        self._wal = database.with_name(database.name + "-wal")
        self._due_at_bytes = CHECKPOINT_BYTES

    def run_if_due(self, db: sqlite3.Connection) -> None:
        """Checkpoint if the WAL has grown enough. Only `stat`: opening the file here would drop SQLite's own locks."""
        size = self._wal.stat().st_size
        if size >= self._due_at_bytes:
            moved_all = self.run(db)
            self._due_at_bytes = CHECKPOINT_BYTES if moved_all else size + CHECKPOINT_BYTES

    def run(self, db: sqlite3.Connection) -> bool:
        """Move what no reader still needs. True if that was all of it."""
        _, in_wal, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(in_wal == moved)
