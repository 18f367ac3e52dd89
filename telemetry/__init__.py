"""Spans, metrics and logs, made from plain facts. Imports none of the other packages."""

from telemetry.context import ParentContext, format_traceparent, new_span_id, new_trace_id, parse_traceparent
from telemetry.export import Telemetry, TelemetrySettings, open_telemetry
from telemetry.facts import AttemptFacts, ChatFacts, RequestFacts

__all__ = [
    "AttemptFacts",
    "ChatFacts",
    "ParentContext",
    "RequestFacts",
    "Telemetry",
    "TelemetrySettings",
    "format_traceparent",
    "new_span_id",
    "new_trace_id",
    "open_telemetry",
    "parse_traceparent",
]
