"""Readings as an OTLP ExportMetricsServiceRequest: what one process has counted since it began, as its own instance.

Made with OpenTelemetry's own message classes: once a minute they cost nobody anything, unlike spans (`telemetry.wire`).
Source: opentelemetry-proto, metrics/v1/metrics.proto.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from telemetry.metrics.instruments import Instrument
from telemetry.metrics.tally import Reading

CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
# Labels that are whole numbers in the conventions.
_WHOLE: Final = frozenset({"http.response.status_code"})


def export_request(
    readings: Iterable[Reading],
    resource: Mapping[str, object],
    *,
    scope: tuple[str, str],
    began_at_ns: int,
    now_ns: int,
) -> bytes:
    """The request that tells these readings. scope: its name and version; began_at_ns: when counting began."""
    by_name: dict[str, list[Reading]] = {}
    for reading in readings:
        by_name.setdefault(reading.instrument.name, []).append(reading)
    metrics = [_metric(found[0].instrument, found, began_at_ns, now_ns) for found in by_name.values()]
    scoped = ScopeMetrics(scope=InstrumentationScope(name=scope[0], version=scope[1]), metrics=metrics)
    attributes = [KeyValue(key=key, value=_any(value)) for key, value in resource.items()]
    told = ResourceMetrics(resource=Resource(attributes=attributes), scope_metrics=[scoped])
    request: bytes = ExportMetricsServiceRequest(resource_metrics=[told]).SerializeToString()
    return request


def _metric(instrument: Instrument, readings: list[Reading], began_at_ns: int, now_ns: int) -> Metric:
    metric = Metric(name=instrument.name, description=instrument.help, unit=instrument.unit)
    if instrument.kind == "histogram":
        metric.histogram.aggregation_temporality = CUMULATIVE
        metric.histogram.data_points.extend(_spread(reading, began_at_ns, now_ns) for reading in readings)
        return metric
    points = metric.gauge.data_points
    if instrument.kind == "counter":
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = CUMULATIVE, True
        points = metric.sum.data_points
    points.extend(
        NumberDataPoint(
            attributes=_attributes(reading),
            start_time_unix_nano=began_at_ns if instrument.kind == "counter" else 0,
            time_unix_nano=now_ns,
            as_double=reading.numbers[0],
        )
        for reading in readings
    )
    return metric


def _spread(reading: Reading, began_at_ns: int, now_ns: int) -> HistogramDataPoint:
    *buckets, total = reading.numbers
    counts = [round(count) for count in buckets]
    return HistogramDataPoint(
        attributes=_attributes(reading),
        start_time_unix_nano=began_at_ns,
        time_unix_nano=now_ns,
        count=sum(counts),
        sum=total,
        bucket_counts=counts,
        explicit_bounds=reading.instrument.bounds,
    )


def _attributes(reading: Reading) -> list[KeyValue]:
    """An empty label is one that does not apply, such as the error type of what went well."""
    pairs = zip(reading.instrument.labels, reading.labels, strict=True)
    return [KeyValue(key=key, value=_any(int(text) if key in _WHOLE else text)) for key, text in pairs if text]


def _any(value: object) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(string_value=str(value))
