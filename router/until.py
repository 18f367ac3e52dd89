"""A deadline for a block of code: what `asyncio.timeout_at` does, at a quarter of its cost."""

import asyncio
from types import TracebackType
from typing import Self


class Until:
    """Ends the block at this moment of the loop's clock: it is cancelled, and TimeoutError comes out of it.

    A cancel that somebody else wanted stays one. Entered by a plain `with`, within a task. at_s None: not yet.
    """

    __slots__ = ("_at_s", "_cancels", "_loop", "_task", "_timer", "has_struck")

    def __init__(self, at_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._at_s = at_s
        self._timer: asyncio.Handle | None = None
        self.has_struck = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancels = task.cancelling()
        if self._at_s is not None:
            self._timer = self._loop.call_at(self._at_s, self._strike)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Taken back also where the block ended by itself just then.
        if self.has_struck and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def move(self, at_s: float | None) -> None:
        """To another moment. Not once it has struck."""
        assert not self.has_struck
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = None if at_s is None else self._loop.call_at(at_s, self._strike)

    @property
    def at_s(self) -> float | None:
        """The moment, if it has one."""
        return self._at_s

    def _strike(self) -> None:
        self.has_struck = True
        self._task.cancel()


def within(span_s: float) -> Until:
    """A block's deadline, so many seconds from now."""
    return Until(asyncio.get_running_loop().time() + span_s)
