"""What the telemetry tests are told, and whom they tell."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry import AttemptFacts, ChatFacts, RequestFacts

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
BEGAN_NS = 1_795_000_000_000_000_000

FAILED = AttemptFacts(
    span_id="a" * 16,
    number=1,
    provider="anthropic",
    model="claude-sonnet-4-5",
    server_address="api.anthropic.com",
    server_port=443,
    started_at_ns=BEGAN_NS + 2_000_000,
    ended_at_ns=BEGAN_NS + 82_000_000,
    first_output_at_ns=None,
    outcome="rate_limited",
    status=429,
)
ANSWERED = AttemptFacts(
    span_id="b" * 16,
    number=2,
    provider="gemini",
    model="gemini-2.5-pro",
    server_address="generativelanguage.googleapis.com",
    server_port=443,
    started_at_ns=BEGAN_NS + 83_000_000,
    ended_at_ns=BEGAN_NS + 880_000_000,
    first_output_at_ns=BEGAN_NS + 333_000_000,
    outcome="ok",
    status=200,
    response_model="gemini-2.5-pro-002",
    finish_reason="stop",
    input_tokens=21,
    output_tokens=40,
)
CHAT = ChatFacts(
    generation_id="gen_1",
    span_id="c" * 16,
    route="chat",
    provider="gemini",
    model="gemini-2.5-pro",
    started_at_ns=BEGAN_NS + 1_000_000,
    ended_at_ns=BEGAN_NS + 881_000_000,
    outcome="ok",
    cache="miss",
    stream=True,
    cost_nanousd=123_000,
    cost_basis="priced_usage",
    input_tokens=21,
    output_tokens=40,
    cached_tokens=8,
    reasoning_tokens=16,
    finish_reason="stop",
    first_output_at_ns=BEGAN_NS + 333_000_000,
    dropped_params=("seed",),
    request={"max_tokens": 100, "temperature": 0, "n": 1},
    events=(("admitted", BEGAN_NS + 1_500_000, {"duration_ms": 0.5, "holds": 1}),),
    attempts=(FAILED, ANSWERED),
)
REQUEST = RequestFacts(
    trace_id=TRACE_ID,
    span_id="d" * 16,
    parent_span_id="e" * 16,
    sampled=True,
    tracestate="vendor=1",
    method="POST",
    route="/generate",
    path="/generate",
    status=200,
    started_at_ns=BEGAN_NS,
    ended_at_ns=BEGAN_NS + 882_000_000,
    server_address="127.0.0.1",
    server_port=4000,
    chat=CHAT,
)

# Facts of a call that failed over, with some fields changed: of the request by `x=`, of its chat by `chat_x=`.
FactsOf = Callable[..., RequestFacts]


@pytest.fixture
def facts_of() -> FactsOf:
    """Facts of a call whose first attempt failed and whose second answered."""

    def build(**changes: object) -> RequestFacts:
        of_chat = {name.removeprefix("chat_"): value for name, value in changes.items() if name.startswith("chat_")}
        of_request = {name: value for name, value in changes.items() if not name.startswith("chat_")}
        chat = msgspec.structs.replace(CHAT, **of_chat)
        return msgspec.structs.replace(REQUEST, **{"chat": chat, **of_request})

    return build


@pytest.fixture
def attempts() -> tuple[AttemptFacts, AttemptFacts]:
    """The failed attempt and the one that answered."""
    return FAILED, ANSWERED


class ScriptedCollector:
    """An OTLP collector that answers with the statuses it was given, then with 200, and keeps what it took."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
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
    def span_names(self) -> list[str]:
        """The names of all spans that came."""
        return [
            span.name
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

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
                self.send_header("retry-after", "0")
            self.send_header("content-length", "0")
            self.end_headers()
            collector.took.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  The name is inherited.
            """Keep quiet."""

    return Handler


@pytest.fixture
def collector() -> Iterator[ScriptedCollector]:
    """A collector that listens."""
    collector = ScriptedCollector()
    yield collector
    collector.close()


@pytest.fixture
def dead_endpoint() -> str:
    """An endpoint where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A listener that never answers; `accept` waits until somebody calls."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@pytest.fixture
def silent_endpoint(silent_server: socket.socket) -> str:
    """The silent server's base URL."""
    return f"http://127.0.0.1:{silent_server.getsockname()[1]}"
