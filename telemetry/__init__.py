"""Spans, metrics and logs, made from plain facts. Imports none of the other packages.

A request is finished before telemetry hears of it: `facts` come in, `spans` are made of them, `wire` makes those bytes,
and `export` hands them to a `collector` from a thread of its own. `environment` reads the standard variables, `context`
the W3C headers; `logs` dresses the standard logging module.
"""

from telemetry.content import messages_json
from telemetry.context import ParentContext, format_traceparent, new_span_id, new_trace_id, parse_traceparent
from telemetry.export import Telemetry, TelemetrySettings, open_telemetry
from telemetry.facts import AttemptFacts, ChatFacts, RequestFacts
from telemetry.logs import Secrets, log_context, setup_logging

__all__ = [
    "AttemptFacts",
    "ChatFacts",
    "ParentContext",
    "RequestFacts",
    "Secrets",
    "Telemetry",
    "TelemetrySettings",
    "format_traceparent",
    "log_context",
    "messages_json",
    "new_span_id",
    "new_trace_id",
    "open_telemetry",
    "parse_traceparent",
    "setup_logging",
]
