"""kill -9 while two processes spend across a line: people are told of it once."""

import asyncio
import json
import os

from ledger.ceilings import Ceiling
from ledger.ledger import open_ledger, wall_ms
from ledger.values import Lead
from tests.forked import forked
from tests.ledger.calls import a_call, a_settlement

CALLS = 100
COST = 100
AT_ONCE = 4
# Eight tenths of it are reached by the 80th call, whichever that is.
LIMIT = CALLS * COST


def a_settled_call(number):
    """The settlement of one of the calls, the same in each process."""
    request = a_call(held=COST, generation_id=f"gen_{number}", now_ms=1)
    lead = Lead(bid=0, hold_id=f"gen_{number}.1", attempt=1)
    return a_settlement(request, lead, cost=COST)


async def settle(url, numbers):
    """Settle these calls, some at once, and say after each lot that it is acknowledged."""
    async with open_ledger(url) as ledger:
        for first in range(0, len(numbers), AT_ONCE):
            await asyncio.gather(*(ledger.settle(a_settled_call(n)) for n in numbers[first : first + AT_ONCE]))
            print(min(first + AT_ONCE, len(numbers)), flush=True)


def a_process(home, first):
    """Settles every other call, in another process."""
    return forked(settle_every_other, home.url, first, folder=home.folder, environ=os.environ)


def settle_every_other(url, first):
    asyncio.run(settle(url, range(first, CALLS, 2)))


async def test_a_hundred_settlements_across_a_line_by_two_processes_one_of_them_killed_tell_of_it_once(home):
    # Well before the line, and about at it.
    for lots in (3, 10):
        await spend_across_a_line(home, lots)
        home.anew()


async def spend_across_a_line(home, lots):
    """One of the processes is killed after so many of its lots."""
    url = home.url

    def told():
        events = home.rows("SELECT facts FROM events WHERE type = 'ceiling.threshold'")
        ((spent,),) = home.rows("SELECT SUM(cost_nanousd) FROM postings")
        return [json.loads(facts)["spent_nanousd"] for (facts,) in events], spent

    async with open_ledger(url) as ledger:
        await ledger.configure_ceilings((Ceiling(scope="global", window="total", limit=LIMIT, warn_at=(0.8,)),))
        calls = [a_call(held=COST, generation_id=f"gen_{number}", now_ms=wall_ms()) for number in range(CALLS)]
        assert all(isinstance(lead, Lead) for lead in await asyncio.gather(*map(ledger.admit, calls)))
        async with a_process(home, 1) as other, a_process(home, 0) as victim:
            for _ in range(lots):
                assert await victim.stdout.readline()
            victim.kill()
            assert await other.wait() == 0
        events, spent = told()
        # Told of if and only if what is on record has crossed the line.
        assert len(events) == (spent >= LIMIT * 0.8)
        await asyncio.gather(*(ledger.settle(a_settled_call(number)) for number in range(CALLS)))
        (crossed_at,), spent = told()
        # Settlements that share a commit cross it together: what is told is what had been spent by that one.
        assert LIMIT * 8 // 10 <= crossed_at <= spent
        assert spent == LIMIT
