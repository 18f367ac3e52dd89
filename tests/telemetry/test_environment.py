"""The standard variables, read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from telemetry.context import ParentContext
from telemetry.environment import batch_settings, collector_settings, export_interval_s, resource, sampling

SAMPLED = ParentContext(trace_id="1" * 32, span_id="2" * 16, sampled=True)
UNSAMPLED = ParentContext(trace_id="1" * 32, span_id="2" * 16, sampled=False)


@pytest.mark.parametrize(
    ("endpoint", "environ", "url"),
    [
        ("", {}, None),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ("http://a:4318", {}, "http://a:4318/v1/traces"),
        ("http://a:4318/otlp/", {}, "http://a:4318/otlp/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://b"}, "https://b/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/own"}, "https://c/own"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, "http://c"),
        ("http://a", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, "http://a/v1/traces"),
        ("http://a", {"OTEL_TRACES_EXPORTER": "otlp"}, "http://a/v1/traces"),
        ("http://a", {"OTEL_TRACES_EXPORTER": "none"}, None),
        ("http://a", {"OTEL_SDK_DISABLED": "TRUE"}, None),
        ("http://a", {"OTEL_SDK_DISABLED": "false"}, "http://a/v1/traces"),
    ],
)
def test_where_spans_are_sent(endpoint: str, environ: dict[str, str], url: str | None) -> None:
    settings = collector_settings(endpoint, environ)
    assert (settings and settings.url) == url


def test_metrics_have_a_path_and_variables_of_their_own() -> None:
    environ = {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "b=2"}
    settings = collector_settings("http://a", environ, signal="metrics")
    assert settings is not None
    assert (settings.url, settings.headers) == ("http://a/v1/metrics", {"b": "2"})
    assert collector_settings("http://a", {"OTEL_METRICS_EXPORTER": "none"}, signal="metrics") is None


@pytest.mark.parametrize(("text", "interval_s"), [("", 60.0), ("15000", 15.0), ("0", 0.01), ("soon", 60.0)])
def test_metrics_are_told_every_so_often(text: str, interval_s: float) -> None:
    assert export_interval_s({"OTEL_METRIC_EXPORT_INTERVAL": text}) == interval_s


def test_metrics_are_cumulative_whatever_is_preferred(caplog: pytest.LogCaptureFixture) -> None:
    export_interval_s({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"})
    assert "delta" in caplog.text


def test_a_variable_for_traces_wins_over_the_general_one() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "4",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate",
    }
    settings = collector_settings("", environ)
    assert settings is not None
    assert (settings.timeout_s, settings.headers, settings.ca_file) == (4.0, {"b": "2"}, "/ca.pem")
    assert settings.compression == "deflate"


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "zstd"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "soon"),
        ({"OTEL_TRACES_EXPORTER": "otlp,zipkin"}, "zipkin"),
    ],
)
def test_what_cannot_be_done_is_warned_about_and_spans_still_go(
    environ: dict[str, str], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = collector_settings("http://a", environ)
    assert settings is not None
    assert (settings.timeout_s, settings.compression) == (10.0, "none")
    assert warning in caplog.text


def test_an_endpoint_that_is_no_url_is_warned_about_and_not_used(caplog: pytest.LogCaptureFixture) -> None:
    assert collector_settings("collector:4318", {}) is None
    assert "http" in caplog.text


def test_a_timeout_meant_as_milliseconds_does_not_hold_up_the_exit() -> None:
    settings = collector_settings("http://a", {"OTEL_EXPORTER_OTLP_TIMEOUT": "10000"})
    assert settings is not None
    assert settings.timeout_s == 60


@pytest.mark.parametrize(
    ("environ", "read"),
    [
        ({}, (5.0, 512, 16_384)),
        ({"OTEL_BSP_SCHEDULE_DELAY": "250", "OTEL_BSP_MAX_QUEUE_SIZE": "100"}, (0.25, 100, 100)),
        ({"OTEL_BSP_SCHEDULE_DELAY": "0"}, (0.01, 512, 16_384)),
        ({"OTEL_BSP_SCHEDULE_DELAY": "1e300"}, (3600.0, 512, 16_384)),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "-1"}, (5.0, 512, 16_384)),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0"}, (5.0, 1, 16_384)),
    ],
)
def test_how_spans_wait(environ: dict[str, str], read: tuple[float, int, int]) -> None:
    batch = batch_settings(environ)
    assert (batch.delay_s, batch.batch_spans, batch.queue_spans) == read


def test_resource_attributes_have_their_order_of_precedence(caplog: pytest.LogCaptureFixture) -> None:
    assert resource({}, service_version="1").attributes["service.name"] == "farthing"
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a, k = v%2C ,bad,service.version=9"}
    told = resource(environ, service_version="1").attributes
    assert (told["service.name"], told["k"], told["service.version"]) == ("a", "v,", "9")
    assert "without a value" in caplog.text
    told = resource({**environ, "OTEL_SERVICE_NAME": "b"}, service_version="1").attributes
    assert told["service.name"] == "b"


@pytest.mark.parametrize(
    ("name", "root", "under_sampled", "under_unsampled"),
    [
        ("", True, True, False),
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("ParentBased_Always_Off", False, True, False),
        ("no_such", True, True, False),
    ],
)
def test_samplers_by_name(name: str, root: bool, under_sampled: bool, under_unsampled: bool) -> None:
    samples = sampling({"OTEL_TRACES_SAMPLER": name})
    assert [samples(parent, "1" * 32) for parent in (None, SAMPLED, UNSAMPLED)] == [
        root,
        under_sampled,
        under_unsampled,
    ]


@given(st.integers(1, 2**128 - 1), st.floats(0, 1))
def test_a_ratio_chooses_the_traces_that_the_sdk_chooses(trace: int, ratio: float) -> None:
    samples = sampling({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": repr(ratio)})
    theirs = TraceIdRatioBased(ratio).should_sample(None, trace, "name").decision.is_sampled()
    assert samples(UNSAMPLED, f"{trace:032x}") is theirs


@pytest.mark.parametrize("argument", ["", "most", "7", "-1", "nan"])
def test_a_ratio_that_cannot_be_read_is_all_of_them(argument: str) -> None:
    samples = sampling({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument})
    assert samples(None, "f" * 32)
    assert not samples(UNSAMPLED, "f" * 32)


def test_whoever_names_other_exporters_alone_gets_none_of_ours() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "console"}
    assert collector_settings("", environ) is None
    assert collector_settings("", {**environ, "OTEL_TRACES_EXPORTER": "console, otlp"}) is not None
