"""A replica that keeps slices is killed, or stopped past its lease: that costs its open calls and nothing else."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest

from ledger.ceilings import Ceiling
from ledger.ledger import wall_ms
from ledger.operations.owners import sweep
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import a_call, a_ledger

HELD = 100
HOT = (Ceiling(scope="global", window="total", limit=10**7),)
LONG_MS = 60_000
# Admits, and settles every other call, until it is ended; each acknowledged admission is a line.
REPLICA = """
import asyncio, itertools, sys
from ledger.ledger import wall_ms
from ledger.values import Lead
from tests.faults.test_slices_kill import HELD, HOT
from tests.ledger.calls import a_call, a_ledger, a_settlement

class Home:
    url = sys.argv[1]

async def client(ledger, name):
    for number in itertools.count():
        request = a_call(held=HELD, generation_id=f"gen_{name}_{number}", now_ms=wall_ms())
        lead = await ledger.admit(request)
        assert isinstance(lead, Lead), lead
        print(lead.hold_id, flush=True)
        if number % 2:
            await ledger.settle(a_settlement(request, lead, cost=HELD, stores=False))

async def main():
    async with a_ledger(Home, clock=wall_ms, ceilings=HOT, slice_above_per_s=5) as ledger:
        await asyncio.gather(*(client(ledger, name) for name in range(8)))

asyncio.run(main())
"""


@asynccontextmanager
async def a_replica(home, count):
    """Another process that has admitted so many calls; and their holds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPLICA, home.url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process, [(await process.stdout.readline()).decode().strip() for _ in range(count)]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_it_has_a_slice(ledger):
    async with asyncio.timeout(60):
        while not (await standing(ledger)).sliced:
            await asyncio.sleep(0)


async def standing(ledger):
    (found,) = await ledger.ceiling_statuses()
    return found


@pytest.mark.parametrize("stopped", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_replica_that_ends_with_a_slice_costs_its_open_calls(postgres_home, stopped):
    async with a_ledger(postgres_home, clock=wall_ms, ceilings=HOT) as other:
        async with a_replica(postgres_home, 100) as (process, acknowledged):
            await until_it_has_a_slice(other)
            os.kill(process.pid, stopped)
            while await other._store.write(partial(sweep, now_ms=wall_ms() + LONG_MS)):
                pass
            now = await standing(other)
            assert (now.held, now.sliced) == (0, 0)
            with postgres_home.database() as db:
                holds = dict(db.execute("SELECT hold_id, state FROM holds").fetchall())
            assert set(acknowledged) <= holds.keys()
            assert set(holds.values()) == {"settled", "lapsed"}
            assert now.spent == HELD * len(holds), "each call once, and nothing for the slice"
            if stopped == signal.SIGSTOP:
                os.kill(process.pid, signal.SIGCONT)
                assert process.stdout is not None
                late = [(await process.stdout.readline()).decode().strip() for _ in range(50)]
                assert any(hold_id not in holds for hold_id in late), "it goes on as a new owner"
        lead = await other.admit(a_call(held=HELD, now_ms=wall_ms()))
        assert isinstance(lead, Lead)
    findings = await asyncio.to_thread(verify_ledger, postgres_home.url, on_rule=str)
    assert findings.violations == ()
