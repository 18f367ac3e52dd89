"""Work on large bodies, done aside, so that it holds up nobody else's call.

Reading, keying and planning a body of 10 MB takes a tenth of a second of one core. In a thread of its own it gives way
every half a millisecond (the service's switch interval), or after each of its steps in C, which take some milliseconds
at most: `service/json_pieces.py` and `router/json_text.py` keep them so. There is one such thread, for two would make
the loop wait for both.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

# Below it, the work takes less than handing it over and back may.
LARGE_BYTES: Final = 262_144
_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-body")


async def aside(work: Callable[[], T], *, size: int) -> T:
    """What this returns or raises. size: of the body that it works on, in bytes."""
    if size < LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_THREAD, work)
