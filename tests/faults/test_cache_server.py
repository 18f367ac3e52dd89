"""Two services share a ledger and a cache server that comes late, stops and is killed: all is answered, to the cent."""

import asyncio
import re

from tests.processes import farthing_serve, one_route, run_farthing
from tests.upstream import answer, scripted_upstream
from tests.valkey import a_cache_server

PASSWORD = "hunter2-of-the-cache"


async def ask(service, prompt):
    code, body = await service.generate(model="chat", prompt=prompt, params={"max_tokens": 20})
    assert (code, body["output"]) == (200, "all well"), body
    return body["cache"]


async def load(services, name, calls=40):
    """Each asks what the other one asked, and each is the first to by turns."""
    return [await ask(services[(n + n // 4) % 2], f"{name} {n // 4}") for n in range(calls)]


async def requests_of(service):
    """{(operation, outcome): how many}, as `/metrics` tells it."""
    async with service.http.get(f"{service.url}/metrics") as page:
        text = await page.text()
    told = re.findall(
        r'^farthing_cache_server_requests_total\{operation="(\w+)",outcome="(\w+)"\} (\S+)', text, re.MULTILINE
    )
    return {(operation, outcome): float(count) for operation, outcome, count in told}


async def test_services_go_on_whatever_becomes_of_it(tmp_path):
    async with scripted_upstream() as upstream, a_cache_server(starts=False, password=PASSWORD) as server:
        upstream.default = answer("all well", prompt_tokens=3, completion_tokens=2)
        more = f'[cache]\nurl = "{server.url}"\ntimeout_ms = 100\n'
        config = one_route(upstream.url, limit_usd="1000", more=more)
        async with farthing_serve(tmp_path, config=config) as one, farthing_serve(tmp_path) as other:
            services = (one, other)
            assert await load(services, "absent", 8) == ["miss", "hit", "hit", "hit"] * 2
            await server.start()
            async with asyncio.timeout(20):
                while not (await requests_of(one))["keep", "kept"] or not server.names():
                    await ask(one, f"come {await requests_of(one)}")
            before = len(upstream.requests)
            running = [asyncio.create_task(load(services, f"killed {n}")) for n in range(4)]
            await upstream.until(lambda it: len(it.requests) >= before + 20, within_s=30)
            server.kill()
            await asyncio.gather(*running)
            await server.start()
            running = [asyncio.create_task(load(services, f"stopped {n}")) for n in range(4)]
            await asyncio.sleep(0.1)
            server.stop()
            await asyncio.gather(*running)
            server.go_on()
            told = await requests_of(one)
            spend = (await one.get("/ledger/spend"))["total"]
            for service in services:
                service.terminate()
                assert await service.ended() == 0
                assert PASSWORD not in service.log
                assert "does not serve (" in service.log
        code, out, _ = await run_farthing(tmp_path, "verify")
    assert code == 0, out
    assert told["keep", "unreachable"] >= 1
    assert sum(count for (_, outcome), count in told.items() if outcome in {"slow", "paused"}) >= 1
    # Each request to the provider is paid for, and nothing else.
    assert spend["cost_nanousd"] == len(upstream.requests) * (3 * 1000 + 2 * 2000)
    assert spend["attempts"] == len(upstream.requests)
    assert spend["generations"] - spend["cache_hits"] - spend["coalesced"] == len(upstream.requests)
    assert spend["saved_nanousd"] == (spend["cache_hits"] + spend["coalesced"]) * (3 * 1000 + 2 * 2000)
    assert spend["held_nanousd"] == 0
