"""What users and workflows spent together, by the day: added up afterwards, so that no call waits for it.

Sums of each name by itself are kept as calls end. Those of two together nobody asks for so often, and they are as many
again: so calls are added up once they are over, many at once, in the order in which they came. How far that has come is
on record, and so a report is right at every commit: these sums, and the calls since, one by one.
"""

from typing import Final

from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "pairs")
CALLS_AT_ONCE: Final = 500
# By then most calls have ended. What ends later is added by itself, which is dearer.
ADDED_UP_AFTER_MS: Final = 60_000


def add_up_pairs(db: Database, *, before_ms: int, most: int = CALLS_AT_ONCE) -> bool:
    """Add up the next calls and attempts that came before this moment, at most so many of each. False: there were none.

    Of those of one millisecond, all: more than `most`, if need be.
    """
    from_ms, first_call_ms, first_attempt_ms, *beyond = db.execute(SQL["next_part"], {"most": most}).fetchone()
    if min(_there(first_call_ms, first_attempt_ms), default=before_ms) >= before_ms:
        return False
    until_ms = max(from_ms + 1, min(_there(before_ms, *beyond)))
    db.execute(SQL["add_up"], {"since_ms": from_ms, "until_ms": until_ms})
    db.execute(SQL["move_on"], {"until_ms": until_ms})
    return True


def pairs_kept(db: Database) -> tuple[int, int]:
    """(since_ms, until_ms) of the calls that the sums are of."""
    since_ms, until_ms = db.execute(SQL["kept"]).fetchone()
    return since_ms, until_ms


def _there(*moments_ms: int | None) -> list[int]:
    return [moment_ms for moment_ms in moments_ms if moment_ms is not None]
