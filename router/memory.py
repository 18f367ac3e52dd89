"""What all processes on one ledger remember together: breakers, and whatever else is learned of deployments.

Each kind of memory has one keeper, who changes it through `change` and hears here of what other processes changed.
"""

from collections.abc import Callable
from typing import Protocol


class MemoryStore(Protocol):
    """Where it is kept, as `ledger.ledger.Ledger` promises it."""

    async def change_memory(self, subject: str, change: Callable[[str | None], str]) -> None:
        """Put what `change` makes of what is remembered in its place, in one transaction."""

    async def memory_since(self, version: int) -> tuple[int, dict[str, str]]:
        """(the newest version, {subject: what is remembered}) of what changed after this version."""


class Memory:
    """{kind: {name: text}}, the same in all processes soon after a change. Its keepers give the texts their meaning."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._version = 0
        self._keepers: dict[str, Callable[[str, str], None]] = {}

    def tell(self, kind: str, keeper: Callable[[str, str], None]) -> None:
        """Call `keeper(name, text)` for all that is remembered of this kind, and again whenever it changes."""
        self._keepers[kind] = keeper

    async def change(self, kind: str, name: str, change: Callable[[str | None], str]) -> None:
        """Put what `change` makes of a text (None: there is none) in its place. Raises LedgerError.

        It is called once, on another thread, and nobody else changes the text meanwhile.
        """
        await self._store.change_memory(f"{kind} {name}", change)

    async def learn(self) -> None:
        """Hear of everything that changed since the last time. Raises LedgerError."""
        self._version, changed = await self._store.memory_since(self._version)
        for subject, text in changed.items():
            kind, _, name = subject.partition(" ")
            keeper = self._keepers.get(kind)
            if keeper is not None:  # Another version of Farthing may remember more.
                keeper(name, text)
