"""Work for a client that may leave: it goes on only while somebody is there to take the answer."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from service.requests import CallerGone, Receive

T = TypeVar("T")


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """What this work returns or raises, unless the client leaves first.

    Raises CallerGone then, with the work cancelled and ended. The request's body must have been read. The work runs in
    the caller's own task, and one more watches: a task fewer a call than racing two.
    """
    working = asyncio.current_task()
    assert working is not None
    has_left = False

    def leave(watch: asyncio.Task[None]) -> None:
        nonlocal has_left
        if not watch.cancelled():
            has_left = True
            working.cancel()

    watching = asyncio.create_task(left(receive))
    watching.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        # Ours, unless somebody else wants this task to end as well.
        if has_left and working.uncancel() == 0:
            raise CallerGone from None
        raise
    finally:
        watching.remove_done_callback(leave)
        watching.cancel()


async def left(receive: Receive) -> None:
    """Return once the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
