"""A hold that is closed: the room that it gives back in its windows, and what it leaves there as spent."""

from typing import Final

import msgspec

from ledger.ceilings import Counts
from ledger.database import Database
from ledger.operations.crossings import tell_crossings
from ledger.sql import statements

SQL: Final = statements("sqlite", "closed_holds")

# {what a window counts: so much of it}
Amounts = dict[Counts, int]
NOTHING: Final[Amounts] = {"nanousd": 0, "tokens": 0, "calls": 0, "attempts": 0}


class ClosedHold(msgspec.Struct, frozen=True):
    """What a hold that was just closed had taken, of whom and when."""

    held_nanousd: int
    held_tokens: int
    attempt: int
    deployment: str
    taken_at_ms: int
    hold_id: str


def give_back(db: Database, hold: ClosedHold, *, cost_nanousd: int, tokens: int, is_attempt: bool, now_ms: int) -> None:
    """Put what a hold came to in the place of what it held, in all its windows. is_attempt: it was, or may be, sent.

    A call counts as one however its first attempt ended: it was admitted.
    """
    came_to = came_to_of(hold, cost_nanousd=cost_nanousd, tokens=tokens, is_attempt=is_attempt)
    _move_room(db, hold.hold_id, held_of(hold), came_to, now_ms=now_ms)


def add_to_windows(db: Database, hold_id: str, *, cost_nanousd: int, tokens: int, now_ms: int) -> None:
    """Add a correction's differences to all windows of its hold. It stays a call."""
    difference: Amounts = {**NOTHING, "nanousd": cost_nanousd, "tokens": tokens}
    _move_room(db, hold_id, NOTHING, difference, now_ms=now_ms)


def held_of(hold: ClosedHold) -> Amounts:
    """What it had taken of its windows."""
    is_call = int(hold.attempt == 1)
    return {"nanousd": hold.held_nanousd, "tokens": hold.held_tokens, "calls": is_call, "attempts": 1}


def came_to_of(hold: ClosedHold, *, cost_nanousd: int, tokens: int, is_attempt: bool) -> Amounts:
    """What it leaves there as spent."""
    is_call = int(hold.attempt == 1)
    return {"nanousd": cost_nanousd, "tokens": tokens, "calls": is_call, "attempts": int(is_attempt)}


def _move_room(db: Database, hold_id: str, given_back: Amounts, came_to: Amounts, *, now_ms: int) -> None:
    """In every window of this hold, in what the window counts; and tell what that crossed.

    Each window is written by its key: one statement for all of them has SQLite build three tables to find them.
    """
    windows = db.execute(SQL["windows_of_hold"], {"hold_id": hold_id}).fetchall()
    moves = [
        {
            "ceiling_id": ceiling_id,
            "starts_at_ms": starts_at_ms,
            "given_back": given_back[counts],
            "came_to": came_to[counts],
        }
        for ceiling_id, starts_at_ms, counts, _, _ in windows
    ]
    db.executemany(SQL["move_room"], moves)
    crossing = [
        (ceiling_id, starts_at_ms)
        for ceiling_id, starts_at_ms, counts, spent, warn_amount in windows
        if warn_amount is not None and spent + came_to[counts] >= warn_amount
    ]
    tell_crossings(db, crossing, now_ms=now_ms)
