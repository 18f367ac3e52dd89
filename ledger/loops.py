"""Loops that go on beside a block: begun with it, cancelled and waited for at its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run this while the block does. What it fails with is logged at once, and raised when the block ends."""
    task = asyncio.create_task(loop, name=name)
    task.add_done_callback(_tell)
    try:
        yield
    finally:
        await stop(task)


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel it and wait for its end. Raises what it failed with."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("%s has ended by itself, which it never should", task.get_name(), exc_info=error)
