"""Which deployments were asked for and could not be, for want of a price: for whoever tells people."""

from collections.abc import Iterable
from typing import Final

from router.deployments import Deployment

# Callers choose names; they must not fill the memory with them.
MOST: Final = 1000


class Unpriced:
    """Names that gather until they are taken."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def note(self, targets: Iterable[Deployment]) -> None:
        """Remember those of a call's targets that have no price."""
        for target in targets:
            if target.price is None and len(self._names) < MOST:
                self._names.add(target.id)

    def take(self) -> set[str]:
        """Those that were asked for since the last time."""
        names, self._names = self._names, set()
        return names
