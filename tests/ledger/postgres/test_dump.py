"""A copy made by the server's own tools while calls go on is a whole ledger, and goes on as one."""

import asyncio

from ledger.ledger import open_ledger
from ledger.values import Lead
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_ledger, admit_and_settle
from tests.ledger.everything import make_everything
from tests.ledger.homes import PostgresHome


async def test_a_dump_that_was_made_while_calls_went_on_is_restored_to_a_ledger(postgres, postgres_home, tmp_path):
    at_ms = await make_everything(postgres_home)
    dump, restored = tmp_path / "farthing.dump", PostgresHome(postgres, postgres.empty_database())
    over, calls = asyncio.Event(), []

    async def keep_calling(ledger):
        while not over.is_set():
            calls.append(await admit_and_settle(ledger, a_call(now_ms=at_ms)))

    async with a_ledger(postgres_home, clock=Clock(at_ms)) as ledger:
        calling = [asyncio.create_task(keep_calling(ledger)) for _ in range(4)]
        while len(calls) < 8:
            await asyncio.sleep(0.01)
        before = len(calls)
        await asyncio.to_thread(postgres.use, "pg_dump", "-Fc", "-f", dump, postgres_home.name)
        over.set()
        await asyncio.gather(*calling)
    await asyncio.to_thread(postgres.use, "pg_restore", "--no-owner", "-d", restored.name, dump)
    findings = verify_ledger(restored.url, on_rule=str)
    assert findings.violations == ()
    assert before <= findings.postings < len(calls) + 20
    async with open_ledger(restored.url, clock_ms=Clock(at_ms)) as ledger:
        assert isinstance(await ledger.admit(a_call(now_ms=at_ms)), Lead)
        await admit_and_settle(ledger, a_call(now_ms=at_ms))
    assert verify_ledger(restored.url, on_rule=str).violations == ()
