"""Waiting for tables that others use, by giving way to them over and over: nobody is held up for long behind it."""

import time
from collections.abc import Callable
from typing import Final

from ledger.postgres.failures import ServerFailed

# For a lock on a table that calls write to: who comes behind waits, too.
LOCK_MS: Final = 500
# A report or a dump may read a table for as long as it takes. Then a person has to know.
GIVE_UP_S: Final = 60.0
PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_LOCK_NOT_AVAILABLE: Final = "55P03"


def patiently(work: Callable[[], None], what: str) -> None:
    """Do it again as long as somebody uses what it has to lock, but no longer than GIVE_UP_S. Raises ServerFailed.

    work: waits for no lock for longer than LOCK_MS, and leaves nothing half done.
    """
    tries, began_s = 0, time.monotonic()
    while True:
        try:
            return work()
        except ServerFailed as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() > began_s + GIVE_UP_S:
                raise ServerFailed(f"{what} waits for whoever uses its tables: {error}") from error
        time.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
        tries += 1
