"""When a server that failed is asked again. Pure: time is passed in."""

from typing import Final

import msgspec

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0


class Standing(msgspec.Struct, frozen=True):
    """How a server stands. failures: pauses in a row; since_s: when this one began, on the monotonic clock."""

    failures: int = 0
    since_s: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether it answered when it was asked last."""
        return self.failures == 0

    @property
    def until_s(self) -> float:
        """When its pause is over."""
        # Beyond the sixth one nothing gets longer.
        return self.since_s + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (min(self.failures, 6) - 1))


WELL: Final = Standing()


def ask(standing: Standing, now_s: float) -> tuple[Standing, bool]:
    """Whether it may be asked now. After a pause one caller may, and the others wait for what becomes of that."""
    if standing.is_well:
        return standing, True
    if now_s < standing.until_s:
        return standing, False
    return Standing(standing.failures, now_s), True


def failed(standing: Standing, *, asked_at_s: float, now_s: float) -> Standing:
    """It did not answer somebody who asked it then. Those who asked before a pause began do not make it longer."""
    if not standing.is_well and asked_at_s < standing.since_s:
        return standing
    return Standing(standing.failures + 1, now_s)
