"""What all processes on one ledger remember together. The router's values pass through unread."""

from collections.abc import Callable
from typing import Final

from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "memory")


def change_memory(db: Database, *, subject: str, change: Callable[[str | None], str | None]) -> None:
    """Put what `change` makes of what is remembered in its place. Nobody else changes it in between.

    None where nothing is remembered: so it stays. What is remembered is replaced, never removed: others are to hear.
    """
    row = db.execute(SQL["find_memory"], {"subject": subject}).fetchone()
    before = None if row is None else row[0]
    after = change(before)
    assert after is not None or before is None
    if after != before:
        db.execute(SQL["keep_memory"], {"subject": subject, "remembered": after})


def memory_since(db: Database, *, version: int) -> tuple[int, dict[str, str]]:
    """(the newest version, {subject: what is remembered}) of what changed after this version."""
    rows = db.execute(SQL["memory_since"], {"version": version}).fetchall()
    return (rows[-1][1] if rows else version), {subject: remembered for subject, _, remembered in rows}
