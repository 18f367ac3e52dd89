"""Our encoder and OpenTelemetry's own make the same message of the same spans."""

import logging
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import SpanKind as OtelKind

from telemetry import AttemptFacts, ChatFacts, RequestFacts
from telemetry.spans import Span, SpanEvent, SpanKind, spans_of
from telemetry.wire import MAX_REMEMBERED, SpanEncoder

RESOURCE = {"service.name": "farthing", "service.version": "1.2.3", "n": 3, "ok": True, "all": ("a", "b")}
KINDS = {SpanKind.INTERNAL: OtelKind.INTERNAL, SpanKind.SERVER: OtelKind.SERVER, SpanKind.CLIENT: OtelKind.CLIENT}


def theirs(spans: list[Span]) -> ExportTraceServiceRequest:
    resource, scope = Resource(RESOURCE), InstrumentationScope("farthing", "1.2.3")
    return encode_spans([_readable(span, resource, scope) for span in spans])


def _readable(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    def context(span_id: str, *, is_remote: bool = False) -> SpanContext:
        state = TraceState.from_header([span.tracestate])
        return SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote, TraceFlags(1), state)

    linked = [Link(context(span.linked_span_id), span.link_attributes)] if span.linked_span_id else []
    return ReadableSpan(
        span.name,
        context(span.span_id),
        context(span.parent_span_id, is_remote=span.is_parent_remote) if span.parent_span_id else None,
        resource,
        span.attributes,
        [Event(event.name, event.attributes, event.at_ns) for event in span.events],
        linked,
        KINDS[span.kind],
        status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET),
        start_time=span.started_at_ns,
        end_time=span.ended_at_ns,
        instrumentation_scope=scope,
    )


def new_encoder() -> SpanEncoder:
    return SpanEncoder(RESOURCE, scope_name="farthing", scope_version="1.2.3")


def ours(spans: list[Span], encoder: SpanEncoder | None = None) -> ExportTraceServiceRequest:
    encoder = encoder or new_encoder()
    return ExportTraceServiceRequest.FromString(encoder.request([encoder.span(span) for span in spans]))


TEXT = st.text(max_size=20)
SPAN_IDS = st.integers(1, 2**64 - 1).map("{:016x}".format)
MOMENTS = st.integers(0, 2**63)
COUNTS = st.none() | st.integers(0, 2**70)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT
STATUSES = st.none() | st.sampled_from([200, 400, 429, 500, 503])
ATTEMPTS = st.builds(
    AttemptFacts,
    span_id=SPAN_IDS,
    number=st.integers(1, 300),
    provider=TEXT,
    model=TEXT,
    server_address=TEXT,
    server_port=st.integers(0, 65535),
    started_at_ns=MOMENTS,
    ended_at_ns=MOMENTS,
    first_output_at_ns=st.none() | MOMENTS,
    outcome=st.sampled_from(["ok", "aborted", "cut", "stalled", "upstream_error", ""]),
    status=STATUSES,
    response_model=TEXT,
    finish_reason=TEXT,
    hedges_span_id=st.just("") | SPAN_IDS,
)
CHATS = st.builds(
    ChatFacts,
    generation_id=TEXT,
    span_id=SPAN_IDS,
    route=TEXT,
    provider=st.sampled_from(["openai", "gemini", "own", ""]),
    model=TEXT,
    started_at_ns=MOMENTS,
    ended_at_ns=MOMENTS,
    outcome=st.sampled_from(["ok", "aborted", "cut", "upstream_failed"]),
    cache=st.sampled_from(["hit", "miss", "coalesced", "bypass"]),
    stream=st.booleans(),
    cost_nanousd=st.integers(0, 10**17),
    cost_basis=TEXT,
    saved_nanousd=st.integers(0, 10**17),
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cached_tokens=COUNTS,
    reasoning_tokens=COUNTS,
    cache_write_tokens=st.integers(0, 10**9),
    output_image_tokens=st.integers(0, 10**9),
    finish_reason=TEXT,
    first_output_at_ns=st.none() | MOMENTS,
    dropped_params=st.lists(TEXT, max_size=3).map(tuple),
    request=st.dictionaries(st.sampled_from(["max_tokens", "temperature", "seed", "n", "x"]), SCALARS, max_size=3),
    events=st.lists(st.tuples(TEXT, MOMENTS, st.dictionaries(TEXT.filter(bool), SCALARS, max_size=3)), max_size=3).map(
        tuple
    ),
    attempts=st.lists(ATTEMPTS, max_size=3).map(tuple),
    response_id=TEXT,
    input_messages=st.none() | TEXT,
    output_messages=st.none() | TEXT,
)
REQUESTS = st.builds(
    RequestFacts,
    trace_id=st.integers(1, 2**128 - 1).map("{:032x}".format),
    span_id=SPAN_IDS,
    parent_span_id=st.just("") | SPAN_IDS,
    sampled=st.just(True),
    tracestate=st.sampled_from(["", "a=1", "a=1,b@c=2"]),
    method=st.sampled_from(["GET", "POST", "BREW"]),
    route=TEXT,
    path=TEXT,
    status=st.sampled_from([0, 200, 404, 499, 500]),
    started_at_ns=MOMENTS,
    ended_at_ns=MOMENTS,
    server_address=TEXT,
    server_port=st.integers(0, 65535),
    error_code=st.sampled_from(["", "caller_gone", "upstream_failed"]),
    chat=st.none() | CHATS,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REQUESTS, max_size=3))
def test_both_encoders_agree(requests: list[RequestFacts]) -> None:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # Theirs logs each number beyond 64 bits.
    spans = [span for facts in requests for span in spans_of(facts)]
    if spans:
        encoder = new_encoder()
        assert ours(spans, encoder) == theirs(spans)
        assert ours(spans, encoder) == theirs(spans), "what is remembered is not what was learned"


def a_span(**attributes: object) -> Span:
    return Span(
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_span_id="",
        name="n",
        kind=SpanKind.SERVER,
        started_at_ns=1,
        ended_at_ns=2,
        own=attributes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2**31, 2**63 - 1, -1, -(2**63)])
def test_whole_numbers_of_every_length_survive(number: int) -> None:
    span = a_span(number=number)
    assert ours([span]) == theirs([span])


def test_equal_values_of_different_types_stay_apart() -> None:
    spans = [a_span(a=value) for value in (True, 1, 1.0, "1", 1, True)]
    assert ours(spans) == theirs(spans)


def test_floats_that_are_no_numbers_survive() -> None:
    values = ours([a_span(a=math.inf, b=math.nan)]).resource_spans[0].scope_spans[0].spans[0].attributes
    assert values[0].value.double_value == math.inf
    assert math.isnan(values[1].value.double_value)


def test_half_a_surrogate_pair_does_not_spoil_the_batch() -> None:
    spans = ours([a_span(text="a\ud800b"), a_span(text="c")]).resource_spans[0].scope_spans[0].spans
    assert [span.attributes[0].value.string_value for span in spans] == ["a?b", "c"]


def test_a_number_beyond_64_bits_is_left_out_and_its_neighbours_stay() -> None:
    pairs = ours([a_span(a=1, b=2**63, c=3)]).resource_spans[0].scope_spans[0].spans[0].attributes
    assert [pair.key for pair in pairs] == ["a", "c"]


def test_what_it_remembers_is_bounded_and_stays_right() -> None:
    encoder = new_encoder()
    for number in range(MAX_REMEMBERED * 2 + 10):
        encoder.span(a_span(key=str(number)))
    assert len(encoder._remembered) <= MAX_REMEMBERED
    span = a_span(key="last")
    assert ours([span], encoder) == theirs([span])


def test_events_and_links_are_encoded() -> None:
    span = Span(
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_span_id="3" * 16,
        name="n" * 300,
        kind=SpanKind.CLIENT,
        started_at_ns=1,
        ended_at_ns=2,
        own={},
        events=(SpanEvent("e", 5, {"ms": 0.5, "text": "x" * 20_000}),),
        linked_span_id="4" * 16,
        link_attributes={"farthing.link": "hedge_of"},
    )
    assert ours([span]) == theirs([span])
