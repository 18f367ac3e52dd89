"""Metrics on their way to a collector: what arrives there, and what happens when it does not."""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from telemetry.metrics import CallAccount, Metrics, OperationAccount, Reading, exporting_metrics, open_metrics
from telemetry.metrics import instruments as its
from telemetry.metrics.export import CLOSE_S

OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "10"}
SELDOM = {"OTEL_METRIC_EXPORT_INTERVAL": "600000"}
OPERATION = OperationAccount(
    operation="chat", provider="gemini", model="flash", error="", latency_s=0.5, input_tokens=20, output_tokens=7
)


def exporting(metrics: Metrics, endpoint: str, environ: dict[str, str]) -> Any:
    async def told() -> Sequence[Reading]:
        return [Reading(its.DRIFT, (), (0.0,))]

    return exporting_metrics(metrics, told, otlp_endpoint=endpoint, environ=environ, version="1.2.3")


def last_told(collector: Any) -> tuple[dict[str, Any], dict[str, Metric]]:
    """The resource and the metrics of the last request, by name."""
    [resource_metrics] = ExportMetricsServiceRequest.FromString(collector.bodies[-1]).resource_metrics
    [scope] = resource_metrics.scope_metrics
    resource = {pair.key: pair.value.string_value for pair in resource_metrics.resource.attributes}
    return resource, {metric.name: metric for metric in scope.metrics}


async def test_what_was_counted_arrives_as_the_conventions_have_it(collector: Any) -> None:
    metrics = open_metrics()
    began_ns = time.time_ns()
    async with exporting(metrics, collector.url, SELDOM | {"OTEL_SERVICE_NAME": "gateway"}):
        metrics.recorder.operation(OPERATION)
        metrics.recorder.call(CallAccount(route="chat", cache="miss", outcome="ok"))
        metrics.recorder.request("POST", "/generate", 200, "", 0.6)
        metrics.recorder.calls_in_flight(3)
    resource, told = last_told(collector)
    assert collector.headers[-1][""] == "/v1/metrics"
    assert (resource["service.name"], resource["service.version"]) == ("gateway", "1.2.3")
    assert resource["service.instance.id"]

    duration = told["gen_ai.client.operation.duration"]
    [point] = duration.histogram.data_points
    assert duration.unit == "s"
    assert {pair.key: pair.value.string_value for pair in point.attributes} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "flash",
    }
    assert (point.count, point.sum) == (1, 0.5)
    assert list(point.explicit_bounds) == list(its.GEN_AI_SECONDS)
    assert list(point.bucket_counts) == [int(index == 6) for index in range(len(its.GEN_AI_SECONDS) + 1)]
    assert began_ns <= point.start_time_unix_nano <= point.time_unix_nano <= time.time_ns()
    calls = told["farthing.calls"]
    assert (calls.sum.is_monotonic, calls.sum.data_points[0].as_double) == (True, 1)
    [request] = told["http.server.request.duration"].histogram.data_points
    assert {pair.key: pair.value.int_value for pair in request.attributes}["http.response.status_code"] == 200
    assert told["farthing.calls.in_flight"].gauge.data_points[0].as_double == 3
    assert "farthing.ledger.drift" in told


async def test_a_worker_tells_neither_what_its_predecessor_counted_nor_what_the_first_one_tells(
    collector: Any, tmp_path: Path
) -> None:
    killed = open_metrics(tmp_path, "1")
    killed.recorder.call(CallAccount(route="chat", cache="miss", outcome="ok"))
    killed.recorder.operation(OPERATION)
    metrics = open_metrics(tmp_path, "1")
    async with exporting(metrics, collector.url, SELDOM):
        metrics.recorder.operation(OPERATION)
    _, told = last_told(collector)
    assert told["gen_ai.client.operation.duration"].histogram.data_points[0].count == 1
    assert told["farthing.calls"].sum.data_points[0].as_double == 0
    assert "farthing.ledger.drift" not in told
    metrics.close()
    killed.close()


async def test_it_is_told_again_and_again(collector: Any) -> None:
    async with exporting(open_metrics(), collector.url, OFTEN):
        for _ in range(3):
            collector.took.clear()
            assert await asyncio.to_thread(collector.took.wait, 10)


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_METRICS_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}],
)
async def test_nothing_is_told_that_nobody_asked_for(collector: Any, environ: dict[str, str]) -> None:
    environ = {name: value.format(url=collector.url) for name, value in environ.items()}
    async with exporting(open_metrics(), collector.url if "OTEL_SDK_DISABLED" in environ else "", environ):
        pass
    assert collector.bodies == []


async def test_a_dead_collector_costs_a_counter_and_one_line(
    dead_endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = open_metrics()
    failed = metrics.recorder.tally.count(its.EXPORTS_FAILED)
    began_s = time.monotonic()
    with caplog.at_level(logging.INFO):
        async with exporting(metrics, dead_endpoint, OFTEN | {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "0.05"}):
            async with asyncio.timeout(10):
                while failed.value < 2:
                    await asyncio.sleep(0.01)
    assert time.monotonic() - began_s < CLOSE_S
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("telemetry")]
    assert line == "metrics were not told: 127.0.0.1 did not take them: ConnectionError"


async def test_a_collector_that_hangs_holds_nobody_up(silent_endpoint: str) -> None:
    metrics = open_metrics()
    async with exporting(metrics, silent_endpoint, OFTEN | {"OTEL_EXPORTER_OTLP_TIMEOUT": "2"}):
        began_s = time.monotonic()
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert metrics.recorder.tally.count(its.EXPORTS_FAILED).value == 0, "it hangs on"
    assert time.monotonic() - began_s < CLOSE_S
