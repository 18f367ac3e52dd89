"""A process's lease while something else goes wrong beside it."""

import asyncio

from ledger.operations.owners import LeaseRule
from ledger.sqlite.ledger import open_sqlite_ledger
from ledger.values import CacheBounds
from tests.ledger.calls import Clock

OFTEN = LeaseRule(lease_ms=15_000, renew_s=0.02, sweep_s=0.01)


async def test_a_lease_is_renewed_though_each_sweep_meets_a_bug(tmp_path, caplog):
    clock = Clock()
    opened = open_sqlite_ledger(
        tmp_path / "farthing.db", clock_ms=clock, synchronous="normal", bounds=CacheBounds(), lease=OFTEN
    )
    async with opened as ledger, asyncio.timeout(30):
        await ledger._store.write(lambda db: db.execute("ALTER TABLE failed_flights RENAME TO mislaid").rowcount)
        while "the lease was not looked after; it is tried again" not in caplog.messages:
            await asyncio.sleep(0.01)
        clock.at_ms += 10_000
        lease = "SELECT lease_until_ms FROM owners"
        while await ledger._readers.read(lambda db: db.execute(lease).fetchone()) != (clock.at_ms + OFTEN.lease_ms,):
            await asyncio.sleep(0.01)
        await ledger._store.write(lambda db: db.execute("ALTER TABLE mislaid RENAME TO failed_flights").rowcount)
