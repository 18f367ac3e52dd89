"""Work for a client that may leave: it goes on only while somebody is there to take the answer."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from service.requests import CallerGone, Message, Receive

T = TypeVar("T")
# Most hits and many small answers are there by then, and watching costs as much as a tenth of such a call.
WATCH_AFTER_S: Final = 0.1


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """What this work returns or raises, unless the client leaves first.

    Raises CallerGone then, with the work cancelled and ended. The request's body must have been read. The work runs in
    the caller's own task; who leaves sooner than WATCH_AFTER_S is noticed then.
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
        self._word: asyncio.Future[Message] | None = None
        self._begin = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._listen)

    def end(self) -> None:
        """Wait no more."""
        self._is_over = True
        self._begin.cancel()
        if self._word is not None:
            self._word.remove_done_callback(self._hear)
            self._word.cancel()

    def _listen(self) -> None:
        try:
            self._word = asyncio.ensure_future(self._receive())
        except RuntimeError:  # The server has no such connection any more.
            self._leave()
        else:
            self._word.add_done_callback(self._hear)

    def _hear(self, word: asyncio.Future[Message]) -> None:
        if self._is_over or word.cancelled():
            return
        if word.exception() is None and word.result()["type"] != "http.disconnect":
            self._listen()
        else:
            self._leave()

    def _leave(self) -> None:
        self.has_left = True
        self._working.cancel()
