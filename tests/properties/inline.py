"""A ledger without threads or loops of its own: every step happens when it is asked for, on a real file."""

import asyncio
import itertools
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager

from ledger.operations.owners import Owner
from ledger.sqlite.connection import _apply_writer_settings
from ledger.sqlite.readers import Readers
from ledger.sqlite.writer import open_store
from ledger.store.ledger import StoreLedger
from ledger.values import CacheBounds

_numbers = itertools.count(1)


class InlineConnection:
    """Work is done by whoever asks for it. after: told of every piece of it."""

    def __init__(self, db, after) -> None:
        self._db, self._after = db, after

    async def run(self, work):
        await asyncio.sleep(0)
        result = work(self._db)
        self._after(self._db)
        await asyncio.sleep(0)
        return result


@asynccontextmanager
async def an_inline_ledger(path, clock, *, after=lambda db: None):
    """Its lease is neither kept nor given back: leaving is dying."""

    @asynccontextmanager
    async def opened(path, _=None):
        db = sqlite3.connect(path, isolation_level=None, timeout=0)
        _apply_writer_settings(db, synchronous="normal")
        db.execute("PRAGMA synchronous = OFF")  # What dies here is a process, never the machine.
        try:
            yield InlineConnection(db, after)
        finally:
            db.close()

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(path, "normal", opened))
        readers = Readers(path, [await stack.enter_async_context(opened(path))])
        ledger = StoreLedger(store, readers, _new_owner, clock_ms=clock, bounds=CacheBounds())
        await ledger.join()
        yield ledger


def _new_owner() -> Owner:
    return Owner(owner_id=f"own_{next(_numbers):06}", process="here")
