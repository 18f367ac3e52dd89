"""The life of a hold, as a table. The guarded UPDATE `close_hold` enforces it; this page is its documentation."""

from enum import StrEnum
from typing import Final


class HoldState(StrEnum):
    """Where a hold stands."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    LAPSED = "lapsed"


class HoldEvent(StrEnum):
    """What may happen to it."""

    CHARGE = "charge"
    RELEASE = "release"
    OWNER_DIES = "owner_dies"


# What is not here does not happen: a closed hold stays as it is. Usage that is learned after it lapsed or was
# released becomes a correcting posting, and the hold keeps its state.
TRANSITIONS: Final = {
    (HoldState.HELD, HoldEvent.CHARGE): HoldState.SETTLED,
    (HoldState.HELD, HoldEvent.RELEASE): HoldState.RELEASED,
    (HoldState.HELD, HoldEvent.OWNER_DIES): HoldState.LAPSED,
}
