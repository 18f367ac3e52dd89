"""Work for a client that may leave: it goes on only while somebody is there to take the answer."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from service.requests import CallerGone, Message, Receive

T = TypeVar("T")


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """What this work returns or raises, unless the client leaves first.

    Raises CallerGone then, with the work cancelled and ended. The request's body must have been read. The work runs in
    the caller's own task.
    """
    working = asyncio.current_task()
    assert working is not None
    watch = _Watch(receive, working)
    try:
        return await work
    except asyncio.CancelledError:
        # Ours, unless somebody else wants this task to end as well.
        if watch.has_left and working.uncancel() == 0:
            raise CallerGone from None
        raise
    finally:
        watch.end()


class _Watch:
    """Waits for the word that the client has gone, and cancels the task that works for it then.

    What a server's `receive` returns is mostly a future: asked by callbacks, it takes no task of its own.
    """

    def __init__(self, receive: Receive, working: asyncio.Task[Any]) -> None:
        self.has_left = False
        self._is_over = False
        self._receive = receive
        self._working = working
        self._listen()

    def end(self) -> None:
        """Wait no more."""
        self._is_over = True
        self._word.remove_done_callback(self._hear)
        self._word.cancel()

    def _listen(self) -> None:
        self._word: asyncio.Future[Message] = asyncio.ensure_future(self._receive())
        self._word.add_done_callback(self._hear)

    def _hear(self, word: asyncio.Future[Message]) -> None:
        if self._is_over or word.cancelled():
            return
        if word.exception() is None and word.result()["type"] != "http.disconnect":
            self._listen()
            return
        self.has_left = True
        self._working.cancel()
