"""What all processes on one ledger remember together: breakers, and whatever else is learned of deployments.

Each kind of memory has one keeper, who changes it through `change` and hears here of what other processes changed.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import msgspec

# While the ledger is in trouble, changes are dropped rather than heaped up.
UNTOLD_LIMIT: Final = 10_000


class MemoryStore(Protocol):
    """Where it is kept, as `ledger.ledger.Ledger` promises it."""

    async def change_memory(self, subject: str, change: Callable[[str | None], str | None]) -> None:
        """Put what `change` makes of what is remembered in its place, in one transaction. None of None: nothing."""

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

    async def change(self, kind: str, name: str, change: Callable[[str | None], str | None]) -> None:
        """Put what `change` makes of a text (None: there is none) in its place. Raises LedgerError.

        It may leave nothing where nothing is, but what is there stays, if only as what others hear of its end.

        It is called on another thread, again if the transaction begins anew, and the last call counts; nobody else
        changes the text meanwhile.
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


V = TypeVar("V", bound=msgspec.Struct)
R = TypeVar("R")


class SharedValues(Generic[V]):
    """{name: value}, of one kind: changed here at once, and in all processes on the ledger once they share.

    What changes a value is a rule, a pure function of it, so that it can be applied again to what others made of it.
    An empty value is none: it has no name here, and is remembered only where there was another one, for all processes
    to hear that this is gone. Without a memory it is for one process alone.
    """

    def __init__(self, kind: str, empty: V, memory: Memory | None) -> None:
        self._kind = kind
        self._empty = empty
        self._memory = memory
        self._values: dict[str, V] = {}
        self._untold: list[tuple[str, Callable[[V], V]]] = []
        self._sharing = asyncio.Lock()
        if memory is not None:
            memory.tell(kind, self._hear)

    def get(self, name: str) -> V:
        """The value as it is known here."""
        return self._values.get(name, self._empty)

    @property
    def names(self) -> list[str]:
        """Whose value is known here, and not empty."""
        return list(self._values)

    def change(self, name: str, rule: Callable[[V], V]) -> None:
        """Put what the rule makes of the value in its place, and tell the others with the next `share`."""
        before = self.get(name)
        after = rule(before)
        self._keep(name, after)
        if self._memory is not None and after != before and len(self._untold) < UNTOLD_LIMIT:
            self._untold.append((name, rule))

    async def decide(self, name: str, rule: Callable[[V], tuple[V, R]]) -> R:
        """Change a value where only one process may, and say what the rule decided.

        Raises LedgerError; the rule is then not applied anywhere.
        """
        if self._memory is None:
            value, decided = rule(self.get(name))
            self._keep(name, value)
            return decided
        outcome: list[tuple[V, R]] = []

        def decide(known: str | None) -> str | None:
            outcome.append(rule(self._read(known)))
            return self._written(known, outcome[-1][0])

        await self._memory.change(self._kind, name, decide)
        value, decided = outcome[-1]
        self._keep(name, self._with_untold(name, value))
        return decided

    async def share(self) -> None:
        """Tell the other processes, each change once. Raises LedgerError: then what is left is told the next time."""
        async with self._sharing:
            while self._untold and self._memory is not None:
                name, rule = self._untold[0]
                await self._memory.change(self._kind, name, partial(self._changed, rule=rule))
                del self._untold[0]

    def _changed(self, known: str | None, *, rule: Callable[[V], V]) -> str | None:
        return self._written(known, rule(self._read(known)))

    def _hear(self, name: str, text: str) -> None:
        self._keep(name, self._with_untold(name, self._read(text)))

    def _keep(self, name: str, value: V) -> None:
        if value == self._empty:
            self._values.pop(name, None)
        else:
            self._values[name] = value

    def _written(self, known: str | None, value: V) -> str | None:
        return None if known is None and value == self._empty else msgspec.json.encode(value).decode()

    def _with_untold(self, name: str, value: V) -> V:
        for changed, rule in self._untold:
            value = rule(value) if changed == name else value
        return value

    def _read(self, known: str | None) -> V:
        return self._empty if known is None else msgspec.json.decode(known, type=type(self._empty))
