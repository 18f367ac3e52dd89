"""GET /metrics, as Prometheus reads it, from a service of several workers."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from tests.processes import farthing_serve, one_route
from tests.upstream import scripted_upstream

FIGURES = {"drift", "verified_seq", "verify_seconds", "wal_bytes", "queue_depth"}


async def ledger_figures(service):
    async with service.http.get(service.url + "/metrics") as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        families = text_string_to_metric_families(await answer.text())
    return {
        family.name.removeprefix("farthing_ledger_"): family.samples[0].value
        for family in families
        if family.name.startswith("farthing_ledger_")
    }


async def test_every_worker_tells_how_the_one_ledger_is_doing(tmp_path):
    async with scripted_upstream() as upstream:
        config = one_route(upstream.url, more="[ledger]\nverify_every_s = 0.2\n[server]\nworkers = 2\n")
        async with farthing_serve(tmp_path, config=config) as service:
            status, _ = await service.generate(model="chat", prompt="x", params={"max_tokens": 10})
            assert status == 200
            async with asyncio.timeout(10):
                while (figures := await ledger_figures(service))["verified_seq"] < 1:
                    await asyncio.sleep(0.05)
            assert figures.keys() == FIGURES
            # The look of this very moment may stand in the queue.
            assert (figures["drift"], figures["queue_depth"] <= 1) == (0, True)
            assert figures["wal_bytes"] > 0
