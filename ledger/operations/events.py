"""Events in their table: raised by the transaction that makes them so, acknowledged, shown."""

import json
from typing import Any, Final

import msgspec

from ledger.database import Database
from ledger.events import EventRaised, EventsQuery
from ledger.reports import UnknownPage, iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "events")
FORGOTTEN_PER_SWEEP: Final = 100
_FAR_MS: Final = 1 << 48
_FAR_SEQ: Final = 1 << 62


def raise_event(db: Database, raised: EventRaised) -> bool:
    """Put an event on record as part of this transaction. False: it was told before."""
    row = {
        "id": raised.id,
        "type": raised.type,
        "dedup_key": raised.dedup_key,
        "at_ms": raised.at_ms,
        "facts": msgspec.json.encode(raised.facts).decode(),
    }
    return db.execute(SQL["raise_event"], row).fetchone() is not None


def acknowledge(db: Database, event_id: str, *, by: str, now_ms: int) -> bool:
    """Note who has seen to an event; the first one stays. False: there is no such event."""
    db.execute(SQL["acknowledge"], {"event_id": event_id, "by": by, "now_ms": now_ms})
    return db.execute(SQL["find_event"], {"event_id": event_id}).fetchone() is not None


def forget_events(db: Database, *, before_ms: int, most: int = FORGOTTEN_PER_SWEEP) -> int:
    """Drop events from before this moment, with their deliveries, at most so many. Returns how many there were.

    None that still has to be delivered. That an event is told once still holds: a dedup_key names a day, an hour, a
    hold, the moment that a deployment's trouble began or a ceiling's window, all of which are over. Only trouble of a
    deployment that began before and lasts is told anew. Drift is never forgotten.
    """
    moment = {"before_ms": before_ms, "before": iso(before_ms)}
    found = [{"seq": seq} for (seq,) in db.execute(SQL["forgettable"], {**moment, "most": most}).fetchall()]
    if found:
        db.execute(SQL["may_be_forgotten"], moment)
        db.executemany(SQL["forget_deliveries"], found)
        db.executemany(SQL["forget_event"], found)
    return len(found)


def events_report(db: Database, *, query: EventsQuery) -> dict[str, Any]:
    """What `GET /alerts` answers. next None: no more. Raises UnknownPage."""
    values = {
        "since_ms": query.since_ms or 0,
        "until_ms": _FAR_MS if query.until_ms is None else query.until_ms,
        "types": json.dumps(query.types) if query.types else None,
        "state": query.state,
        "acknowledged": query.acknowledged,
        "before_seq": _FAR_SEQ if query.before is None else _seq_of(db, query.before),
        "most": query.limit + 1,
    }
    rows = db.execute(SQL["events"], values).fetchall()
    page = rows[: query.limit]
    more = len(rows) > len(page)
    return {"alerts": [_rendered(db, row) for row in page], "next": page[-1][1] if more else None}


def _seq_of(db: Database, event_id: str) -> int:
    row = db.execute(SQL["find_event"], {"event_id": event_id}).fetchone()
    if row is None:
        raise UnknownPage(event_id)
    return int(row[0])


def _rendered(db: Database, row: tuple[Any, ...]) -> dict[str, Any]:
    seq, event_id, kind, at_ms, facts, acknowledged_at_ms, acknowledged_by = row
    acknowledged = None
    if acknowledged_at_ms is not None:
        acknowledged = {"at": iso(acknowledged_at_ms), "by": acknowledged_by}
    return {
        "id": event_id,
        "type": kind,
        "at": iso(at_ms),
        "facts": json.loads(facts),
        "acknowledged": acknowledged,
        "deliveries": [_rendered_delivery(found) for found in db.execute(SQL["deliveries_of_event"], {"seq": seq})],
    }


def _rendered_delivery(row: tuple[Any, ...]) -> dict[str, Any]:
    target, state, tries, next_at_ms, last_at_ms, last_status, last_error, digest_id = row
    return {
        "target": target,
        "state": state,
        "tries": tries,
        "next_at": iso(next_at_ms),
        "last_at": iso(last_at_ms),
        "last_status": last_status,
        "last_error": last_error,
        "digest": digest_id,
    }
