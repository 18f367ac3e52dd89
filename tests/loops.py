"""The event loop of coroutine tests: the service's own kind."""

import asyncio
import warnings

import uvloop


class Runner(asyncio.Runner):
    """On uvloop. What a test leaves open fails it, if it has not failed already.

    When uvloop closes it warns of what is open, each thing before it is closed: where a warning is an error, the thing
    stays open, and the loop waits for it without an end. So it is warned of once the loop is closed.
    """

    def __init__(self) -> None:
        super().__init__(loop_factory=uvloop.new_event_loop)

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always", ResourceWarning)
            super().__exit__(exc_type, exc_val, exc_tb)
        for it in left_open if exc_val is None else ():
            warnings.warn_explicit(it.message, it.category, it.filename, it.lineno)
