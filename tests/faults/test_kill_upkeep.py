"""kill -9 while a ledger is looked after: at a migration, a sweep, a change of ceilings; then two others take over."""

import asyncio
import signal
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

from ledger.sql import migrations, schema
from ledger.sqlite import migrate
from tests.faults.campaign import Campaign, config, plays
from tests.faults.dying import DATABASE, Death, dying_serve
from tests.ledger.homes import Home, PostgresHome, SqliteHome
from tests.postgres import Server
from tests.processes import run_farthing
from tests.upstream import ScriptedUpstream, hang, scripted_upstream

TIMES = 5
LEDGER = "ledger.store.ledger:"
FACE = f"{LEDGER}StoreLedger."
MIGRATE = "ledger.sqlite.migrate:"


async def test_a_process_that_dies_within_a_migration_leaves_it_to_two_others_at_once(tmp_path: Path):
    async with scripted_upstream() as upstream:
        upstream.default = plays
        newest = len(migrations("sqlite"))
        # A new file is given the whole schema by one script: before it, a third into it, and when all of it is there.
        lines = len(schema("sqlite").splitlines())
        deaths = [
            Death(at=f"{MIGRATE}run_script", when="before"),
            Death(at="sqlite3:complete_statement", nth=lines // 3),
            Death(at=f"{MIGRATE}run_script"),
        ]
        for number, death in enumerate(deaths):
            folder = tmp_path / f"new {number}"
            folder.mkdir()
            await die_then_two_serve(SqliteHome(folder), upstream, death)
        # A file of the first version is migrated too, with what it holds.
        for nth in (1, newest - 1):
            folder = tmp_path / f"old {nth}"
            folder.mkdir()
            with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
                migrate.run_script(db, migrations("sqlite")[0][1])
                db.execute(f"PRAGMA application_id = {migrate.APPLICATION_ID}")
                db.execute("PRAGMA user_version = 1")
                db.execute("INSERT INTO refusals VALUES (0, 'kept', 'ceiling_held', 7)")
            await die_then_two_serve(SqliteHome(folder), upstream, Death(at=f"{MIGRATE}run_script", nth=nth))
            with closing(sqlite3.connect(folder / DATABASE)) as db:
                assert db.execute("SELECT count FROM refusals WHERE route = 'kept'").fetchall() == [(7,)]


async def test_a_process_that_dies_within_a_migration_of_a_server_leaves_it_to_two_others_at_once(
    tmp_path: Path, postgres: Server
):
    async with scripted_upstream() as upstream:
        upstream.default = plays
        # Each is a transaction of its own: some are there by then, and the next one is not, whole as it was.
        for nth in (4, len(migrations("postgres"))):
            folder = tmp_path / f"server {nth}"
            folder.mkdir()
            home = PostgresHome(postgres, postgres.empty_database(), folder)
            await die_then_two_serve(home, upstream, Death(at="ledger.postgres.migrate:make_schema", nth=nth))


async def die_then_two_serve(home: Home, upstream: ScriptedUpstream, death: Death) -> None:
    folder = home.folder
    campaign, text = Campaign(home, ScriptedUpstream()), config(upstream.url)
    async with dying_serve(home, config=text, death=death, starts=False) as victim:
        assert await victim.ended() == -signal.SIGKILL, death
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(dying_serve(home, starts=False)) for _ in range(2)]
        for number, service in enumerate(both):
            await service.started()
            await campaign.call(service, "chat", f"{folder.name} {number}", stream=False)
        assert (await campaign.call(both[0], "chat", f"{folder.name} 1", stream=False))["cache"] == "hit"
        for service in both:
            service.terminate()
            assert await service.ended() == 0
    campaign.upstream.requests = [it for it in upstream.requests if folder.name in it.body["messages"][0]["content"]]
    campaign.audit()


async def test_a_process_that_dies_within_a_sweep_leaves_the_dead_ones_holds_to_the_next(home: Home):
    async with scripted_upstream() as upstream:
        upstream.plays(*[hang()] * TIMES)
        upstream.default = plays
        campaign = Campaign(home, upstream)
        async with dying_serve(home, config=config(upstream.url)) as first:
            stuck = [
                asyncio.create_task(campaign.call(first, "chat", f"stuck {n}", stream=False)) for n in range(TIMES)
            ]
            await upstream.until(lambda it: len(it.requests) == TIMES)
            first.kill()
            await asyncio.gather(*stuck, return_exceptions=True)
        steps = [
            Death(at="ledger.operations.owners:_lapse", when="before"),
            Death(at="ledger.operations.owners:_lapse", nth=2),
            Death(at="ledger.operations.owners:_lapse", nth=TIMES),
            Death(at="ledger.operations.owners:post", nth=3, when="before"),
            Death(at="ledger.operations.owners:post", nth=TIMES),
        ]
        for death in steps:
            async with dying_serve(home, death=death) as sweeper:
                assert await sweeper.ended() == -signal.SIGKILL, death
            assert campaign.rows("SELECT COUNT(*) FROM holds WHERE state = 'held'") == [(TIMES,)], "all or none of them"
        async with dying_serve(home) as one, dying_serve(home) as other:
            await campaign.at_rest()
            await campaign.audit_repeats(one)
            for service in (one, other):
                service.terminate()
                assert await service.ended() == 0
        campaign.audit()
        assert campaign.rows("SELECT COUNT(*), MAX(cost_basis) FROM postings") == [(TIMES, "unknown")]
    code, out, _ = await run_farthing(home.folder, "verify", environ=home.environ)
    assert code == 0, out


async def test_a_process_that_dies_while_ceilings_change_changes_all_of_them_or_none(home: Home):
    async with scripted_upstream() as upstream:
        upstream.default = plays
        campaign = Campaign(home, upstream)
        async with dying_serve(home, config=config(upstream.url)) as before:
            for number in range(10):
                await campaign.call(before, "twice" if number % 2 else "chat", f"prompt {number}", stream=False)
            before.terminate()
            assert await before.ended() == 0
        old = campaign.rows("SELECT ceiling_id, limit_amount, active FROM ceilings ORDER BY ceiling_id")
        more = "".join(
            f'[[ceilings]]\nscope = "{scope}"\nwindow = "{window}"\nlimit_usd = "500"\n'
            for scope, window in (("global", "day"), ("model:up:first", "month"), ("user:*", "total"))
        )
        changed = config(upstream.url).replace('limit_usd = "1000"', 'limit_usd = "2000"') + more
        steps = [
            Death(at=f"{LEDGER}configure_ceilings", when="before"),
            Death(at="ledger.operations.ceilings:_set", nth=2),
            Death(at="ledger.operations.ceilings:_count_missed", nth=1),
            Death(at="ledger.operations.ceilings:_count_missed", nth=2, when="before"),
            Death(at=f"{LEDGER}configure_ceilings"),
        ]
        for death in steps:
            async with dying_serve(home, config=changed, death=death, starts=False) as victim:
                assert await victim.ended() == -signal.SIGKILL, death
            assert campaign.rows("SELECT ceiling_id, limit_amount, active FROM ceilings ORDER BY ceiling_id") == old
        async with dying_serve(home, death=Death(at=f"{FACE}configure_ceilings"), starts=False) as victim:
            assert await victim.ended() == -signal.SIGKILL
        assert len(campaign.rows("SELECT 1 FROM ceilings WHERE active = 1")) > len(old), "committed is committed"
        async with AsyncExitStack() as stack:
            both = [await stack.enter_async_context(dying_serve(home, starts=False)) for _ in range(2)]
            for number, service in enumerate(both):
                await service.started()
                await campaign.call(service, "chat", f"after {number}", stream=False)
            found = (await both[0].get("/ledger/ceilings"))["ceilings"]
            for service in both:
                service.terminate()
                assert await service.ended() == 0
        campaign.audit()
    spent = {(it["scope"], it["window"]): it["spent_nanousd"] for it in found}
    (whole,) = campaign.rows("SELECT SUM(cost_nanousd) FROM postings")
    assert spent["global", "day"] == spent["global", "month"] == spent["provider:up", "total"] == whole[0]
    assert spent["model:up:first", "month"] == 0
    assert spent["user:prompt 3", "total"] == 7000, "a ceiling counts what was spent before it was there"
