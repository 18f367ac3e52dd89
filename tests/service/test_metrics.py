"""GET /metrics, as Prometheus reads it, from a service of several workers: beside the ledger's own report."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from telemetry.metrics.instruments import INSTRUMENTS
from tests.collector import ScriptedCollector
from tests.processes import farthing_serve, one_route
from tests.upstream import answer, scripted_upstream, status, stream

WORKERS = """
[ledger]
verify_every_s = 0.2
[server]
workers = 2
"""
CEILING = """
[[ceilings]]
scope = "global"
window = "month"
limit_usd = "10"
[[ceilings]]
scope = "global"
window = "month"
unit = "tokens"
limit = "1000000"
[[ceilings]]
scope = "global"
window = "month"
unit = "calls"
limit = "1000"
"""


class Scraped:
    """One reading of /metrics: {(sample, sorted labels): value}."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the sample's series that have these labels."""
        wanted = labels.items()
        return sum(
            value for (found, having), value in self.samples.items() if found == name and wanted <= dict(having).items()
        )


async def scrape(service) -> Scraped:
    # Without keep-alive, so that each worker is asked in its turn.
    async with service.http.get(service.url + "/metrics", headers={"connection": "close"}) as told:
        assert told.headers["content-type"].startswith("text/plain")
        return Scraped(await told.text())


async def scraped_when(service, holds) -> Scraped:
    async with asyncio.timeout(15):
        while not holds(scraped := await scrape(service)):
            await asyncio.sleep(0.05)
    return scraped


def workers_of(service) -> list[int]:
    """The worker processes' ids."""
    pid = service.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def calls_of_all_kinds(service, upstream) -> None:
    """Ten answers, five of them hits; a failure, a refusal, and a caller who leaves after half an answer."""
    upstream.default = answer("one two three", prompt_tokens=20, cached_tokens=8, reasoning_tokens=2)
    for _ in range(2):
        async with asyncio.TaskGroup() as calls:
            for n in range(5):
                calls.create_task(service.generate(model="chat", prompt=f"call {n}", params={"max_tokens": 10}))
    upstream.plays(status(500))
    code, _ = await service.generate(model="chat", prompt="fails", params={"max_tokens": 10})
    assert code == 502
    code, _ = await service.generate(model="chat", prompt="", params={"max_tokens": -1})
    assert code == 400
    upstream.plays(stream(["half of it", asyncio.Event()]))
    body = {"model": "chat", "prompt": "leaves", "params": {"max_tokens": 10}, "stream": True}
    async with service.http.post(f"{service.url}/generate", json=body) as answering:
        await answering.content.readany()
        for _ in range(3):  # Whichever worker is asked.
            await scraped_when(service, lambda it: it.sum("farthing_calls_in_flight") == 1)
        answering.close()


def served(folder, upstream, collector):
    environ = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics",
        "OTEL_METRIC_EXPORT_INTERVAL": "250",
    }
    config = one_route(upstream.url, more=WORKERS + CEILING)
    return farthing_serve(folder, config=config, environ=environ, installed=True)


def pushed(collector: ScriptedCollector) -> dict[str, dict[str, float]]:
    """{worker's instance id: {metric: the sum of its series}}, as each told last."""
    told = {}
    for body in list(collector.bodies):
        [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
        [instance] = [pair.value for pair in resource.resource.attributes if pair.key == "service.instance.id"]
        told[instance.string_value] = {
            metric.name: sum(point.as_double for point in (*metric.sum.data_points, *metric.gauge.data_points))
            for metric in resource.scope_metrics[0].metrics
        }
    return told


def has_all(told, total) -> bool:
    """Both have told, one of which may have had no call, and their calls are all there were."""
    return len(told) > 1 and sum(it.get("farthing.calls", 0) for it in told) == total["generations"]


async def check_pushed(collector: ScriptedCollector, total) -> None:
    """What the workers push comes to the same; what all of them know alike is told by one."""
    async with asyncio.timeout(15):
        while not has_all(told := pushed(collector).values(), total):
            await asyncio.sleep(0.05)
    assert len(told) == 2
    assert {name for it in told for name in it} == {instrument.name for instrument in INSTRUMENTS}
    assert round(sum(it.get("farthing.cost", 0) for it in told) * 1e9) == total["cost_nanousd"]
    assert [it["farthing.ceiling.limit"] for it in told if "farthing.ceiling.limit" in it] == [10]


async def test_two_workers_sums_equal_the_ledger_and_outlive_one_that_is_killed(tmp_path):
    async with (
        scripted_upstream() as upstream,
        a_collector() as collector,
        served(tmp_path, upstream, collector) as service,
    ):
        await calls_of_all_kinds(service, upstream)
        total = (await service.poll("/ledger/spend?group_by=outcome", _has_all))["total"]
        scraped = await scraped_when(service, lambda it: _are_told(it, attempts=total["attempts"]))
        check_equal(scraped, total)
        check_states(scraped)
        await check_pushed(collector, total)

        killed = workers_of(service)[0]
        os.kill(killed, signal.SIGKILL)
        await service.logs("starting another")
        after = await scraped_when(service, lambda it: it.sum("farthing_workers") == 2 and _is_whole(it))
        check_equal(after, total)
        assert after.sum("farthing_calls_in_flight") == 0


@asynccontextmanager
async def a_collector():
    collector = ScriptedCollector()
    try:
        yield collector
    finally:
        await asyncio.to_thread(collector.close)


def _are_told(scraped: Scraped, *, attempts: int) -> bool:
    """Both workers stand, each with its gate of twelve, and the last attempt is counted."""
    return scraped.sum("farthing_gate_limit") == 24 and scraped.sum("farthing_attempts_total") == attempts


def _is_whole(scraped: Scraped) -> bool:
    """A new worker's gauges are there from its first beat on."""
    return scraped.sum("farthing_ledger_drift") == 0


def _has_all(report) -> bool:
    return {row["outcome"] for row in report["rows"]} >= {"ok", "upstream_error", "aborted"}


def check_equal(scraped: Scraped, total) -> None:
    """What was counted as it happened, beside what the ledger says."""
    sums = {
        "generations": scraped.sum("farthing_calls_total"),
        "cache_hits": scraped.sum("farthing_calls_total", cache="hit"),
        "coalesced": scraped.sum("farthing_calls_total", cache="coalesced"),
        "attempts": scraped.sum("farthing_attempts_total"),
        "prompt_tokens": sum(
            scraped.sum("farthing_tokens_total", **{"class": name}) for name in ("input", "cached", "cache_write")
        ),
        "completion_tokens": sum(
            scraped.sum("farthing_tokens_total", **{"class": name}) for name in ("output", "reasoning")
        ),
        "cached_tokens": scraped.sum("farthing_tokens_total", **{"class": "cached"}),
        "reasoning_tokens": scraped.sum("farthing_tokens_total", **{"class": "reasoning"}),
    }
    assert sums == {name: total[name] for name in sums}
    money = {
        "cost_nanousd": scraped.sum("farthing_cost_usd_total"),
        "saved_nanousd": scraped.sum("farthing_saved_usd_total"),
        "wasted_nanousd": scraped.sum("farthing_wasted_usd_total"),
        "estimated_nanousd": scraped.sum("farthing_cost_usd_total", basis="estimated"),
    }
    assert {name: round(usd * 1e9) for name, usd in money.items()} == {name: total[name] for name in money}
    assert scraped.sum("farthing_key_cost_usd_total", key="") == pytest.approx(money["cost_nanousd"])
    assert (total["cache_hits"], total["wasted_nanousd"] > 0) == (5, True)


def check_states(scraped: Scraped) -> None:
    """What is not added up, but stands. Every figure has a place before anything has happened to raise it."""
    names = {name.removesuffix("_bucket") for name, _ in scraped.samples}
    assert {instrument.prometheus_name for instrument in INSTRUMENTS} <= names
    assert scraped.sum("farthing_refusals_total", code="invalid_request") == 1
    assert scraped.sum("farthing_refusals_total", code="upstream_failed") == 1
    assert scraped.sum("farthing_refusals_total", code="caller_gone") == 1
    assert scraped.sum("http_server_request_duration_seconds_count", http_route="/generate") == 13
    assert scraped.sum("gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="m") == 7
    assert scraped.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="input") >= 100
    assert scraped.sum("farthing_ceiling_limit_usd", scope="global", window="month") == 10
    assert scraped.sum("farthing_ceiling_spent_usd") == pytest.approx(scraped.sum("farthing_cost_usd_total"))
    assert scraped.sum("farthing_process_resident_bytes") > 2 * 20 * 2**20
    assert scraped.sum("farthing_process_cpu_seconds_total") > 0.1
    assert scraped.sum("farthing_breaker_state") == 1
    assert scraped.sum("farthing_breaker_state", state="closed", deployment="up:m") == 1
    assert scraped.sum("farthing_ledger_drift") == 0
    assert ("farthing_alerts_deliveries", (("state", "dead"),)) in scraped.samples
    assert scraped.sum("farthing_ledger_wal_bytes") > 0
    assert scraped.sum("farthing_ledger_batch_sum") >= scraped.sum("farthing_ledger_batch_count") > 10
    assert scraped.sum("farthing_ledger_commit_duration_seconds_count") == scraped.sum("farthing_ledger_batch_count")
