"""The life of an Idempotency-Key's record, as a table. Triggers and guarded statements enforce it."""

from enum import StrEnum
from typing import Final

KEPT_MS: Final = 24 * 3600 * 1000
# What does not fit is on record as done, and its repeat is told so: it is never made a second time.
MAX_KEPT_BYTES: Final = 16 << 20


class KeyState(StrEnum):
    """Where a key stands. Orphaned: its call was in progress in a process whose lease is over."""

    FREE = "free"
    IN_PROGRESS = "in_progress"
    ORPHANED = "orphaned"
    DONE = "done"


class KeyEvent(StrEnum):
    """What may happen to it. Expire: it is swept after KEPT_MS."""

    TAKE = "take"
    HIT = "hit"
    KEEP = "keep"
    LET_GO = "let_go"
    OWNER_DIES = "owner_dies"
    EXPIRE = "expire"


# What is not here does not happen. An orphaned key may be taken again, for the first try's hold lapses; until it is,
# the late settlement of a process that was only slow still leaves its result there.
TRANSITIONS: Final = {
    (KeyState.FREE, KeyEvent.TAKE): KeyState.IN_PROGRESS,
    (KeyState.FREE, KeyEvent.HIT): KeyState.DONE,
    (KeyState.IN_PROGRESS, KeyEvent.KEEP): KeyState.DONE,
    (KeyState.IN_PROGRESS, KeyEvent.LET_GO): KeyState.FREE,
    (KeyState.IN_PROGRESS, KeyEvent.OWNER_DIES): KeyState.ORPHANED,
    (KeyState.ORPHANED, KeyEvent.TAKE): KeyState.IN_PROGRESS,
    (KeyState.ORPHANED, KeyEvent.HIT): KeyState.DONE,
    (KeyState.ORPHANED, KeyEvent.KEEP): KeyState.DONE,
    (KeyState.ORPHANED, KeyEvent.LET_GO): KeyState.FREE,
    (KeyState.ORPHANED, KeyEvent.EXPIRE): KeyState.FREE,
    (KeyState.DONE, KeyEvent.EXPIRE): KeyState.FREE,
}
