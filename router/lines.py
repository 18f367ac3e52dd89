"""Calls that wait for room under a ceiling: in line, first come first served, until their time is up."""

import asyncio
from collections.abc import Iterable
from typing import Final

from ledger.ceilings import Ceiling
from ledger.values import Refused

# Holds of other processes settle without a word to this one.
POLL_S: Final = 0.1
# A rate's room returns with its next window; before, only with another config or a correction.
RATE_POLL_S: Final = 1.0
# Who comes to a line as long as this is told to come back.
MOST_WAITING: Final = 1000
# With less than this left, asking the ledger once more would be too late.
LAST_TRY_S: Final = 0.01


def next_look_s(refused: Refused, *, now_ms: int, left_s: float) -> float | None:
    """How long to wait until the ledger is asked again. None: there is no use in waiting. Pure.

    left_s: until the call's deadline. What is held may be given back at any moment; what a rate has let through makes
    room when its window ends, if that is in time.
    """
    if not refused.may_wait:
        return None
    if refused.held:
        return POLL_S
    ends_at_ms = refused.tight.window_ends_at_ms
    assert ends_at_ms is not None, "a rate whose window never ends is not waited for"
    ends_in_s = max(0.001, (ends_at_ms - now_ms) / 1000)
    return min(ends_in_s, RATE_POLL_S) if ends_in_s < left_s - LAST_TRY_S else None


class LineTooLong(Exception):
    """There is no place in line."""


class Line:
    """Who waits for one ceiling, of this id. The first in it is the one that tries."""

    def __init__(self, ceiling_id: str) -> None:
        self.ceiling_id = ceiling_id
        self.length = 0
        self._first = asyncio.Lock()  # Wakes its waiters in the order that they came.

    async def enter(self) -> None:
        """Take a place and wait until it is the first; it must be left then. Raises LineTooLong."""
        if self.length >= MOST_WAITING:
            raise LineTooLong
        self.length += 1
        try:
            await self._first.acquire()
        except BaseException:
            self.length -= 1
            raise

    def leave(self) -> None:
        """The first one goes: the next one is first."""
        self.length -= 1
        self._first.release()


class Lines:
    """{ceiling id: its line}, of one process."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._freed = asyncio.Event()

    @property
    def are_empty(self) -> bool:
        """Whether nobody waits for anything, as is usual."""
        return not any(line.length for line in self._lines.values())

    def waited_for(self, ceilings: Iterable[Ceiling]) -> str | None:
        """The first of these ceilings that others wait for already: who comes now goes behind them. None: none is."""
        for ceiling in ceilings:
            line = self._lines.get(ceiling.id)
            if line is not None and line.length:
                return ceiling.id
        return None

    async def enter(self, ceiling_id: str) -> Line:
        """A ceiling's line, once the caller is the first in it. Raises LineTooLong."""
        line = self._lines.setdefault(ceiling_id, Line(ceiling_id))
        try:
            await line.enter()
        finally:
            self._forget_empty()
        return line

    async def room_may_be_there(self, deadline_s: float, *, within_s: float) -> None:
        """Wait until holds have settled here, or may have elsewhere; not longer, nor past this moment of the loop."""
        freed = self._freed
        try:
            async with asyncio.timeout_at(min(deadline_s, asyncio.get_running_loop().time() + within_s)):
                await freed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Holds have settled: the first in each line try again."""
        self._freed.set()
        self._freed = asyncio.Event()

    def _forget_empty(self) -> None:
        """Ceilings may be as many as callers' names."""
        for ceiling_id in [name for name, line in self._lines.items() if not line.length]:
            del self._lines[ceiling_id]
