"""A repricing that is killed half-way, again and again, ends like one that was not."""

import asyncio
import os
import sqlite3
from contextlib import closing

from ledger.ledger import open_ledger
from ledger.usage import Usage
from tests.forked import forked
from tests.ledger.calls import a_call, a_ledger, admit_and_settle
from tests.processes import one_route, run_command, run_farthing

ATTEMPTS = 1500
KILLS = 5


def corrected(folder):
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        return db.execute("SELECT COUNT(*) FROM postings WHERE kind = 'correction'").fetchone()[0]


async def test_a_repricing_killed_in_the_middle_is_finished_by_the_next_one_and_nothing_is_charged_twice(tmp_path):
    config = one_route("http://127.0.0.1:1").replace('input_usd_per_mtok = "1"', 'input_usd_per_mtok = "3"')
    (tmp_path / "farthing.toml").write_text(config)
    usage = Usage(input_tokens=10, output_tokens=5)
    async with a_ledger(tmp_path) as ledger:
        for _ in range(ATTEMPTS // 100):
            calls = (a_call(deployment="up:m", held=50_000) for _call in range(100))
            await asyncio.gather(*(admit_and_settle(ledger, call, cost=20_000, usage=usage) for call in calls))
    killed = 0
    while killed < KILLS:
        before = corrected(tmp_path)
        reprice = ("reprice", "--since", "2026-01-01")
        async with forked(run_command, *reprice, folder=tmp_path, environ=os.environ) as process, asyncio.timeout(60):
            while process.returncode is None and corrected(tmp_path) == before:
                await asyncio.sleep(0.002)
            if process.returncode is not None:
                break
        killed += 1
    assert killed, "it was never caught in the middle"
    code, _, said = await run_farthing(tmp_path, "reprice", "--since", "2026-01-01")
    assert code == 0, said
    assert corrected(tmp_path) == ATTEMPTS
    async with open_ledger(f"sqlite:{tmp_path / 'farthing.db'}") as ledger, ledger.transaction() as txn:
        found = await txn.get_all_spend()
        assert found["up:m"].cost_nanousd == ATTEMPTS * (10 * 3000 + 5 * 2000)
    assert (await run_farthing(tmp_path, "verify"))[0] == 0
