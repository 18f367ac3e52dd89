"""The newest calls, and those who are told of every change to them."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ledger.latest import CallSummary
from router.errors import Overloaded
from service.sse import event

MOST_LISTENERS: Final = 16
# Calls kept to tell a new listener, and events that a listener may be behind by.
MOST_CALLS: Final = 500
MOST_BEHIND: Final = 2_000
# When a listener who found no place may look again.
RETRY_AFTER_S: Final = 10.0


class LiveListener:
    """One listener's place: what it has not been sent yet. Who is more than `most_behind` events late is dropped.

    ended_by: why nothing follows; empty: more may.
    """

    def __init__(self, most_behind: int) -> None:
        self._most_behind = most_behind
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()
        self.ended_by = ""

    async def next(self, *, within_s: float) -> bytes:
        """All events that have come since the last time. Empty: none within this time, or there will be no more."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return b""
        events = b"".join(self._waiting)
        self._waiting.clear()
        if not self.ended_by:
            self._news.clear()
        return events

    def hear(self, told: bytes) -> None:
        """One more event."""
        if len(self._waiting) < self._most_behind:
            self._waiting.append(told)
            self._news.set()
        else:
            self._waiting.clear()
            self.end("slow_reader")

    def end(self, why: str) -> None:
        """Nothing follows. The first reason stays."""
        self.ended_by = self.ended_by or why
        self._news.set()


class LiveBoard:
    """What all listeners of one process are told. Belongs to one event loop."""

    def __init__(
        self, *, most_listeners: int = MOST_LISTENERS, most_calls: int = MOST_CALLS, most_behind: int = MOST_BEHIND
    ) -> None:
        self._most_listeners = most_listeners
        self._most_calls = most_calls
        self._most_behind = most_behind
        self._calls: dict[str, tuple[CallSummary, bytes]] = {}
        self._listeners: set[LiveListener] = set()
        self._watched = asyncio.Event()
        self._left = asyncio.Event()
        self._left.set()
        self._is_closed = False

    @property
    def is_watched(self) -> bool:
        """Whether anybody listens: if not, there is nothing to tell."""
        return self._watched.is_set()

    async def watched(self) -> None:
        """Wait until somebody listens."""
        await self._watched.wait()

    @contextmanager
    def listening(self) -> Iterator[LiveListener]:
        """A place, while the block runs; what is on the board comes first. Raises Overloaded where there is none."""
        if self._is_closed or len(self._listeners) >= self._most_listeners:
            raise Overloaded(RETRY_AFTER_S, waited_for="a place to watch calls from")
        listener = LiveListener(self._most_behind)
        for _, told in self._calls.values():
            listener.hear(told)
        self._listeners.add(listener)
        self._watched.set()
        self._left.clear()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._calls.clear()
                self._watched.clear()
                self._left.set()

    def tell(self, call: CallSummary) -> None:
        """Tell everyone, unless they were told as much before."""
        known = self._calls.get(call.id)
        if known is not None:
            call = known[0].joined(call)
        if not self._listeners or (known is not None and call == known[0]):
            return
        told = event(b"call", call)
        self._calls[call.id] = (call, told)
        if len(self._calls) > self._most_calls:
            del self._calls[next(iter(self._calls))]
        for listener in tuple(self._listeners):
            listener.hear(told)
            if listener.ended_by:
                self._listeners.discard(listener)

    def unsettled(self) -> list[str]:
        """The ids of those calls whose end, or whose cost, has not been told."""
        return [name for name, (call, _) in self._calls.items() if call.state != "ended" or call.cost_nanousd is None]

    async def close(self, *, within_s: float) -> None:
        """Let everyone go and nobody in, and wait until they have gone, but no longer than this."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end("draining")
        try:
            async with asyncio.timeout(within_s):
                await self._left.wait()
        except TimeoutError:
            return
