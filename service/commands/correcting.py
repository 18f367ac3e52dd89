"""What commands that change a ledger share: how it is opened, and what its refusals become."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from ledger.corrections import BATCH, Charged, Corrector, NotCorrectable, open_corrector
from ledger.errors import LedgerError
from ledger.ledger import Ledger, open_ledger, open_reports
from service.clock import now_ms
from service.commands.failing import failing
from service.config import Config

REFUSED = 2
UNREADABLE = 4

Result = TypeVar("Result")


def with_corrector(config: Config, work: Callable[[Corrector], Awaitable[Result]]) -> Result:
    """Do this on the config's ledger. Exit 2: the correction makes no sense; 4: the ledger cannot be used."""

    async def run() -> Result:
        async with open_corrector(config.ledger.url, clock_ms=now_ms) as corrector:
            return await work(corrector)

    try:
        return asyncio.run(run())
    except NotCorrectable as error:
        failing(str(error), status=REFUSED)
    except LedgerError as error:
        failing(str(error), status=UNREADABLE)


@asynccontextmanager
async def open_present_ledger(config: Config) -> AsyncIterator[Ledger]:
    """The config's ledger, to be written, for what makes no sense in a new one. Raises NotALedger, and makes none."""
    async with open_reports(config.ledger.url, clock_ms=now_ms):
        pass  # It is there, and a ledger: opened for writing, it would be made.
    async with open_ledger(config.ledger.url, clock_ms=now_ms) as ledger:
        yield ledger


async def batches(corrector: Corrector, *, since_ms: int, until_ms: int) -> AsyncIterator[list[Charged]]:
    """All charged attempts whose holds were taken in this span, in order, BATCH at a time."""
    after: Charged | None = None
    while True:
        found = await corrector.charged(since_ms=since_ms, until_ms=until_ms, after=after)
        if found:
            yield found
        if len(found) < BATCH:
            return
        after = found[-1]
