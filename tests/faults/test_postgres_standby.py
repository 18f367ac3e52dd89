"""A streaming standby: refused while it is one, and taken up where its primary left off once it is promoted."""

import asyncio

import pytest

from ledger.errors import NotALedger
from ledger.ledger import check_ledger, open_ledger
from ledger.verify import verify_ledger
from tests.faults.test_postgres_restarts import COST, Load
from tests.ledger.homes import PostgresHome
from tests.postgres import a_server, a_standby

CALLERS = 8


async def test_a_promoted_standby_goes_on_with_all_that_was_acknowledged():
    with a_server("-primary", unsafe=False) as primary:
        home = PostgresHome(primary, await asyncio.to_thread(primary.ledger_database))
        with a_standby(primary) as standby:
            await refuses(standby.url(home.name))
            # What is acknowledged is on both.
            primary.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.run("postgres", "SELECT pg_reload_conf()")
            either = (
                f"postgresql://postgres@/{home.name}?host={primary.folder},{standby.folder}&port=5432,5432"
                "&target_session_attrs=read-write"
            )
            async with open_ledger(either) as ledger:
                load = Load(ledger)
                callers = [asyncio.create_task(load.call()) for _ in range(CALLERS)]
                await load.goes_on()
                await asyncio.to_thread(primary.stop_at_once)
                await asyncio.to_thread(standby.promote)
                await load.goes_on()
                load.stops = True
                await asyncio.gather(*callers)
                assert ledger.is_ready, "it recovered by itself"
            there = PostgresHome(standby, home.name)
            with there.database() as db:
                held = {hold_id for (hold_id,) in db.execute("SELECT hold_id FROM holds").fetchall()}
                posted = db.execute("SELECT hold_id, cost_nanousd FROM postings").fetchall()
            findings = await asyncio.to_thread(verify_ledger, there.url, on_rule=str)
    assert load.admitted <= held
    assert sorted(posted) == sorted((hold_id, COST) for hold_id in load.settled), "each once"
    assert findings.violations == ()


async def refuses(url):
    with pytest.raises(NotALedger, match="read-only standby: give the address of the primary"):
        await asyncio.to_thread(check_ledger, url)
    with pytest.raises(NotALedger, match="read-only standby: give the address of the primary"):
        async with open_ledger(url):
            raise AssertionError("it opened")
