"""An OTLP collector for tests: a scripted one, and the trees of the spans that it took."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}


class ScriptedCollector:
    """An OTLP collector that answers with the statuses it was given, then with 200, and keeps what it took.

    retry_after: what it says of that beside a 503.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.retry_after = "0"
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.took = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The base that `otlp_endpoint` takes."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        """Everything that came, parsed."""
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self) -> list[Span]:
        """All spans that came."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def span_names(self) -> list[str]:
        """The names of all spans that came."""
        return [span.name for span in self.spans]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler_of(collector: ScriptedCollector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # One request a connection, so that no handler outlives its test.
        protocol_version = "HTTP/1.0"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.headers.append({name.lower(): value for name, value in self.headers.items()} | {"": self.path})
            is_gzip = self.headers.get("content-encoding") == "gzip"
            collector.bodies.append(gzip.decompress(body) if is_gzip else body)
            status = collector.statuses.pop(0) if collector.statuses else 200
            self.send_response(status)
            if status == 503:
                self.send_header("retry-after", collector.retry_after)
            self.send_header("content-length", "0")
            self.end_headers()
            collector.took.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  The name is inherited.
            """Keep quiet."""

    return Handler


class Node:
    """One span with those beneath it, in the order in which they began. events: {name: attributes}, all told."""

    def __init__(self, span: Span, spans: list[Span]) -> None:
        self.span = span
        self.id = span.span_id.hex()
        self.kind = KINDS[span.kind]
        self.attributes = _attributes(span.attributes)
        self.events = [(event.name, _attributes(event.attributes)) for event in span.events]
        self.links = [(link.span_id.hex(), _attributes(link.attributes)) for link in span.links]
        self.children = [
            Node(child, spans)
            for child in sorted(spans, key=lambda it: it.start_time_unix_nano)
            if child.parent_span_id == span.span_id
        ]

    @property
    def shape(self) -> tuple[Any, ...]:
        """(kind, name, how it ended, *the same of each beneath it)."""
        ended = self.attributes.get("error.type", self.attributes.get("farthing.error.code", "ok"))
        return (self.kind, self.span.name, ended, *(child.shape for child in self.children))

    @property
    def all(self) -> list["Node"]:
        """It and all beneath it."""
        return [self, *(node for child in self.children for node in child.all)]


def tree_of(spans: list[Span], trace_id: str) -> Node | None:
    """The tree of this trace. None: its SERVER span has not come yet."""
    ours = [span for span in spans if span.trace_id.hex() == trace_id]
    roots = [span for span in ours if span.kind == Span.SPAN_KIND_SERVER]
    assert len(roots) <= 1
    return Node(roots[0], ours) if roots else None


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return [_value(it) for it in value.array_value.values] if kind == "array_value" else getattr(value, str(kind))
