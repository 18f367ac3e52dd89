"""Two real versions side by side: the code from before a migration and the present one, while both take calls.

The older one is taken out of the repository's history, the last commit before the migration was added.
"""

import asyncio
import os
import subprocess
import sys
import tarfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ledger.postgres.migrate import known_here
from ledger.sql import oldest_beside
from ledger.verify import verify_ledger
from tests.ledger.homes import PostgresHome

HERE = Path(__file__).parents[3]
MIGRATIONS = "ledger/sql/postgres/migrations"
KNOWN = known_here()
# Those that came before were renumbered on their way in: no commit from before one of them opens a ledger.
SINCE = range(9, len(KNOWN) + 1)
COST, CLIENTS, ENOUGH = 70, 6, 60
# Says each call that was acknowledged once it is settled, and each refusal, until it is told to end.
REPLICA = """
import asyncio, itertools, sys
from ledger.ceilings import Ceiling
from ledger.errors import LedgerUnavailable
from ledger.ledger import open_ledger, wall_ms
from tests.ledger.calls import a_call, a_settlement

async def client(ledger, name, over):
    for number in itertools.count():
        if over.done():
            return
        call = a_call(held=100, generation_id=f"gen_{name}_{number}", now_ms=wall_ms())
        try:
            lead = await ledger.admit(call)
            await ledger.settle(a_settlement(call, lead, cost=int(sys.argv[3]), stores=False))
        except LedgerUnavailable as error:
            assert not error.unknown, "no connection is lost here"
            print("refused", flush=True)
            await asyncio.sleep(0.05)
        else:
            print(lead.hold_id, flush=True)

async def main():
    ceiling = Ceiling(scope="global", window="total", limit=10**12)
    async with open_ledger(sys.argv[1], clock_ms=wall_ms) as ledger:
        await ledger.configure_ceilings((ceiling,))
        over = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        await asyncio.gather(*(client(ledger, f"{sys.argv[2]}_{each}", over) for each in range(int(sys.argv[4]))))

asyncio.run(main())
"""


def version_before(number, folder):
    """The repository as it was before this migration. Skips the test where its history is not at hand."""
    (path,) = (HERE / MIGRATIONS).glob(f"{number:04}_*.sql")
    git = ["git", "-C", str(HERE)]
    added = subprocess.run(
        [*git, "log", "-1", "--diff-filter=A", "--format=%H", "--", f"{MIGRATIONS}/{path.name}"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    packed = folder / "before.tar"
    done = subprocess.run([*git, "archive", "-o", packed, f"{added}^"], capture_output=True, check=False)
    if not added or done.returncode:
        pytest.skip("the history that it takes older versions from is not here")
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "before", filter="data")
    return folder / "before"


class Replica:
    """acknowledged: the holds that were settled, as its callers were told. refused: how many calls were not taken."""

    def __init__(self, process):
        self._process = process
        self.acknowledged, self.refused = set(), 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self._process.stdout:
            if line == b"refused\n":
                self.refused += 1
            else:
                self.acknowledged.add(line.decode().strip())

    async def until(self, holds):
        """Wait until this holds of it."""
        async with asyncio.timeout(60):
            while not holds(self):
                assert self._process.returncode is None, "it ended"
                await asyncio.sleep(0.02)

    async def goes_on(self):
        """Wait until it has taken as many calls again."""
        enough = len(self.acknowledged) + ENOUGH
        await self.until(lambda it: len(it.acknowledged) >= enough)

    async def end(self):
        self._process.stdin.write(b"\n")
        status = await self._process.wait()
        await self._reading
        return status


@asynccontextmanager
async def a_replica(code, home, name):
    """Of the version in this folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPLICA, home.url, name, str(COST), str(CLIENTS), cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)}, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Replica(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.soak
@pytest.mark.parametrize("number", SINCE)
async def test_the_version_before_a_migration_and_this_one_take_calls_side_by_side(postgres, tmp_path, number):
    home, before = PostgresHome(postgres, postgres.empty_database()), version_before(number, tmp_path)
    may_stay = max(oldest_beside(later, script) for later, script in KNOWN[number - 1 :]) < number
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(a_replica(before, home, "old"))
        await old.goes_on()
        assert home.server.run(home.name, "SELECT version FROM ledger_turn")[0][0] == number - 1
        new = await stack.enter_async_context(a_replica(HERE, home, "new"))
        await new.goes_on()
        replicas = [old, new]
        if may_stay:
            await old.goes_on()
            started_late = await stack.enter_async_context(a_replica(before, home, "late"))
            await started_late.goes_on()
            replicas.append(started_late)
        else:
            told = len(old.acknowledged)
            await old.until(lambda it: it.refused > 2 * CLIENTS)
            assert len(old.acknowledged) <= told + CLIENTS, "it takes no more"
        await new.goes_on()
        assert {await replica.end() for replica in replicas} == {0}
    acknowledged = set().union(*(replica.acknowledged for replica in replicas))
    posted = home.server.run(home.name, "SELECT hold_id, cost_nanousd FROM postings")
    assert sorted(hold_id for hold_id, _ in posted) == sorted(acknowledged)
    assert {cost for _, cost in posted} == {COST}
    assert verify_ledger(home.url, on_rule=str).violations == ()
    print({"before": number, "side by side": may_stay, "refused": old.refused, "calls": len(acknowledged)})
