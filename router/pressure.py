"""Which ceilings are nearly full, as this process last saw them: their callers are sent to cheaper targets first.

Only a preference rests on it; what is refused is decided by the ledger's exact figures.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from ledger.ceilings import Ceiling
from ledger.values import Pressure

# Callers' names may have a ceiling each.
MOST_REMEMBERED: Final = 10_000


class Pressed(msgspec.Struct, frozen=True):
    """Until when, and under which limit."""

    until_ms: int
    limit: int


class Pressures:
    """{ceiling id: until when it is taken for nearly full}. Only of those that are."""

    def __init__(self) -> None:
        self._pressed: dict[str, Pressed] = {}

    def note(self, found: Iterable[Pressure]) -> None:
        """Take over how an admission found its ceilings."""
        for pressure in found:
            self._pressed.pop(pressure.ceiling_id, None)
            if pressure.until_ms:
                self._pressed[pressure.ceiling_id] = Pressed(pressure.until_ms, pressure.limit)
                if len(self._pressed) > MOST_REMEMBERED:
                    del self._pressed[next(iter(self._pressed))]

    @property
    def are_none(self) -> bool:
        """Whether nothing is nearly full, as is usual."""
        return not self._pressed

    def first_of(self, ceilings: Iterable[Ceiling], now_ms: int) -> str:
        """The id of the first of these that is nearly full; empty: none is. One with another limit was not seen yet."""
        for ceiling in ceilings:
            pressed = self._pressed.get(ceiling.id)
            if pressed is None or ceiling.downgrade_at is None or pressed.limit != ceiling.limit:
                continue
            if now_ms < pressed.until_ms:
                return ceiling.id
        return ""
