"""Who may hold money, and what becomes of the holds of a process that died. Source: DESIGN §4, invariant 8."""

from typing import Final

import msgspec

from ledger.chain import Line
from ledger.database import Database
from ledger.holds import TRANSITIONS, HoldEvent, HoldState
from ledger.operations.closed_holds import ClosedHold, give_back
from ledger.operations.postings import post
from ledger.operations.settle import SQL as SETTLE
from ledger.operations.slices import end_slices
from ledger.sql import statements

SQL: Final = statements("sqlite", "owners")
LAPSES_PER_SWEEP: Final = 500


class LeaseRule(msgspec.Struct, frozen=True, kw_only=True):
    """How long a lease lasts, how often it is renewed, how often the holds of the dead are looked for."""

    lease_ms: int = 15_000
    renew_s: float = 5.0
    sweep_s: float = 2.5


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """One process's right to hold money. process: what people call it, for reports."""

    owner_id: str
    process: str


def register(db: Database, owner: Owner, *, now_ms: int, lease_ms: int) -> None:
    """Begin a lease under an id that was never used before."""
    row = {"owner_id": owner.owner_id, "process": owner.process, "now_ms": now_ms, "lease_until_ms": now_ms + lease_ms}
    db.execute(SQL["register_owner"], row)


def renew(db: Database, owner: Owner, *, now_ms: int, lease_ms: int) -> bool:
    """Lengthen a lease. False: it had run out, so its holds may be closed and a new owner must register."""
    row = {"owner_id": owner.owner_id, "now_ms": now_ms, "lease_until_ms": now_ms + lease_ms}
    return db.execute(SQL["renew_lease"], row).fetchone() is not None


def rejoin(db: Database, fenced: Owner, fresh: Owner, *, now_ms: int, lease_ms: int) -> None:
    """Begin a lease in the place of one that ran out."""
    db.execute(SQL["give_up_lease"], {"owner_id": fenced.owner_id})
    register(db, fresh, now_ms=now_ms, lease_ms=lease_ms)


def leave(db: Database, owner: Owner) -> None:
    """End a lease in good order: at once if nothing is held, else the next sweep closes what is."""
    end_slices(db, owner.owner_id)
    db.execute(SQL["end_flights_of_owner"], {"owner_id": owner.owner_id})
    if db.execute(SQL["end_lease"], {"owner_id": owner.owner_id}).rowcount == 0:
        db.execute(SQL["give_up_lease"], {"owner_id": owner.owner_id})


def sweep(db: Database, *, now_ms: int) -> int:
    """Lapse holds whose owner's lease is over: each becomes a charge of the whole hold, basis unknown.

    Returns how many; LAPSES_PER_SWEEP means that there may be more.
    """
    lapsed = 0
    for (owner_id,) in db.execute(SQL["dead_owners"], {"now_ms": now_ms}).fetchall():
        end_slices(db, owner_id)
        db.execute(SQL["end_flights_of_owner"], {"owner_id": owner_id})
        limit = {"owner_id": owner_id, "most": LAPSES_PER_SWEEP - lapsed}
        for hold_id, generation_id, price_version in db.execute(SQL["holds_of_owner"], limit).fetchall():
            _lapse(db, hold_id, price_version, now_ms)
            db.execute(SQL["lose_generation"], {"generation_id": generation_id, "now_ms": now_ms})
            lapsed += 1
        db.execute(SQL["end_lease"], {"owner_id": owner_id})
        if lapsed >= LAPSES_PER_SWEEP:
            break
    return lapsed


def _lapse(db: Database, hold_id: str, price_version: str, now_ms: int) -> None:
    closing = {
        "hold_id": hold_id,
        "new_state": TRANSITIONS[HoldState.HELD, HoldEvent.OWNER_DIES],
        "closed_at_ms": now_ms,
        "outcome": "lost",
        "status": None,
        "latency_us": None,
        "ttft_us": None,
        "error": None,
        "begun_at_us": None,
        "hedge": False,
    }
    closed = db.execute(SETTLE["close_hold"], closing).fetchall()
    assert closed, f"hold {hold_id} was open a statement ago"
    hold = ClosedHold(*closed[0])
    cost = {"cost_nanousd": hold.held_nanousd, "tokens": hold.held_tokens}
    give_back(db, hold, **cost, is_attempt=True, now_ms=now_ms)
    line = Line(
        hold_id=hold_id,
        kind="lapse",
        cost_nanousd=hold.held_nanousd,
        cost_basis="unknown",
        usage=None,
        price_version=price_version,
        posted_at_ms=now_ms,
        tokens=hold.held_tokens,
        reason="its process died: what the provider charged is not known",
    )
    post(db, line)
