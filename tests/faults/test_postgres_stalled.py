"""A replica stands still past its lease, wherever it was, and wakes: fenced off, its late usage mends the books."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

from ledger.operations.owners import LeaseRule
from ledger.postgres.address import address_of
from ledger.postgres.ledger import open_postgres_ledger
from ledger.values import CacheBounds
from ledger.verify import verify_ledger
from service.clock import now_ms
from tests.processes import a_process

LEASE = LeaseRule(lease_ms=1000, renew_s=0.2, sweep_s=0.1)
# It holds an attempt when it is stopped; or is stopped again and again in the midst of its writes, its turn among them.
REPLICA = """
import asyncio, sys
from ledger.errors import LedgerUnavailable
from ledger.postgres.address import address_of
from ledger.postgres.ledger import open_postgres_ledger
from ledger.values import CacheBounds
from service.clock import now_ms
from tests.faults.test_postgres_stalled import LEASE
from tests.ledger.calls import a_call, a_settlement

async def until_taken(write):
    while True:
        try:
            return await write()
        except LedgerUnavailable:
            await asyncio.sleep(0.05)

async def one(ledger, name, cost):
    call = a_call(now_ms=now_ms(), generation_id=name, held=1000)
    lead = await until_taken(lambda: ledger.admit(call))
    await until_taken(lambda: ledger.settle(a_settlement(call, lead, cost=cost)))

async def main(address):
    async with open_postgres_ledger(address, clock_ms=now_ms, bounds=CacheBounds(), lease=LEASE) as ledger:
        first = a_call(now_ms=now_ms(), generation_id="gen_stalled", held=1000)
        lead = await ledger.admit(first)
        print(ledger.owner_id, flush=True)
        told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        number = 0
        while not told.done():
            await asyncio.gather(*(one(ledger, f"gen_{number}_{each}", 100) for each in range(8)))
            number += 1
        await until_taken(lambda: ledger.settle(a_settlement(first, lead, cost=400)))
        await one(ledger, "gen_awake", 300)
        print(ledger.owner_id, number * 8, flush=True)

asyncio.run(main(address_of(sys.argv[1])))
"""


async def test_it_is_fenced_off_and_its_late_usage_mends_the_books(postgres_home):
    url = postgres_home.url
    async with (
        open_postgres_ledger(address_of(url), clock_ms=now_ms, bounds=CacheBounds(), lease=LEASE) as ledger,
        a_process(sys.executable, "-c", REPLICA, url, stdin=PIPE, stdout=PIPE) as child,
    ):
        owner = (await child.stdout.readline()).decode().strip()
        for _ in range(4):
            await asyncio.sleep(0.05)
            child.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.05)
            child.send_signal(signal.SIGCONT)
        child.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(30):  # One that stopped in its turn keeps it for five seconds more.
            while (await ledger.generation("gen_stalled"))["outcome"] != "lost":
                await asyncio.sleep(0.1)
        child.send_signal(signal.SIGCONT)
        out, _ = await child.communicate(b"\n")
        assert child.returncode == 0
        new_owner, others = out.decode().split()
        assert new_owner != owner, "what it holds from now on, it holds under a lease of its own"
    with postgres_home.database() as db:
        first = db.execute("SELECT kind, cost_nanousd FROM postings WHERE hold_id = 'gen_stalled.1' ORDER BY seq")
        assert first.fetchall() == [("lapse", 1000), ("correction", -600)]
        (cost,) = db.execute("SELECT SUM(cost_nanousd) FROM postings").fetchone()
    assert cost == 400 + 300 + int(others) * 100
    findings = await asyncio.to_thread(verify_ledger, url, on_rule=str)
    assert findings.violations == ()
