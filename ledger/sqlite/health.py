"""What all processes know of deployments. The router's values pass through unread."""

import sqlite3
from collections.abc import Callable
from typing import Final

from ledger.sql import statements

SQL: Final = statements("sqlite", "health")


def change_health(db: sqlite3.Connection, *, deployment: str, change: Callable[[str | None], str]) -> None:
    """Put what `change` makes of what is known in its place. Nobody else changes it in between."""
    row = db.execute(SQL["find_health"], {"deployment": deployment}).fetchone()
    known = None if row is None else row[0]
    health = change(known)
    if health != known:
        db.execute(SQL["keep_health"], {"deployment": deployment, "health": health})


def health_since(db: sqlite3.Connection, *, version: int) -> tuple[int, dict[str, str]]:
    """(the newest version, {deployment: what is known}) of what changed after this version."""
    rows = db.execute(SQL["health_since"], {"version": version}).fetchall()
    return (rows[-1][1] if rows else version), {deployment: health for deployment, _, health in rows}
