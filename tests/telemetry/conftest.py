"""What the telemetry tests are told, and whom they tell."""

import socket
from collections.abc import Callable, Iterator

import msgspec
import pytest

from telemetry import AttemptFacts, ChatFacts, RequestFacts
from tests.collector import ScriptedCollector

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
    held_nanousd=900_000,
    charged_nanousd=0,
    charged_basis="priced_usage",
    price_version="book-7",
    queued_s=0.0125,
    breaker_state="closed",
    breaker_open_count=2,
    ceilings=("month global", "day key:k1"),
    error_code="rate_limit_error",
    tries_next=True,
    retry_after_s=1.5,
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
    held_nanousd=500_000,
    charged_nanousd=123_000,
    charged_basis="priced_usage",
    price_version="book-7",
    breaker_state="half_open",
    breaker_open_count=1,
    endpoint="v1/responses",
    dropped_params=("seed",),
    hints=("drop seed",),
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
    events=(("farthing.admit", BEGAN_NS + 1_500_000, {"farthing.duration_ms": 0.5, "farthing.admission": "lead"}),),
    attempts=(FAILED, ANSWERED),
    attribution={"key": "k1", "team": "", "user": "u1", "workflow": "summarise", "run": "r1"},
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
    generation_id="gen_1",
    public_url="https://llm.example.com",
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
