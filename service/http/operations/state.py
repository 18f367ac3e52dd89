"""How the service is doing, and what it can be asked."""

from typing import Final

from service.http.operations.operation import Operation

STATE: Final = (
    Operation(method="get", path="/router/status", role="reader", summary="How every deployment is doing"),
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
        role=None,
        summary="The dashboard; what it shows takes a key of the role reader, where keys are needed",
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
