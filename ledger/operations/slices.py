"""Slices: room under a ceiling that a process keeps for calls to come, so that their admissions need no turn.

All writers of a ledger take turns, for what one of them decides over must not change under it. For most admissions
that is the ceilings' windows: the row of a hot one is what everybody waits for. A process that admits many calls a
second under a ceiling may therefore take a slice of it, in its turn and as a hold takes room: `held` goes up by all
of it. What its calls ask for then comes off the slice's `free` in the very transaction that inserts their holds, beside
the turn (`ledger.postgres.beside`), and the window is not touched. A slice is room, never a licence: each call has a
hold of its own, committed before a byte leaves.

Why every invariant of DESIGN §4 stands:

- 1 and 2. A window's held is what its open holds hold and what its slices have left. Taking a slice passes the same
  trigger as a hold; an admission moves an amount from a slice to a hold, in one commit, and the sum stays. A settlement
  gives back the hold's amount and knows nothing of slices. `free_amount >= 0` is the schema's.
- 1, above a limit. Who admits beside the turn reads the window, and does not where held + spent passes the limit.
- Refusals. One is decided in turn, and never while there is a slice of the window that is tight: what all of them have
  left is recalled first. So a budget for N lets exactly N through, and 402 and 429 are what they are without slices.
  A process whose slice was recalled finds no row, and goes on in turn.
- 3, 6. Holds, generations and flights have the same keys; who loses one of them beside the turn is decided in turn.
- 4. The hold is committed when the caller is told.
- 8. Slices are their owner's. When its lease is over, the sweep gives back what they have left: it was never anyone's
  money, so nothing is charged for it. The holds made of them lapse as any other. A crash costs no more than without.
- 10. It commits as durably.
"""

from typing import Final

from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "slices")
MOVE_ROOM: Final = statements("sqlite", "closed_holds")["move_room"]


def recall_slices(db: Database, ceiling_id: str, starts_at_ms: int) -> int:
    """Give back what the slices of a window have left, whosever they are. Returns how much that was."""
    place = {"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms}
    free: int = sum(amount for (amount,) in db.execute(SQL["recall_slices"], place).fetchall())
    give_back_free(db, ceiling_id, starts_at_ms, free)
    return free


def end_slices(db: Database, owner_id: str) -> None:
    """Give back what this process's slices have left.

    It waits for whoever admits by them; nobody does afterwards, so that whoever looks for its holds then sees all.
    """
    for ceiling_id, starts_at_ms, free in db.execute(SQL["end_slices"], {"owner_id": owner_id}).fetchall():
        give_back_free(db, ceiling_id, starts_at_ms, free)


def sliced(db: Database, ceiling_id: str, starts_at_ms: int) -> int:
    """How much of what is held in a window is slices."""
    place = {"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms}
    found: tuple[int | None] = db.execute(SQL["sliced"], place).fetchone()
    return found[0] or 0


def give_back_free(db: Database, ceiling_id: str, starts_at_ms: int, free: int) -> None:
    """Have a window no longer hold what a slice, which is gone, had left."""
    if free:
        place = {"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms}
        db.execute(MOVE_ROOM, {**place, "given_back": free, "came_to": 0})
