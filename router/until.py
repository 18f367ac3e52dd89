"""A deadline for a block of code: what `asyncio.timeout_at` does, at a quarter of its cost, or at a twentieth."""

import asyncio
from functools import cached_property
from types import TracebackType
from typing import Final, Self

# How often far deadlines are looked at. One that is near has a timer of its own, and is met to the millisecond.
LOOK_S: Final = 1.0


class Until:
    """Ends the block at this moment of the loop's clock: it is cancelled, and TimeoutError comes out of it.

    A cancel that somebody else wanted stays one. Entered by a plain `with`, within a task. at_s None: not yet. among:
    those that look after it while it is far. loop None: the running one, which takes a system call to ask for.
    """

    __slots__ = ("_among", "_at_s", "_cancels", "_loop", "_task", "_timer", "has_struck")

    def __init__(
        self,
        at_s: float | None,
        among: "Deadlines | None" = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._at_s = at_s
        self._among = among
        self._timer: asyncio.Handle | None = None
        self.has_struck = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task = task
        self._cancels = task.cancelling()
        at_s, among = self._at_s, self._among
        if among is not None and at_s is not None and at_s >= self._loop.time() + 2 * LOOK_S:
            among.take(self, at_s)
        else:
            self.arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._disarm()
        # Taken back also where the block ended by itself just then.
        if self.has_struck and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def move(self, at_s: float | None) -> None:
        """To another moment. Not once it has struck."""
        assert not self.has_struck
        self._disarm()
        self._at_s = at_s
        self.arm()

    @property
    def at_s(self) -> float | None:
        """The moment, if it has one."""
        return self._at_s

    def arm(self) -> None:
        """Have it strike by a timer of its own."""
        self._timer = None if self._at_s is None else self._loop.call_at(self._at_s, self._strike)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        elif self._among is not None:
            self._among.far.pop(self, None)

    def _strike(self) -> None:
        self.has_struck = True
        self._task.cancel()


class Deadlines:
    """Those of many blocks of one loop, hardly any of which is ever met: far ones share a look every LOOK_S.

    far: {each of these: its moment}.
    """

    def __init__(self) -> None:
        self.far: dict[Until, float] = {}
        self._is_looking = False

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def until(self, at_s: float) -> Until:
        """A block's deadline at this moment of the loop's clock."""
        return Until(at_s, self, self._loop)

    def within(self, span_s: float) -> Until:
        """A block's deadline, so many seconds from now."""
        return Until(self._loop.time() + span_s, self, self._loop)

    def take(self, until: Until, at_s: float) -> None:
        """Look after this one. Whoever is done with it takes it out of `far`."""
        self.far[until] = at_s
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        loop = self._loop
        near_s = loop.time() + 2 * LOOK_S
        for until in [until for until, at_s in self.far.items() if at_s < near_s]:
            del self.far[until]
            until.arm()
        self._is_looking = bool(self.far)
        if self._is_looking:
            loop.call_later(LOOK_S, self._look)


def within(span_s: float) -> Until:
    """A block's deadline, so many seconds from now."""
    return Until(asyncio.get_running_loop().time() + span_s)
