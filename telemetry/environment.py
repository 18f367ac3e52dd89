"""What the standard `OTEL_*` variables ask for. A value that cannot be read is warned about and its default taken.

Source: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration"; spans in
seconds where the Python SDK reads seconds (`OTEL_EXPORTER_OTLP_TIMEOUT`).
"""

import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER, OTEL_TRACES_EXPORTER
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_EXPORTER_OTLP_CERTIFICATE,
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE,
    OTEL_EXPORTER_OTLP_CLIENT_KEY,
    OTEL_EXPORTER_OTLP_COMPRESSION,
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_METRIC_EXPORT_INTERVAL,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SDK_DISABLED,
    OTEL_SERVICE_NAME,
    OTEL_TRACES_SAMPLER,
    OTEL_TRACES_SAMPLER_ARG,
)
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.util.re import parse_env_headers

from telemetry.sampling import SAMPLERS, SILENT_SAMPLERS, Sampling

log = logging.getLogger(__name__)

Environ = Mapping[str, str]
Compression = Literal["none", "gzip", "deflate"]
Signal = Literal["traces", "metrics"]

# {signal: (its path below a base, the variable that names its exporters)}.
SIGNALS: Final[dict[Signal, tuple[str, str]]] = {
    "traces": ("v1/traces", OTEL_TRACES_EXPORTER),
    "metrics": ("v1/metrics", OTEL_METRICS_EXPORTER),
}
DEFAULT_SERVICE_NAME: Final = "farthing"
DEFAULT_SAMPLER: Final = "parentbased_always_on"
# Of the GenAI conventions; the SDK's package does not know it. `true` and `false` are its previous values.
CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURING: Final = frozenset({"span_only", "span_and_event", "true"})
_NOT_CAPTURING: Final = frozenset({"no_content", "event_only", "false"})
DEFAULT_TIMEOUT_S: Final = 10.0
# A process that ends waits for its last request; other SDKs read this variable in milliseconds.
MAX_TIMEOUT_S: Final = 60.0
DEFAULT_DELAY_MS: Final = 5000.0
DEFAULT_INTERVAL_MS: Final = 60_000.0
# Without a lower bound the thread would spin; without an upper one the platform's clock overflows.
MIN_DELAY_MS: Final = 10.0
MAX_DELAY_MS: Final = 3_600_000.0
DEFAULT_BATCH_SPANS: Final = 512
# The SDK's 2,048 is a third of a second of one busy worker's spans; a collector's pause lasts longer than that.
DEFAULT_QUEUE_SPANS: Final = 16_384


class CollectorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a signal is sent, and how. A file that is empty is not set. timeout_s: for one request and its repeats."""

    url: str
    headers: dict[str, str]
    timeout_s: float
    compression: Compression
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How spans wait: at most delay_s, at most batch_spans a request, never more than queue_spans."""

    delay_s: float = DEFAULT_DELAY_MS / 1000
    batch_spans: int = DEFAULT_BATCH_SPANS
    queue_spans: int = DEFAULT_QUEUE_SPANS


def collector_settings(otlp_endpoint: str, environ: Environ, *, signal: Signal = "traces") -> CollectorSettings | None:
    """Where to send a signal, or None where nobody asked for it or somebody switched it off."""
    own = partial(_own, environ, signal)
    url = _url(otlp_endpoint, environ, signal)
    if not url or not _is_switched_on(environ, signal):
        return None
    if urlsplit(url).scheme not in {"http", "https"}:
        log.warning("the OTLP endpoint is no http:// or https:// URL: no %s are exported", signal)
        return None
    protocol = own(OTEL_EXPORTER_OTLP_PROTOCOL)
    if protocol not in {"", "http/protobuf"}:
        log.warning("OTLP protocol %r is not spoken here; http/protobuf is used", protocol)
    compression = own(OTEL_EXPORTER_OTLP_COMPRESSION).lower() or "none"
    if compression not in {"none", "gzip", "deflate"}:
        log.warning("OTLP compression %r is not known; none is used", compression)
    timeout_s = _number(environ, _own_name(environ, signal, OTEL_EXPORTER_OTLP_TIMEOUT), 0) or DEFAULT_TIMEOUT_S
    return CollectorSettings(
        url=url,
        headers=dict(parse_env_headers(own(OTEL_EXPORTER_OTLP_HEADERS), liberal=True)),
        timeout_s=min(timeout_s, MAX_TIMEOUT_S),
        compression="gzip" if compression == "gzip" else "deflate" if compression == "deflate" else "none",
        ca_file=own(OTEL_EXPORTER_OTLP_CERTIFICATE),
        client_cert_file=own(OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE),
        client_key_file=own(OTEL_EXPORTER_OTLP_CLIENT_KEY),
    )


def export_interval_s(environ: Environ) -> float:
    """How often metrics are sent: `OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds."""
    temporality = environ.get(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, "").strip().lower()
    if temporality not in {"", "cumulative"}:
        log.warning("metrics of temporality %r are not made here; they are cumulative", temporality)
    interval_ms = _number(environ, OTEL_METRIC_EXPORT_INTERVAL, DEFAULT_INTERVAL_MS)
    return min(max(interval_ms, MIN_DELAY_MS), MAX_DELAY_MS) / 1000


def batch_settings(environ: Environ) -> BatchSettings:
    """The `OTEL_BSP_*` variables. A batch is never larger than the queue."""
    queue_spans = int(_number(environ, OTEL_BSP_MAX_QUEUE_SIZE, DEFAULT_QUEUE_SPANS))
    batch_spans = int(_number(environ, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, DEFAULT_BATCH_SPANS))
    delay_ms = _number(environ, OTEL_BSP_SCHEDULE_DELAY, DEFAULT_DELAY_MS)
    return BatchSettings(
        delay_s=min(max(delay_ms, MIN_DELAY_MS), MAX_DELAY_MS) / 1000,
        batch_spans=max(min(batch_spans, queue_spans), 1),
        queue_spans=max(queue_spans, 1),
    )


def sampling(environ: Environ) -> Sampling:
    """Which traces are recorded: `OTEL_TRACES_SAMPLER` and its argument, a share from 0 to 1."""
    name = environ.get(OTEL_TRACES_SAMPLER, "").strip().lower() or DEFAULT_SAMPLER
    if name not in SAMPLERS:
        log.warning("%s=%r is not known; %s is used", OTEL_TRACES_SAMPLER, name, DEFAULT_SAMPLER)
        name = DEFAULT_SAMPLER
    ratio = _number(environ, OTEL_TRACES_SAMPLER_ARG, 1.0) if name.endswith("ratio") else 1.0
    if ratio > 1:
        log.warning("%s is more than 1: every trace is recorded", OTEL_TRACES_SAMPLER_ARG)
    return SAMPLERS[name](min(ratio, 1.0))


def is_silenced(environ: Environ) -> bool:
    """Whether `OTEL_TRACES_SAMPLER` says that no trace is wanted but a caller's own."""
    return environ.get(OTEL_TRACES_SAMPLER, "").strip().lower() in SILENT_SAMPLERS


def captures_content(environ: Environ, configured: bool) -> bool:
    """Whether prompts and answers are told: the config or the standard switch asks for it, and the latter has not
    forbidden it. Here they are told on spans or nowhere.
    """
    asked = environ.get(CAPTURE_CONTENT, "").strip().lower()
    if asked == "event_only":
        log.warning("%s: content is told on spans only, so none is", CAPTURE_CONTENT)
    if asked in _NOT_CAPTURING:
        return False
    if asked and asked not in _CAPTURING:
        log.warning("%s=%r is not known", CAPTURE_CONTENT, asked)
    return configured or asked in _CAPTURING


def resource(environ: Environ, *, service_version: str) -> Resource:
    """Who sends the spans: the SDK's own attributes, ours, and over them what the environment says."""
    told: dict[str, str] = {SERVICE_NAME: DEFAULT_SERVICE_NAME, SERVICE_VERSION: service_version}
    for item in environ.get(OTEL_RESOURCE_ATTRIBUTES, "").split(","):
        key, equals, value = item.partition("=")
        if equals and key.strip():
            told[key.strip()] = unquote(value.strip())
        elif item.strip():
            log.warning("%s has an entry without a value; it is left out", OTEL_RESOURCE_ATTRIBUTES)
    if name := environ.get(OTEL_SERVICE_NAME):
        told[SERVICE_NAME] = name
    return Resource.create(told)


def _url(otlp_endpoint: str, environ: Environ, signal: Signal) -> str:
    """A base has the signal's path appended; the variable for this signal alone is taken as it is."""
    name = _name_for(signal, OTEL_EXPORTER_OTLP_ENDPOINT)
    if not otlp_endpoint and (url := environ.get(name, "").strip()):
        return url
    base = otlp_endpoint or environ.get(OTEL_EXPORTER_OTLP_ENDPOINT, "").strip()
    return f"{base.rstrip('/')}/{SIGNALS[signal][0]}" if base else ""


def _is_switched_on(environ: Environ, signal: Signal) -> bool:
    if environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        return False
    variable = SIGNALS[signal][1]
    exporters = {name.strip() for name in environ.get(variable, "").split(",")} - {""}
    if exporters - {"otlp", "none"}:
        log.warning("%s names exporters that are not known here: %s", variable, ", ".join(sorted(exporters)))
    return not exporters or "otlp" in exporters


def _own(environ: Environ, signal: Signal, general: str) -> str:
    """The variable for this signal, else the one for all signals."""
    return environ.get(_own_name(environ, signal, general), "").strip()


def _own_name(environ: Environ, signal: Signal, general: str) -> str:
    own = _name_for(signal, general)
    return own if environ.get(own) else general


def _name_for(signal: Signal, general: str) -> str:
    return general.replace("OTEL_EXPORTER_OTLP_", f"OTEL_EXPORTER_OTLP_{signal.upper()}_")


def _number(environ: Environ, name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        log.warning("%s=%r is no number of zero or more; %g is used", name, text, default)
        return default
    return number
