"""The service on PostgreSQL: what one replica promises two promise together, and a ledger moves in and out again."""

import asyncio
from collections import Counter

from tests.processes import farthing_serve, one_route, run_farthing
from tests.upstream import answer, scripted_upstream

COST_NANOUSD = 40_000  # 20 tokens in at $1 and 10 out at $2 a million.
ENVIRON = {"FARTHING_PEPPER": "a pepper that tests keep to themselves"}


def answers(upstream):
    gate = asyncio.Event()

    async def once_open(connection, request):
        await gate.wait()
        await answer("hello", prompt_tokens=20, completion_tokens=10)(connection, request)

    upstream.default = once_open
    return gate


async def test_two_replicas_call_once_share_a_ceiling_and_leave_a_ledger_that_adds_up(tmp_path, postgres_home):
    ledger = f'[ledger]\nurl = "{postgres_home.url}"\n'
    async with scripted_upstream() as upstream:
        gate = answers(upstream)
        config = one_route(upstream.url, more=ledger, limit_usd="0.01")
        async with (
            farthing_serve(tmp_path, config=config, environ=ENVIRON) as one,
            farthing_serve(tmp_path, environ=ENVIRON) as other,
        ):
            body = {"model": "chat", "prompt": "the same", "params": {"max_tokens": 10}}
            calls = [asyncio.create_task(each.generate(**body)) for each in (one, other) for _ in range(30)]
            await upstream.until(lambda it: len(it.requests) == 1)
            gate.set()
            told = await asyncio.gather(*calls)
            assert Counter(status for status, _ in told) == {200: 60}
            assert Counter(whole["cost_nanousd"] for _, whole in told) == {COST_NANOUSD: 1, 0: 59}
            assert len(upstream.requests) == 1
            # The ceiling has room for a few of them at a time, whichever replica is asked.
            many = [
                each.generate(model="chat", prompt=f"{number}", params={"max_tokens": 1000}, cache={"mode": "bypass"})
                for number in range(20)
                for each in (one, other)
            ]
            statuses = Counter(status for status, _ in await asyncio.gather(*many))
            assert statuses[200] > 0, statuses
            spend = [await each.get("/ledger/spend") for each in (one, other)]
            assert spend[0] == spend[1]
            assert spend[0]["total"]["cost_nanousd"] == COST_NANOUSD * (1 + statuses[200])
            for each in (one, other):
                each.terminate()
                assert await each.ended() == 0
    status, out, err = await run_farthing(tmp_path, "verify", environ=ENVIRON)
    assert status == 0, out + err


async def test_a_ledger_that_moves_to_a_server_and_back_goes_on_as_it_was(tmp_path, postgres):
    (tmp_path / "farthing.pepper").write_text(ENVIRON["FARTHING_PEPPER"])
    places = [f"sqlite:{tmp_path}/farthing.db", postgres.url(postgres.empty_database()), f"sqlite:{tmp_path}/back.db"]
    body = {"model": "chat", "params": {"max_tokens": 10}, "user": "u1"}
    calls_made, reports = 0, []
    async with scripted_upstream() as upstream:
        upstream.default = answer("hello", prompt_tokens=20, completion_tokens=10)
        for number, place in enumerate(places):
            if number:
                moved = await run_farthing(
                    tmp_path, "copy", "--from", places[number - 1], "--to", place, environ=ENVIRON, installed=True
                )
                assert moved[0] == 0, moved
                assert f"{2 * number} calls" in moved[1]
            config = one_route(upstream.url, more=f'[ledger]\nurl = "{place}"\n', limit_usd="0.01")
            async with farthing_serve(tmp_path, config=config, environ=ENVIRON, installed=True) as service:
                before = await reported(service)
                assert not reports or before == reports[-1], "what it was when it left"
                for prompt in ("asked before", f"asked at {number}"):
                    status, whole = await service.generate(prompt=prompt, **body)
                    is_new = prompt != "asked before" or not number
                    assert (status, whole["cache"]) == (200, "miss" if is_new else "hit"), whole
                    calls_made += is_new
                reports.append(await reported(service))
                assert reports[-1]["total"]["cost_nanousd"] == COST_NANOUSD * calls_made
                assert reports[-1]["ceilings"] == [COST_NANOUSD * calls_made]
                service.terminate()
                assert await service.ended() == 0
            status, out, err = await run_farthing(tmp_path, "verify", environ=ENVIRON)
            assert status == 0, out + err
    assert calls_made == 4 == len(upstream.requests)


async def reported(service):
    spend = await service.get("/ledger/spend?group_by=model,user,hour")
    ceilings = await service.get("/ledger/ceilings")
    return {
        "total": spend["total"],
        "rows": spend["rows"],
        "ceilings": [ceiling["spent_nanousd"] for ceiling in ceilings["ceilings"]],
    }
