"""A repricing that is killed half-way, again and again, ends like one that was not."""

import asyncio
import os

from ledger.ledger import open_ledger
from ledger.usage import Usage
from tests.forked import forked
from tests.ledger.calls import a_call, a_ledger, admit_and_settle
from tests.processes import one_route, run_command, run_farthing

ATTEMPTS = 1500
KILLS = 5


def corrected(db):
    return db.execute("SELECT COUNT(*) FROM postings WHERE kind = 'correction'").fetchone()[0]


async def test_a_repricing_killed_in_the_middle_is_finished_by_the_next_one_and_nothing_is_charged_twice(home):
    config = one_route("http://127.0.0.1:1").replace('input_usd_per_mtok = "1"', 'input_usd_per_mtok = "3"')
    (home.folder / "farthing.toml").write_text(config + home.config)
    environ = {**os.environ, **home.environ}
    usage = Usage(input_tokens=10, output_tokens=5)
    async with a_ledger(home) as ledger:
        for _ in range(ATTEMPTS // 100):
            calls = (a_call(deployment="up:m", held=50_000) for _call in range(100))
            await asyncio.gather(*(admit_and_settle(ledger, call, cost=20_000, usage=usage) for call in calls))
    reprice, killed = ("reprice", "--since", "2026-01-01"), 0
    with home.database() as db:
        while killed < KILLS:
            before = corrected(db)
            repricing = forked(run_command, *reprice, folder=home.folder, environ=environ)
            async with repricing as process, asyncio.timeout(60):
                while process.returncode is None and corrected(db) == before:
                    await asyncio.sleep(0.002)
                if process.returncode is not None:
                    break
            killed += 1
        assert killed, "it was never caught in the middle"
        code, _, said = await run_farthing(home.folder, *reprice, environ=environ)
        assert code == 0, said
        assert corrected(db) == ATTEMPTS
    async with open_ledger(home.url) as ledger, ledger.transaction() as txn:
        found = await txn.get_all_spend()
        assert found["up:m"].cost_nanousd == ATTEMPTS * (10 * 3000 + 5 * 2000)
    assert (await run_farthing(home.folder, "verify", environ=environ))[0] == 0
