"""Has what users and workflows spent together added up, a little at a time, while a ledger is kept."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from ledger.errors import LedgerUnavailable
from ledger.operations.pairs import ADDED_UP_AFTER_MS, add_up_pairs
from ledger.store.writer import Writer

EVERY_S: Final = 5.0
# A ledger that brings a long history along takes turns for a small part of the time until that is added up.
PARTS_AT_ONCE: Final = 40

log = logging.getLogger(__name__)


class PairSums:
    """Any number of processes may do so on one ledger: each goes on from where any of them came to."""

    def __init__(self, store: Writer, *, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def run(self) -> None:
        """Go on whenever there is something, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.add_up()
            except LedgerUnavailable:
                log.warning("spend by user and workflow could not be added up: the ledger takes no writes")
            except Exception:
                log.exception("spend by user and workflow could not be added up: reports on both count call by call")

    async def add_up(self) -> None:
        """Add up the next calls, not too many, each part of them in a transaction of its own."""
        for _ in range(PARTS_AT_ONCE):
            # As an admission: whoever settles, goes first.
            work = partial(add_up_pairs, before_ms=self._clock_ms() - ADDED_UP_AFTER_MS)
            if not await self._store.write(work):
                return
