"""kill -9 while two processes spend across a line: people are told of it once."""

import asyncio
import sqlite3
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import closing

from ledger.ceilings import Ceiling
from ledger.ledger import open_ledger, wall_ms
from ledger.values import Lead
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


async def a_process(url, first):
    """Settles every other call, in another process."""
    words = f"range({first}, {CALLS}, 2)"
    script = f"import asyncio, sys, tests.faults.test_alerts_kill as it; asyncio.run(it.settle(sys.argv[1], {words}))"
    return await asyncio.create_subprocess_exec(sys.executable, "-c", script, url, stdin=DEVNULL, stdout=PIPE)


async def test_a_hundred_settlements_across_a_line_by_two_processes_one_of_them_killed_tell_of_it_once(tmp_path):
    # Well before the line, and about at it.
    for lots in (3, 10):
        await spend_across_a_line(tmp_path / f"{lots}.db", lots)


async def spend_across_a_line(path, lots):
    """One of the processes is killed after so many of its lots."""
    url = f"sqlite:{path}"

    def told():
        with closing(sqlite3.connect(path)) as db:
            events = db.execute("SELECT type, facts ->> 'spent_nanousd' FROM events WHERE type = 'ceiling.threshold'")
            (spent,) = db.execute("SELECT SUM(cost_nanousd) FROM postings").fetchone()
            return events.fetchall(), spent

    async with open_ledger(url) as ledger:
        await ledger.configure_ceilings((Ceiling(scope="global", window="total", limit=LIMIT, warn_at=(0.8,)),))
        calls = [a_call(held=COST, generation_id=f"gen_{number}", now_ms=wall_ms()) for number in range(CALLS)]
        assert all(isinstance(lead, Lead) for lead in await asyncio.gather(*map(ledger.admit, calls)))
        victim, other = await asyncio.gather(a_process(url, 0), a_process(url, 1))
        try:
            for _ in range(lots):
                assert await victim.stdout.readline()
            victim.kill()
            await other.communicate()
            assert other.returncode == 0
        finally:
            for process in (victim, other):
                if process.returncode is None:
                    process.kill()
                await process.communicate()
        events, spent = told()
        # Told of if and only if what is on record has crossed the line.
        assert len(events) == (spent >= LIMIT * 0.8)
        await asyncio.gather(*(ledger.settle(a_settled_call(number)) for number in range(CALLS)))
        assert told() == ([("ceiling.threshold", LIMIT * 8 // 10)], LIMIT)
