"""Several replicas on one server: every ceiling holds at every commit, and equal calls are one."""

import asyncio
import os
import random
from contextlib import AsyncExitStack

import pytest

from ledger.ceilings import Ceiling
from ledger.database import RuleBroken
from ledger.ledger import open_ledger
from ledger.postgres.address import address_of
from ledger.postgres.connection import open_connection
from ledger.values import Bid, Follow, Hit, Lead, Refused
from ledger.verify import verify_ledger
from tests.forked import forked
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, a_settlement

CALLERS = 64
LIMITS = (
    Ceiling(scope="global", window="day", limit=40_000),
    Ceiling(scope="provider:p", window="month", limit=30_000),
    Ceiling(scope="model:q:m", window="hour", limit=9_000),
    Ceiling(scope="user:*", window="total", limit=35_000),
    Ceiling(scope="provider:q", window="day", unit="calls", limit=40),
)
BROKEN = (
    "SELECT ceiling_id, held_amount, spent_amount FROM ceiling_windows WHERE held_amount + spent_amount > limit_amount"
)


async def _replicas(stack, home, count=3, ceilings=LIMITS):
    return [await stack.enter_async_context(a_ledger(home, ceilings=ceilings)) for _ in range(count)]


async def _watch(home, over):
    """What stands above a limit at any commit that is seen; how many were."""
    seen, found = 0, []
    async with open_connection(address_of(home.url)) as connection:
        while not over.is_set():
            found += await connection.run(lambda db: db.execute(BROKEN).fetchall())
            seen += 1
    return seen, found


async def _call(ledger, chance):
    deployment, held = chance.choice(["p:m", "q:m"]), chance.randint(50, 900)
    admitted = await ledger.admit(a_call(bids=(Bid(deployment=deployment, held_nanousd=held, price_version="v1"),)))
    if isinstance(admitted, Refused):
        return 0
    assert isinstance(admitted, Lead)
    request = a_call(generation_id=admitted.hold_id.removesuffix(".1"))
    await ledger.settle(a_settlement(request, admitted, cost=chance.randint(0, held), stores=False))
    return 1


async def test_ceilings_hold_at_every_commit(postgres_home):
    chance, over = random.Random(8), asyncio.Event()
    async with AsyncExitStack() as stack:
        replicas = await _replicas(stack, postgres_home)
        watching = asyncio.create_task(_watch(postgres_home, over))
        let_in = await asyncio.gather(*(_call(ledger, chance) for ledger in replicas for _ in range(CALLERS)))
        over.set()
        seen, found = await watching
    assert not found
    assert seen > 10
    assert 0 < sum(let_in) < 3 * CALLERS, "some were let in and some were not, or nothing was shown"
    findings = await asyncio.to_thread(verify_ledger, postgres_home.url, on_rule=str)
    assert findings.violations == ()
    assert findings.holds == sum(let_in)


async def test_a_limit_for_ten_lets_ten_in(postgres_home):
    async with AsyncExitStack() as stack:
        ten = (Ceiling(scope="global", window="total", limit=1000),)
        replicas = await _replicas(stack, postgres_home, ceilings=ten)
        admitted = await asyncio.gather(*(ledger.admit(a_call(held=100)) for ledger in replicas for _ in range(20)))
    assert sum(isinstance(admission, Lead) for admission in admitted) == 10


async def test_sixty_equal_calls_over_three_replicas_are_one(postgres_home):
    async with AsyncExitStack() as stack:
        replicas = await _replicas(stack, postgres_home)
        calls = [(ledger, a_call(key="same")) for ledger in replicas for _ in range(20)]
        admitted = await asyncio.gather(*(ledger.admit(call) for ledger, call in calls))
        leads = [place for place, admission in enumerate(admitted) if isinstance(admission, Lead)]
        assert len(leads) == 1
        leader = calls[leads[0]][1].facts.generation_id
        assert all(found.leader_id == leader for found in admitted if isinstance(found, Follow))
        ledger, call = calls[leads[0]]
        await ledger.settle(a_settlement(call, admitted[leads[0]]))
        again = [await ledger.admit(a_call(key="same")) for ledger in replicas]
        assert all(isinstance(admission, Hit) for admission in again)


async def test_two_processes_share_a_limit(postgres_home):
    async with a_ledger(postgres_home, ceilings=[Ceiling(scope="global", window="total", limit=5000)]) as ledger:
        started = [
            forked(admit_until_refused, postgres_home.url, name, folder=postgres_home.folder, environ=os.environ)
            for name in "ab"
        ]
        async with started[0] as one, started[1] as other:
            said = [int(await process.stdout.read()) for process in (one, other)]
            assert [await process.wait() for process in (one, other)] == [0, 0]
        (status,) = await ledger.ceiling_statuses()
    assert sum(said) == 50
    assert status.held + status.spent == 5000, "what a process that left had held lapses in the next sweep"


def admit_until_refused(url, name):
    """What each of the processes does: it says how often it was let in."""

    async def main():
        async with open_ledger(url, clock_ms=lambda: BEGAN_MS) as ledger:
            calls = (a_call(held=100, generation_id=f"gen_{name}_{number}") for number in range(64))
            print(sum(isinstance(admission, Lead) for admission in await asyncio.gather(*map(ledger.admit, calls))))

    asyncio.run(main())


def fails_after_it_changed_something(db):
    db.execute("UPDATE ceilings_epoch SET epoch = 7")
    raise KeyError("this one")


def fails_for_a_rule(db):
    try:
        db.execute("INSERT INTO ceilings_epoch (id, epoch) VALUES (1, 7)")
    except RuleBroken as broken:
        raise KeyError("this one") from broken


def fails_before(db):
    db.execute("SELECT epoch FROM ceilings_epoch")
    raise KeyError("this one")


@pytest.mark.parametrize("callers", [1, 40])
@pytest.mark.parametrize("breaks", [fails_after_it_changed_something, fails_for_a_rule, fails_before])
async def test_what_one_call_is_refused_for_undoes_it_alone(postgres_home, callers, breaks):
    async with a_ledger(postgres_home) as ledger:

        def works(db):
            db.execute("UPDATE audit SET took_us = took_us + 1")
            return db.execute("SELECT epoch FROM ceilings_epoch").fetchone()

        writes = [ledger._store.write(breaks if number % 2 == 0 else works) for number in range(callers)]
        done = await asyncio.gather(*writes, return_exceptions=True)
        assert await ledger._store.write(works) != (7,)
    assert all(isinstance(result, KeyError) for result in done[::2])
    assert all(result != (7,) for result in done[1::2])
    with postgres_home.database() as db:
        assert db.execute("SELECT took_us FROM audit").fetchone() == (callers // 2 + 1,), "each once"
