"""A replica that keeps slices is killed, or stopped past its lease: that costs its open calls and nothing else."""

import asyncio
import itertools
import os
import signal
from contextlib import asynccontextmanager
from functools import partial

import pytest

from ledger.ceilings import Ceiling
from ledger.ledger import open_ledger, wall_ms
from ledger.operations.owners import sweep
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.forked import forked
from tests.ledger.calls import a_call, a_ledger, a_settlement

HELD = 100
HOT = (Ceiling(scope="global", window="total", limit=10**7),)
LONG_MS = 60_000


async def client(ledger, name):
    for number in itertools.count():
        request = a_call(held=HELD, generation_id=f"gen_{name}_{number}", now_ms=wall_ms())
        lead = await ledger.admit(request)
        assert isinstance(lead, Lead), lead
        print(lead.hold_id, flush=True)
        if number % 2:
            await ledger.settle(a_settlement(request, lead, cost=HELD, stores=False))


def admit_until_ended(url):
    """What another process does. It settles every other call; each acknowledged admission is a line."""

    async def main():
        async with open_ledger(url, slice_above_per_s=5) as ledger:
            await ledger.configure_ceilings(HOT)
            await asyncio.gather(*(client(ledger, name) for name in range(8)))

    asyncio.run(main())


@asynccontextmanager
async def a_replica(home, count):
    """Another process that has admitted so many calls; and their holds."""
    async with forked(admit_until_ended, home.url, folder=home.folder, environ=os.environ) as process:
        yield process, [(await process.stdout.readline()).decode().strip() for _ in range(count)]


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
            process.send_signal(stopped)
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
                process.send_signal(signal.SIGCONT)
                late = [(await process.stdout.readline()).decode().strip() for _ in range(50)]
                assert any(hold_id not in holds for hold_id in late), "it goes on as a new owner"
        lead = await other.admit(a_call(held=HELD, now_ms=wall_ms()))
        assert isinstance(lead, Lead)
    findings = await asyncio.to_thread(verify_ledger, postgres_home.url, on_rule=str)
    assert findings.violations == ()
