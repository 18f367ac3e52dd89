"""How the service is doing, and what it can be asked."""

from typing import Any, Final

from service.http.operations.operation import Operation

LIVE_CALL: Final[dict[str, Any]] = {
    "id": "gen_01k7ud05n9dj911j8orhioarvv",
    "state": "ended",
    "created_at": "2026-11-21T14:00:00.000Z",
    "route": "chat",
    "deployment": "openai:gpt-4o-mini",
    "key": "06cq2f1q0c8m",
    "key_name": "batch jobs",
    "team": "research",
    "user": "u1",
    "workflow": "summarise",
    "stream": True,
    "cache": "miss",
    "attempts": 1,
    "outcome": "ok",
    "error_code": "",
    "cost_nanousd": 123_000,
    "cost_usd": "0.000123000",
    "saved_nanousd": 0,
    "prompt_tokens": 21,
    "completion_tokens": 40,
    "latency_ms": 812.4,
    "ttft_ms": 240.1,
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "origin": "",
}

STATE: Final = (
    Operation(method="get", path="/router/status", role="reader", summary="How every deployment is doing"),
    Operation(
        method="get",
        role="reader",
        path="/live",
        summary="The newest calls; as events, if asked for `text/event-stream`: each as it begins, has output and ends",
        example={"calls": [LIVE_CALL]},
        other_media_types=("text/event-stream",),
        errors={503: "overloaded, ledger_unavailable"},
    ),
    Operation(
        method="get",
        role="reader",
        path="/metrics",
        summary="Metrics in Prometheus' text form",
        media_type="text/plain",
    ),
    Operation(method="get", path="/health/live", role=None, summary="The process answers", example={"status": "live"}),
    Operation(
        method="get",
        role=None,
        path="/health/ready",
        summary="New work is welcome",
        example={"status": "ready"},
        errors={503: "draining or not ready"},
        has_plain_errors=True,
    ),
    Operation(
        method="get",
        path="/schema",
        summary="This document; as a page for browsers",
        media_type="application/vnd.oai.openapi+json",
        kind="object",
        other_media_types=("text/html",),
        role=None,
    ),
    Operation(
        method="get",
        path="/",
        role="reader",
        summary="The dashboard; a browser without a key is shown where to give one, with the status 401",
        media_type="text/html",
    ),
    Operation(
        method="get",
        path="/dashboard/{id}",
        path_example="/dashboard/app.js",
        role=None,
        summary="A file of the dashboard",
        media_type="text/javascript",
        other_media_types=("text/css", "text/html", "image/svg+xml"),
        errors={404: "not_found"},
    ),
)
