"""Stored responses: kept within bounds, until their time is over."""

from typing import Any, Final

from ledger.database import Database
from ledger.sql import statements
from ledger.values import CacheBounds, Storing

SQL: Final = statements("sqlite", "responses")
EXPIRED_PER_SWEEP: Final = 500


def store(db: Database, storing: Storing, bounds: CacheBounds, *, now_ms: int) -> None:
    """Put an answer in the place of what is under its key, within bounds."""
    response = storing.response
    entries, stored_bytes, replaced_bytes = db.execute(
        SQL["stored_totals"], {"cache_key": storing.cache_key}
    ).fetchone()
    if replaced_bytes is not None:
        db.execute(SQL["drop_response"], {"cache_key": storing.cache_key})
        entries, stored_bytes = entries - 1, stored_bytes - replaced_bytes
    if len(response.body) > bounds.max_bytes or bounds.max_entries < 1:
        return
    # What would expire soonest makes room, until one more entry of this size fits the bounds.
    while entries >= bounds.max_entries or stored_bytes + len(response.body) > bounds.max_bytes:
        cache_key, size = db.execute(SQL["soonest_to_expire"]).fetchone()
        db.execute(SQL["drop_response"], {"cache_key": cache_key})
        entries, stored_bytes = entries - 1, stored_bytes - size
    db.execute(SQL["store_response"], storing_row(storing, now_ms=now_ms))


def storing_row(storing: Storing, *, now_ms: int) -> dict[str, Any]:
    """The columns of a stored answer."""
    response, is_elsewhere = storing.response, storing.checksum is not None
    return {
        "cache_key": storing.cache_key,
        "generation_id": response.generation_id,
        "deployment": response.deployment,
        "cost_nanousd": response.cost_nanousd,
        "cost_basis": response.cost_basis,
        "stored_at_ms": now_ms,
        "expires_at_ms": storing.expires_at_ms,
        "body": b"" if is_elsewhere else response.body,
        "checksum": storing.checksum,
        "elsewhere_bytes": len(response.body) if is_elsewhere else 0,
    }


def drop_expired(db: Database, *, now_ms: int) -> None:
    """Drop answers whose time is over, EXPIRED_PER_SWEEP at most: no transaction is to take long."""
    db.execute(SQL["drop_expired"], {"now_ms": now_ms, "most": EXPIRED_PER_SWEEP})
