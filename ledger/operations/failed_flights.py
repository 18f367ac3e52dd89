"""How flights failed, left for a while for calls in other processes that waited for them."""

from typing import Final

from ledger.database import Database
from ledger.sql import statements
from ledger.values import Settlement

SQL: Final = statements("sqlite", "failed_flights")
# Followers elsewhere look five times a second; this much longer, a busy process may still be on its way to look.
FAILURE_SHARED_MS: Final = 15_000
FAILURES_SHARED: Final = 5000


def share_failure(db: Database, settlement: Settlement, failure: bytes) -> None:
    """Leave how this flight failed for calls elsewhere that waited for it."""
    now_ms = settlement.ending.finished_at_ms
    row = {
        "generation_id": settlement.ending.generation_id,
        "failure": failure,
        "now_ms": now_ms,
        "until_ms": now_ms + FAILURE_SHARED_MS,
    }
    shared = db.execute(SQL["share_failure"], row).fetchone()
    if shared is not None:
        db.execute(SQL["forget_failures_before"], {"failure_id": shared[0] - FAILURES_SHARED})


def find_failure(db: Database, leader_id: str, *, now_ms: int) -> bytes | None:
    """What the flight that this generation led left for calls in other processes, if it failed just now."""
    row = db.execute(SQL["find_failure"], {"generation_id": leader_id, "now_ms": now_ms}).fetchone()
    return None if row is None else row[0]


def forget_failures(db: Database, *, now_ms: int) -> None:
    """Forget those whose time is over."""
    db.execute(SQL["forget_failures"], {"now_ms": now_ms})
