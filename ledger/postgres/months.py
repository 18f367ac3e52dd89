"""The months that calls are kept by: each one's tables are made before its first call comes.

Whoever has its turn makes them, for all replicas, in a transaction of its own. What a part is, is told in
`migrations/0004_months.sql`. Where none was made in time, its calls go to the part of all others, and no line is lost.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from ledger.database import Database
from ledger.errors import LedgerUnavailable
from ledger.loops import running
from ledger.sql import statements
from ledger.store.writer import Writer

SQL: Final = statements("postgres", "months")
LOOK_EVERY_S: Final = 600.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def months_kept(store: Writer, clock_ms: Callable[[], int]) -> AsyncIterator[None]:
    """See to it that this month and the next one have their tables, at once and while the block runs."""
    await _look(store, clock_ms)
    async with running(_go_on_looking(store, clock_ms), name="ledger months"):
        yield


async def _go_on_looking(store: Writer, clock_ms: Callable[[], int]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await _look(store, clock_ms)
        except Exception:
            log.exception("the tables for the months to come were not looked after; it is tried again")


async def _look(store: Writer, clock_ms: Callable[[], int]) -> None:
    try:
        made = await store.write(partial(make_months, now_ms=clock_ms()), is_settlement=True)
    except LedgerUnavailable:
        made = None
    if made is None:
        log.warning("the tables for the months to come could not be made yet; it is tried again")
    elif made:
        log.info("tables were made for %d months to come", made)


def make_months(db: Database, *, now_ms: int) -> int | None:
    """Make the tables of this month and the next where they are missing. For how many; None: for fewer than that.

    Then somebody reads what would have to be locked for a moment, and nobody is made to wait.
    """
    place, made = {"now_ms": now_ms}, 0
    if db.execute(SQL["lacks_months"], place).fetchone() is not None:
        (made,) = db.execute(SQL["make_months"], place).fetchone()
        if db.execute(SQL["lacks_months"], place).fetchone() is not None:
            return None
    return made
