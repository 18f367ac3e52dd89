"""Work for a client that may leave: it goes on only while somebody is there to take the answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from service.requests import CallerGone, Receive

T = TypeVar("T")


async def while_connected(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """What this work returns or raises, unless the client leaves first.

    Raises CallerGone then, with the work cancelled and ended. The request's body must have been read.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise CallerGone
    finally:
        await _end(working)
        await _end(leaving)


async def left(receive: Receive) -> None:
    """Return once the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel and wait. What the task raised is not ours: its outcome was taken, or nobody is left to hear it."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
