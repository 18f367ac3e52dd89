"""Work for a client that may leave: it goes on only while somebody is there to take the answer."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Self, TypeVar

from service.requests import CallerGone, Message, Receive

T = TypeVar("T")
# Most hits and many small answers are there by then, and watching costs as much as a tenth of such a call.
WATCH_AFTER_S: Final = 0.1


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """As `Watch.over`, for the one work of a request."""
    with Watch(receive) as watch:
        return await watch.over(work)


class Watch:
    """Notices that a client leaves, for the works of one request, until its block ends. Its body must have been read.

    What a server's `receive` returns is mostly a future: asked by callbacks, it takes no task of its own. The same one
    serves all works, for not each server tells again what nobody took.
    """

    def __init__(self, receive: Receive) -> None:
        self._has_left = False
        self._is_over = False
        self._receive = receive
        self._working: asyncio.Task[Any] | None = None
        self._word: asyncio.Future[Message] | None = None
        self._begin: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        if self._begin is not None:
            self._begin.cancel()
        if self._word is not None:
            self._word.remove_done_callback(self._hear)
            self._word.cancel()

    async def over(self, work: Awaitable[T]) -> T:
        """What this work returns or raises, unless the client leaves first.

        Raises CallerGone then, with the work cancelled and ended. It runs in the caller's own task; who leaves sooner
        than WATCH_AFTER_S after the first of the works began is noticed then.
        """
        working = self._working = asyncio.current_task()
        assert working is not None
        if self._begin is None:
            self._begin = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._listen)
        if self._has_left:
            working.cancel()
        try:
            return await work
        except asyncio.CancelledError:
            # Ours, unless somebody else wants this task to end as well.
            if self._has_left and working.uncancel() == 0:
                raise CallerGone from None
            raise
        finally:
            self._working = None

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
        self._has_left = True
        if self._working is not None:
            self._working.cancel()
