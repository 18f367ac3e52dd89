"""The calls that other processes on the ledger answer, told while somebody listens."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ledger.errors import LedgerError
from ledger.loops import running
from service.live.board import LiveBoard
from service.parts import Reports

EVERY_S: Final = 1.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def telling_of_others(board: LiveBoard, reports: Reports, *, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Put on the board what the ledger has of calls, this process's too: of those it knows less, and tells it later.

    One reading every so often, of a bounded number of calls, only while somebody listens.
    """
    async with running(_tell(board, reports, every_s), name="live calls elsewhere"):
        yield


async def _tell(board: LiveBoard, reports: Reports, every_s: float) -> None:
    while True:
        await board.watched()
        try:
            for call in await reports.latest_calls(also=board.unsettled()):
                board.tell(call)
        except LedgerError:
            log.warning("live calls of other processes cannot be told: the ledger does not answer")
        except Exception:
            log.exception("live calls of other processes cannot be told")
        await asyncio.sleep(every_s)
