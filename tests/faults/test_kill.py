"""kill -9 under load: nothing acknowledged is lost, nothing charged twice, and what nobody knows is charged whole."""

import asyncio
import sqlite3
from contextlib import closing

import aiohttp

from tests.processes import farthing_serve, one_route, run_farthing
from tests.upstream import answer, hang, scripted_upstream

LAPSED_WITHIN_S = 15 + 5 + 5  # The lease, the sweep after it, and a slow machine.


def one(folder, sql):
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        return db.execute(sql).fetchone()[0]


async def keep_calling(service, name, answered):
    """Calls until the service is gone; what was answered with 200 is noted."""
    number = 0
    try:
        while True:
            code, body = await service.generate(model="chat", prompt=f"{name} {number}", params={"max_tokens": 20})
            assert code == 200, body
            answered.append(body)
            number += 1
    except aiohttp.ClientError:
        return


async def test_a_killed_process_loses_nothing_and_its_open_holds_become_unknown_charges(tmp_path):
    answered = []
    async with scripted_upstream() as upstream:
        upstream.default = answer("ok", prompt_tokens=3, completion_tokens=2)
        config = one_route(upstream.url, limit_usd="1000")
        async with farthing_serve(tmp_path, config=config) as service:
            upstream.plays(*[hang()] * 5)
            stuck = [
                asyncio.create_task(service.generate(model="chat", prompt=f"stuck {n}", params={"max_tokens": 20}))
                for n in range(5)
            ]
            await upstream.until(lambda it: len(it.requests) == 5)
            callers = [asyncio.create_task(keep_calling(service, f"caller {n}", answered)) for n in range(8)]
            await upstream.until(lambda it: len(it.requests) >= 300)
            service.kill()
            await service.ended()
            await asyncio.gather(*callers)
            await asyncio.gather(*stuck, return_exceptions=True)
        code, out, _ = await run_farthing(tmp_path, "verify")
        assert code == 0, out
        for body in answered:
            found = one(tmp_path, f"SELECT COUNT(*) FROM generations WHERE generation_id = '{body['id']}'")
            assert found == 1, "an answered call is on record"
        settled_before = one(tmp_path, "SELECT COUNT(*) FROM postings")
        assert settled_before >= len(answered)
        async with farthing_serve(tmp_path, config=config) as service:
            spend = await service.poll(
                "/ledger/spend?group_by=basis", lambda it: it["total"]["held_nanousd"] == 0, within_s=LAPSED_WITHIN_S
            )
            service.terminate()
            assert await service.ended() == 0
    basis = {row["basis"]: row for row in spend["rows"]}
    assert basis["unknown"]["attempts"] >= 5
    assert spend["total"]["attempts"] == one(tmp_path, "SELECT COUNT(*) FROM holds") >= len(upstream.requests)
    assert one(tmp_path, "SELECT COUNT(*) FROM postings") == one(tmp_path, "SELECT COUNT(*) FROM holds")
    code, out, _ = await run_farthing(tmp_path, "verify")
    assert code == 0, out
