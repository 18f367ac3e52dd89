"""Deliveries of events: begun for each target that asked, handed out when due, ended by what became of their tries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ledger.database import Database
from ledger.events import Delivery, Event, EventRaised, Try, types_matching
from ledger.operations.events import raise_event
from ledger.sql import statements

SQL: Final = statements("sqlite", "deliveries")
DELIVERING: Final = "deliver alerts"


def take_duty(db: Database, duty: str, *, owner_id: str, now_ms: int) -> bool:
    """Whether this process does, from now on or as before, what one process does for all on the file."""
    row = {"duty": duty, "owner_id": owner_id, "now_ms": now_ms}
    return db.execute(SQL["take_duty"], row).fetchone() is not None


def who_has_duty(db: Database, duty: str, *, now_ms: int) -> str | None:
    """The owner who does it, as long as his lease runs. None: it is anybody's to take."""
    row = db.execute(SQL["who_has_duty"], {"duty": duty, "now_ms": now_ms}).fetchone()
    return None if row is None else str(row[0])


def is_anything_due(db: Database, targets: Mapping[str, Sequence[str]], *, owner_id: str, now_ms: int) -> bool:
    """Whether `due_deliveries` would find something to do: asked often, so it writes nothing."""
    if who_has_duty(db, DELIVERING, now_ms=now_ms) not in {None, owner_id}:
        return False
    due = {"targets": json.dumps(list(targets)), "now_ms": now_ms}
    return (
        any(_has_unseen(db, target) for target in targets) or db.execute(SQL["first_due"], due).fetchone() is not None
    )


def due_deliveries(
    db: Database, targets: Mapping[str, Sequence[str]], *, owner_id: str, now_ms: int, limit: int
) -> list[Delivery]:
    """What this process is to try now, at most `limit` for each target; nothing while another process delivers.

    targets: {name: patterns of the types that it is told of}. A delivery is begun for each event that a target has not
    seen; at its first sight it has seen all there is.
    """
    if not take_duty(db, DELIVERING, owner_id=owner_id, now_ms=now_ms):
        return []
    due: list[Delivery] = []
    for target, patterns in targets.items():
        place = {"target": target, "now_ms": now_ms}
        if _has_unseen(db, target):
            db.execute(SQL["meet_target"], place)
            db.execute(SQL["begin_deliveries"], {**place, "types": json.dumps(types_matching(patterns))})
            db.execute(SQL["see_all"], place)
        rows = db.execute(SQL["due"], {**place, "most": limit})
        due += (Delivery(event=_event(row[1:]), target=target, tries=row[0]) for row in rows)
    return due


def record_tries(db: Database, tries: Iterable[Try]) -> None:
    """Say how tries went. One whose delivery has ended meanwhile changes nothing."""
    for each in tries:
        row = {name: getattr(each, name) for name in Try.__struct_fields__}
        db.execute(SQL["record_try"], row)


def fold_deliveries(db: Database, target: str, event_ids: Sequence[str], digest: EventRaised, *, now_ms: int) -> None:
    """Deliver one event, the digest, in the place of these: all at once, or nothing. Repeating it changes nothing."""
    raise_event(db, digest)
    place = {"target": target, "digest_id": digest.id, "now_ms": now_ms}
    db.execute(SQL["begin_digest"], place)
    for event_id in event_ids:
        db.execute(SQL["fold"], {**place, "event_id": event_id})


def retry_delivery(db: Database, event_id: str, target: str | None, *, now_ms: int) -> list[str]:
    """Begin dead deliveries of an event again. target None: all of them. Returns the targets."""
    row = {"event_id": event_id, "target": target, "now_ms": now_ms}
    return sorted(name for (name,) in db.execute(SQL["retry"], row).fetchall())


def _has_unseen(db: Database, target: str) -> bool:
    row = db.execute(SQL["unseen"], {"target": target}).fetchone()
    return row is None or row[0] is not None


def _event(row: Sequence[Any]) -> Event:
    seq, event_id, kind, at_ms, facts, acknowledged_at_ms, acknowledged_by = row
    return Event(
        seq=seq,
        id=event_id,
        type=kind,
        at_ms=at_ms,
        facts=json.loads(facts),
        acknowledged_at_ms=acknowledged_at_ms,
        acknowledged_by=acknowledged_by,
    )
