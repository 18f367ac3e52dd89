"""What spans a finished request makes. Pure: facts in, spans out. Source: DESIGN §8; names.py for the names.

One SERVER span; under it one INTERNAL `chat` span, the only one with cost and tokens, so that sums do not double; under
that a CLIENT span per attempt. A hit called nobody: its one span is the SERVER span, and says what the chat span would.
Tokens are told where they were used: a hit and a follower of another caller's flight used none.
"""

from enum import IntEnum
from typing import Final

import msgspec

from telemetry import names
from telemetry.facts import AttemptFacts, ChatFacts, RequestFacts

Scalar = int | float | str | bool
Attributes = dict[str, Scalar | tuple[str, ...]]

# A caller that leaves is no failure of ours.
CALLER_GONE: Final = "caller_gone"
CANCELLED: Final = "cancelled"
_OTHER: Final = "_OTHER"
_INT64: Final = range(-(2**63), 2**63)
_NS_PER_S: Final = 1_000_000_000


class SpanKind(IntEnum):
    """OTLP's numbers."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened within a span."""

    name: str
    at_ns: int
    attributes: Attributes


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span. Ids are hex; an empty parent_span_id is none; linked_span_id names a span of the same trace."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: SpanKind
    started_at_ns: int
    ended_at_ns: int
    attributes: Attributes
    tracestate: str = ""
    is_parent_remote: bool = False
    is_error: bool = False
    events: tuple[SpanEvent, ...] = ()
    linked_span_id: str = ""
    link_attributes: Attributes = {}


def spans_of(facts: RequestFacts) -> list[Span]:
    """The spans of one request, parents first."""
    server = _server_span(facts)
    chat = facts.chat
    if chat is None:
        return [server]
    server.attributes[names.GENERATION_ID] = chat.generation_id
    chat_attributes = _chat_attributes(chat)
    events = tuple(SpanEvent(name, at_ns, dict(attributes)) for name, at_ns, attributes in chat.events)
    if chat.cache == "hit":
        server.attributes.update(chat_attributes)
        is_error = names.ERROR_TYPE in server.attributes
        return [msgspec.structs.replace(server, events=events, is_error=is_error)]
    return [server, _chat_span(facts, chat, chat_attributes, events), *_attempt_spans(facts, chat)]


def span_count(facts: RequestFacts) -> int:
    """How many spans `spans_of` makes of these facts."""
    chat = facts.chat
    return 1 if chat is None or chat.cache == "hit" else 2 + len(chat.attempts)


def _server_span(facts: RequestFacts) -> Span:
    method = facts.method if facts.method in names.HTTP_METHODS else _OTHER
    attributes: Attributes = {
        names.HTTP_REQUEST_METHOD: method,
        names.URL_SCHEME: facts.scheme,
        names.URL_PATH: facts.path,
    }
    if method == _OTHER:
        attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] = facts.method
    if facts.route:
        attributes[names.HTTP_ROUTE] = facts.route
    if facts.status:
        attributes[names.HTTP_RESPONSE_STATUS_CODE] = facts.status
    if facts.error_code:
        attributes[names.ERROR_CODE] = facts.error_code
    _add_server(attributes, facts.server_address, facts.server_port)
    error_type = _server_error_type(facts)
    if error_type:
        attributes[names.ERROR_TYPE] = error_type
    method_name = "HTTP" if method == _OTHER else method
    return Span(
        trace_id=facts.trace_id,
        span_id=facts.span_id,
        parent_span_id=facts.parent_span_id,
        is_parent_remote=bool(facts.parent_span_id),
        tracestate=facts.tracestate,
        name=f"{method_name} {facts.route}" if facts.route else method_name,
        kind=SpanKind.SERVER,
        started_at_ns=facts.started_at_ns,
        ended_at_ns=facts.ended_at_ns,
        attributes=attributes,
        is_error=bool(error_type),
    )


def _server_error_type(facts: RequestFacts) -> str:
    """Empty for what is no failure of the server: success, a refusal (4xx), a caller that left.

    A stream that broke after its headers were sent has a good status and an error code.
    """
    if facts.error_code == CALLER_GONE or 400 <= facts.status < 500:
        return ""
    if facts.status >= 500:
        return facts.error_code or str(facts.status)
    return facts.error_code or ("" if facts.status else _OTHER)


def _chat_span(facts: RequestFacts, chat: ChatFacts, attributes: Attributes, events: tuple[SpanEvent, ...]) -> Span:
    return Span(
        trace_id=facts.trace_id,
        span_id=chat.span_id,
        parent_span_id=facts.span_id,
        tracestate=facts.tracestate,
        name=f"{chat.operation} {chat.model or chat.route}",
        kind=SpanKind.INTERNAL,
        started_at_ns=chat.started_at_ns,
        ended_at_ns=chat.ended_at_ns,
        attributes=attributes,
        is_error=names.ERROR_TYPE in attributes,
        events=events,
    )


def _chat_attributes(chat: ChatFacts) -> Attributes:
    attributes = _model_attributes(chat.operation, chat.provider, chat.model or chat.route)
    attributes.update(_request_params(chat))
    attributes[names.GENERATION_ID] = chat.generation_id
    attributes[names.ROUTE] = chat.route
    attributes[names.OUTCOME] = chat.outcome
    attributes[names.CACHE] = chat.cache
    attributes[names.COST_NANOUSD] = chat.cost_nanousd
    attributes[names.COST_BASIS] = chat.cost_basis
    if chat.saved_nanousd:
        attributes[names.SAVED_NANOUSD] = chat.saved_nanousd
    if chat.dropped_params:
        attributes[names.DROPPED_PARAMS] = chat.dropped_params
    if chat.outcome != "ok":
        attributes[names.ERROR_TYPE] = CANCELLED if chat.outcome == "aborted" else chat.outcome or _OTHER
    answering = next((attempt for attempt in reversed(chat.attempts) if attempt.outcome == "ok"), None)
    response_model = chat.response_model or (answering.response_model if answering else "")
    _add_response(attributes, chat, response_model)
    if chat.response_id:
        attributes[names.RESPONSE_ID] = chat.response_id
    if chat.cache not in {"hit", "coalesced"}:
        _add_usage(attributes, chat)
    if chat.input_messages is not None:
        attributes[names.INPUT_MESSAGES] = chat.input_messages
    if chat.output_messages is not None:
        attributes[names.OUTPUT_MESSAGES] = chat.output_messages
    return attributes


def _request_params(chat: ChatFacts) -> Attributes:
    """The parameters that the conventions name, where they have the type that the conventions give them."""
    attributes: Attributes = {names.REQUEST_STREAM: True} if chat.stream else {}
    for param, value in chat.request.items():
        name, kind = names.REQUEST_PARAMS.get(param, ("", str))
        is_plain = not isinstance(value, bool) and (not isinstance(value, int) or value in _INT64)
        if not name or not is_plain or (param == "n" and value == 1):
            continue
        if kind is float and isinstance(value, int):
            attributes[name] = float(value)
        elif isinstance(value, kind):
            attributes[name] = value
    return attributes


def _add_usage(attributes: Attributes, chat: ChatFacts) -> None:
    """Unknown is left out, never 0."""
    if chat.input_tokens is not None:
        attributes[names.INPUT_TOKENS] = chat.input_tokens
    if chat.output_tokens is not None:
        attributes[names.OUTPUT_TOKENS] = chat.output_tokens
    if chat.cached_tokens is not None:
        attributes[names.CACHED_TOKENS] = chat.cached_tokens
    if chat.reasoning_tokens is not None:
        attributes[names.REASONING_TOKENS] = chat.reasoning_tokens
    further = {
        names.CACHE_WRITE_TOKENS: chat.cache_write_tokens,
        names.CACHE_WRITE_1H_TOKENS: chat.cache_write_1h_tokens,
        names.INPUT_AUDIO_TOKENS: chat.input_audio_tokens,
        names.INPUT_IMAGE_TOKENS: chat.input_image_tokens,
        names.OUTPUT_AUDIO_TOKENS: chat.output_audio_tokens,
        names.OUTPUT_IMAGE_TOKENS: chat.output_image_tokens,
    }
    attributes.update((name, count) for name, count in further.items() if count)


def _attempt_spans(facts: RequestFacts, chat: ChatFacts) -> list[Span]:
    spans: list[Span] = []
    for attempt in chat.attempts:
        attributes = _attempt_attributes(chat.operation, attempt)
        spans.append(
            Span(
                trace_id=facts.trace_id,
                span_id=attempt.span_id,
                parent_span_id=chat.span_id,
                tracestate=facts.tracestate,
                name=f"{chat.operation} {attempt.model}",
                kind=SpanKind.CLIENT,
                started_at_ns=attempt.started_at_ns,
                ended_at_ns=attempt.ended_at_ns,
                attributes=attributes,
                is_error=names.ERROR_TYPE in attributes,
                linked_span_id=attempt.hedges_span_id,
                link_attributes={names.LINK: "hedge_of"} if attempt.hedges_span_id else {},
            )
        )
    return spans


def _attempt_attributes(operation: str, attempt: AttemptFacts) -> Attributes:
    attributes = _model_attributes(operation, attempt.provider, attempt.model)
    attributes[names.ATTEMPT] = attempt.number
    attributes[names.OUTCOME] = attempt.outcome
    _add_server(attributes, attempt.server_address, attempt.server_port)
    if attempt.status is not None:
        attributes[names.HTTP_RESPONSE_STATUS_CODE] = attempt.status
    if attempt.outcome != "ok":
        attributes[names.ERROR_TYPE] = _attempt_error_type(attempt)
    _add_response(attributes, attempt, attempt.response_model)
    return attributes


def _attempt_error_type(attempt: AttemptFacts) -> str:
    """In the conventions' words where they have one: a status, `timeout`, `cancelled`; else our outcome."""
    match attempt.outcome:
        case "aborted":
            return CANCELLED
        case "stalled":
            return "timeout"
        case outcome if attempt.status is not None and attempt.status >= 400:
            return str(attempt.status)
        case outcome:
            return outcome or _OTHER


def _model_attributes(operation: str, provider: str, model: str) -> Attributes:
    attributes: Attributes = {names.OPERATION: operation, names.REQUEST_MODEL: model}
    if provider:
        attributes[names.PROVIDER] = names.WELL_KNOWN_PROVIDERS.get(provider, provider)
    return attributes


def _add_response(attributes: Attributes, facts: ChatFacts | AttemptFacts, response_model: str) -> None:
    if response_model:
        attributes[names.RESPONSE_MODEL] = response_model
    if facts.outcome == "cut":
        attributes[names.FINISH_REASONS] = ("error",)
    elif facts.finish_reason:
        attributes[names.FINISH_REASONS] = (facts.finish_reason,)
    if facts.first_output_at_ns is not None:
        wait_ns = max(facts.first_output_at_ns - facts.started_at_ns, 0)
        attributes[names.TIME_TO_FIRST_CHUNK] = wait_ns / _NS_PER_S


def _add_server(attributes: Attributes, address: str, port: int) -> None:
    if address:
        attributes[names.SERVER_ADDRESS] = address
    if port:
        attributes[names.SERVER_PORT] = port
