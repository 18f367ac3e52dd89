"""Spans on their way to a collector: what arrives there, and what happens when it does not."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from telemetry import AttemptFacts, RequestFacts, TelemetrySettings, new_trace_id, open_telemetry, parse_traceparent
from telemetry.collector import Collector
from telemetry.environment import BatchSettings, CollectorSettings
from telemetry.export import CLOSE_S, SpanExporter
from telemetry.facts import MAX_CONTENT_CHARS
from telemetry.wire import SpanEncoder

FactsOf = Callable[..., RequestFacts]
Attempts = tuple[AttemptFacts, AttemptFacts]
SPANS_A_CALL = 4
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def to(endpoint: str, **changes: Any) -> TelemetrySettings:
    return TelemetrySettings(otlp_endpoint=endpoint, **changes)


def telemetry_to(endpoint: str, environ: dict[str, str] | None = None, **changes: Any) -> Any:
    return open_telemetry(to(endpoint, **changes), environ=environ or {}, service_version="1.2.3")


async def test_one_failed_over_call_is_one_tree_at_a_real_receiver(facts_of: FactsOf) -> None:
    parent = parse_traceparent(CALLER)
    assert parent is not None
    facts = facts_of(trace_id=parent.trace_id, parent_span_id=parent.span_id)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as tap:
        awaited = [
            asyncio.ensure_future(tap.await_trace(lambda span, wanted=wanted: span.span_id.hex() == wanted, timeout=10))
            for wanted in ("d" * 16, "c" * 16, "a" * 16, "b" * 16)
        ]
        await asyncio.sleep(0)  # The tap forgets what nobody awaits yet.
        async with telemetry_to(f"http://127.0.0.1:{port}") as telemetry:
            assert telemetry.samples(parent, parent.trace_id)
            telemetry.record(facts)
        server, chat, first, second = await asyncio.gather(*awaited)
    assert telemetry.dropped == 0
    assert {span.trace_id.hex() for span in (server, chat, first, second)} == {parent.trace_id}
    assert server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert [span.parent_span_id for span in (chat, first, second)] == [server.span_id, chat.span_id, chat.span_id]
    assert _attribute(chat, "farthing.cost.nanousd").int_value == 123_000
    assert _attribute(chat, "gen_ai.usage.output_tokens").int_value == 40
    assert [_attribute(span, "farthing.outcome").string_value for span in (first, second)] == ["rate_limited", "ok"]


def _attribute(span: OtlpSpan, key: str) -> Any:
    return next(pair.value for pair in span.attributes if pair.key == key)


async def test_nothing_is_exported_when_nothing_is_configured(facts_of: FactsOf) -> None:
    threads = threading.active_count()
    async with telemetry_to("", capture_content=True) as telemetry:
        assert (telemetry.exports, telemetry.capture_content) == (False, False)
        telemetry.record(facts_of())
        assert threading.active_count() == threads
        assert await telemetry.flush()
    assert telemetry.dropped == 0


async def test_without_an_exporter_a_callers_decision_is_passed_on() -> None:
    async with telemetry_to("") as telemetry:
        assert not telemetry.samples(None, new_trace_id())
        assert telemetry.samples(parse_traceparent(CALLER), new_trace_id())
        assert not telemetry.samples(parse_traceparent(CALLER[:-1] + "0"), new_trace_id())


@pytest.mark.parametrize("environ", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
async def test_the_standard_variables_switch_it_off(collector: Any, facts_of: FactsOf, environ: dict[str, str]) -> None:
    async with telemetry_to(collector.url, environ) as telemetry:
        assert not telemetry.exports
        telemetry.record(facts_of())
    assert collector.bodies == []


async def test_the_environment_names_service_headers_and_compression(collector: Any, facts_of: FactsOf) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=k%2D1,other=2",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=a%20b,service.name=overruled",
        "OTEL_SERVICE_NAME": "gateway",
    }
    async with telemetry_to("", environ) as telemetry:
        telemetry.record(facts_of())
    [headers], [request] = collector.headers, collector.requests
    assert {name: headers[name] for name in ("", "x-api-key", "other", "content-type", "user-agent")} == {
        "": "/v1/traces",
        "x-api-key": "k-1",
        "other": "2",
        "content-type": "application/x-protobuf",
        "user-agent": "farthing/1.2.3",
    }
    [resource] = request.resource_spans
    told = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert told["service.name"] == "gateway"
    assert told["deployment.environment"] == "a b"
    assert told["service.version"] == "1.2.3"
    assert told["telemetry.sdk.language"] == "python"
    assert resource.scope_spans[0].scope.name == "farthing"


async def test_an_unsampled_request_is_not_told(collector: Any, facts_of: FactsOf, attempts: Attempts) -> None:
    async with telemetry_to(collector.url) as telemetry:
        telemetry.record(facts_of(sampled=False, chat_attempts=attempts[1:]))
    assert collector.bodies == []
    assert telemetry.dropped == 0


async def test_an_unsampled_request_that_failed_is_told_and_says_why(collector: Any, facts_of: FactsOf) -> None:
    async with telemetry_to(collector.url, {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}) as telemetry:
        telemetry.record(facts_of(sampled=False))
    server = collector.requests[0].resource_spans[0].scope_spans[0].spans[0]
    assert _attribute(server, "farthing.kept_for").string_value == "error"


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
async def test_who_wants_no_trace_gets_none(collector: Any, facts_of: FactsOf, sampler: str) -> None:
    async with telemetry_to(collector.url, {"OTEL_TRACES_SAMPLER": sampler}) as telemetry:
        telemetry.record(facts_of(sampled=False))
    assert collector.bodies == []


@pytest.mark.parametrize(
    ("configured", "switch", "captures"),
    [
        (False, "", False),
        (True, "", True),
        (False, "SPAN_ONLY", True),
        (False, "span_and_event", True),
        (False, "true", True),
        (True, "NO_CONTENT", False),
        (True, "false", False),
        (False, "EVENT_ONLY", False),
        (False, "perhaps", False),
    ],
)
async def test_content_is_captured_where_the_config_or_the_standard_switch_asks(
    dead_endpoint: str, configured: bool, switch: str, captures: bool
) -> None:
    environ = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": switch}
    async with telemetry_to(dead_endpoint, environ, capture_content=configured) as telemetry:
        assert telemetry.capture_content is captures


async def test_flush_waits_until_all_has_arrived(collector: Any, facts_of: FactsOf) -> None:
    async with telemetry_to(collector.url, {"OTEL_BSP_SCHEDULE_DELAY": "600000"}) as telemetry:
        for _ in range(300):
            telemetry.record(facts_of())
        assert await telemetry.flush()
        assert len(collector.span_names) == 300 * SPANS_A_CALL
        assert max(len(request.resource_spans[0].scope_spans[0].spans) for request in collector.requests) == 512


def test_flush_does_not_leave_the_last_and_smaller_batch_behind(collector: Any, facts_of: FactsOf) -> None:
    settings = CollectorSettings(url=collector.url, headers={}, timeout_s=5, compression="none")
    encoder = SpanEncoder({}, scope_name="farthing", scope_version="")
    batch = BatchSettings(batch_spans=2 * SPANS_A_CALL, delay_s=600)
    exporter = SpanExporter(Collector(settings, user_agent="x"), encoder, batch, capture_content=False)
    for _ in range(3):
        exporter.record(facts_of())
    assert exporter.flush(5)
    assert len(collector.span_names) == 3 * SPANS_A_CALL
    exporter.close(1)


async def test_a_full_batch_leaves_without_waiting_for_the_schedule(collector: Any, facts_of: FactsOf) -> None:
    environ = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    async with telemetry_to(collector.url, environ) as telemetry:
        telemetry.record(facts_of())
        telemetry.record(facts_of())
        assert await asyncio.to_thread(collector.took.wait, 10)


async def test_a_busy_collector_is_asked_again(collector: Any, facts_of: FactsOf) -> None:
    collector.statuses = [503, 503]
    async with telemetry_to(collector.url) as telemetry:
        telemetry.record(facts_of())
        assert await telemetry.flush()
    assert len(collector.bodies) == 3
    assert telemetry.dropped == 0


async def test_between_tries_there_is_a_pause_and_closing_ends_it(collector: Any, facts_of: FactsOf) -> None:
    collector.statuses, collector.retry_after = [503] * 10, "60"
    environ = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "120"}
    async with telemetry_to(collector.url, environ) as telemetry:
        telemetry.record(facts_of())
        assert await asyncio.to_thread(collector.took.wait, 10)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 30
    assert len(collector.bodies) == 1
    assert telemetry.dropped == SPANS_A_CALL


async def test_a_refusal_is_not_repeated_and_costs_a_counter(collector: Any, facts_of: FactsOf) -> None:
    collector.statuses = [400]
    async with telemetry_to(collector.url) as telemetry:
        telemetry.record(facts_of())
        await telemetry.flush()
        assert telemetry.dropped == SPANS_A_CALL
        telemetry.record(facts_of())
    assert telemetry.dropped == SPANS_A_CALL
    assert len(collector.bodies) == 2


async def test_a_dead_collector_costs_drops_and_one_line(
    dead_endpoint: str, facts_of: FactsOf, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.2", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=top-secret"}
    with caplog.at_level(logging.INFO):
        began_s = time.monotonic()
        async with telemetry_to(dead_endpoint, environ) as telemetry:
            for _ in range(3):
                telemetry.record(facts_of())
                await telemetry.flush()
        took_s = time.monotonic() - began_s
    assert telemetry.dropped == 3 * SPANS_A_CALL
    assert took_s < CLOSE_S
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("telemetry")]
    assert line == "4 spans dropped since the start; 127.0.0.1 did not take them: ConnectionError"
    assert "top-secret" not in caplog.text


async def test_a_collector_that_hangs_fills_the_queue_and_nothing_else(silent_endpoint: str, facts_of: FactsOf) -> None:
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    began_s = time.monotonic()
    async with telemetry_to(silent_endpoint, environ) as telemetry:
        for _ in range(10):
            telemetry.record(facts_of())
        assert telemetry.dropped == 8 * SPANS_A_CALL, "nobody waited until it took something"
    assert telemetry.dropped == 10 * SPANS_A_CALL
    assert time.monotonic() - began_s < CLOSE_S


def test_closing_does_not_wait_for_a_request_that_hangs(
    silent_server: socket.socket, silent_endpoint: str, facts_of: FactsOf, caplog: pytest.LogCaptureFixture
) -> None:
    settings = CollectorSettings(url=silent_endpoint, headers={}, timeout_s=3, compression="none")
    encoder = SpanEncoder({}, scope_name="farthing", scope_version="")
    exporter = SpanExporter(
        Collector(settings, user_agent="x"), encoder, BatchSettings(batch_spans=1), capture_content=False
    )
    exporter.record(facts_of())
    connection, _ = silent_server.accept()
    exporter.close(0.1)
    assert exporter._thread.is_alive(), "the request hangs on"
    assert "given up" in caplog.text
    exporter._thread.join(30)
    assert not exporter._thread.is_alive()
    connection.close()
    assert exporter.dropped == SPANS_A_CALL


async def test_what_comes_after_closing_is_dropped(collector: Any, facts_of: FactsOf) -> None:
    async with telemetry_to(collector.url) as telemetry:
        pass
    telemetry.record(facts_of())
    assert telemetry.dropped == SPANS_A_CALL


async def test_one_bad_request_loses_its_own_spans_only(collector: Any, facts_of: FactsOf) -> None:
    async with telemetry_to(collector.url) as telemetry:
        telemetry.record(facts_of(trace_id="not hex"))
        telemetry.record(facts_of(chat=None))
    assert collector.span_names == ["POST /generate"]
    assert telemetry.dropped == SPANS_A_CALL


@pytest.mark.parametrize("capture", [True, False])
async def test_content_is_captured_only_when_asked_and_cut(collector: Any, facts_of: FactsOf, capture: bool) -> None:
    text = "private words " * 10_000
    async with telemetry_to(collector.url, capture_content=capture) as telemetry:
        assert telemetry.capture_content is capture
        telemetry.record(facts_of(chat_input_messages=text, chat_output_messages="short private words"))
    [body] = collector.bodies
    assert (b"private words" in body) is capture
    if capture:
        values = {
            pair.key: pair.value.string_value
            for pair in collector.requests[0].resource_spans[0].scope_spans[0].spans[1].attributes
        }
        assert values["gen_ai.input.messages"] == text[:MAX_CONTENT_CHARS]
        assert values["gen_ai.output.messages"] == "short private words"


def test_captured_text_counts_against_the_queue(silent_endpoint: str, facts_of: FactsOf) -> None:
    settings = CollectorSettings(url=silent_endpoint, headers={}, timeout_s=0.2, compression="none")
    encoder = SpanEncoder({}, scope_name="farthing", scope_version="")
    batch = BatchSettings(queue_spans=50)
    exporter = SpanExporter(Collector(settings, user_agent="x"), encoder, batch, capture_content=True)
    for _ in range(3):
        exporter.record(facts_of(chat_input_messages="x" * MAX_CONTENT_CHARS))
    assert exporter.dropped == 2 * SPANS_A_CALL
    exporter.close(1)


async def test_facts_are_not_changed_by_being_told(collector: Any, facts_of: FactsOf) -> None:
    facts = facts_of()
    before = msgspec.to_builtins(facts)
    async with telemetry_to(collector.url) as telemetry:
        telemetry.record(facts)
    assert msgspec.to_builtins(facts) == before
