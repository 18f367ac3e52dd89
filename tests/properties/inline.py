"""A ledger that does nothing of its own accord, on either engine: its lease is neither kept nor given back."""

import asyncio
import itertools
import random
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from ledger.operations.owners import Owner
from ledger.postgres.address import address_of
from ledger.postgres.ledger import PostgresLedger
from ledger.postgres.readers import open_readers
from ledger.postgres.store import PostgresWriter
from ledger.sqlite.connection import _apply_writer_settings
from ledger.sqlite.readers import Readers
from ledger.sqlite.session import Session
from ledger.sqlite.writer import open_store
from ledger.store.ledger import StoreLedger
from ledger.store.writer import run_writer
from ledger.values import CacheBounds
from tests.simulation.loop import SimulatedLoop

_numbers = itertools.count(1)


@contextmanager
def a_loop(home, seed):
    """On a file, what runs next is the seed's to say. On a server it is the server's, too."""
    loop = SimulatedLoop(random.Random(seed)) if home.engine == "sqlite" else asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.bury() if isinstance(loop, SimulatedLoop) else loop.close()


@asynccontextmanager
async def an_inline_ledger(home, clock, *, after=lambda: None):
    """Leaving it is dying. after: called once something may have been committed."""
    opened = _on_a_file(home.path, clock, after) if home.engine == "sqlite" else _on_a_server(home.url, clock, after)
    async with opened as ledger:
        await ledger.lease.join()
        yield ledger


class InlineConnection:
    """Without a thread: work is done by whoever asks for it. after: called when it is done."""

    def __init__(self, db, after) -> None:
        self._db, self._after = db, after

    async def run(self, work):
        await asyncio.sleep(0)
        result = work(self._db)
        self._after()
        await asyncio.sleep(0)
        return result


@asynccontextmanager
async def _on_a_file(path, clock, after):
    @asynccontextmanager
    async def opened(path, _=None):
        db = sqlite3.connect(path, isolation_level=None, timeout=0, factory=Session)
        _apply_writer_settings(db, synchronous="normal")
        db.execute("PRAGMA synchronous = OFF")  # What dies here is a process, never the machine.
        try:
            yield InlineConnection(db, after)
        finally:
            db.close()

    async with open_store(path, "normal", opened) as store, opened(path) as reading:
        yield StoreLedger(store, Readers(path, [reading]), _new_owner, clock_ms=clock, bounds=CacheBounds())


class WatchedWriter(PostgresWriter):
    """after: called once a batch may have been committed, before its callers are told."""

    def __init__(self, address, after) -> None:
        super().__init__(address)
        self._after = after

    @asynccontextmanager
    async def opened(self):
        async with super().opened() as commit:

            async def commit_watched(works):
                try:
                    return await commit(works)
                finally:
                    self._after()

            yield commit_watched


@asynccontextmanager
async def _on_a_server(url, clock, after):
    address = address_of(url)
    async with AsyncExitStack() as stack:
        store = WatchedWriter(address, after)
        await stack.enter_async_context(run_writer(store))
        readers = await stack.enter_async_context(open_readers(address))
        yield PostgresLedger(store, readers, _new_owner, clock_ms=clock, bounds=CacheBounds())


def _new_owner() -> Owner:
    return Owner(owner_id=f"own_{next(_numbers):06}", process="here")
