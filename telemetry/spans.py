"""What spans a finished request makes. Pure: facts in, spans out. Source: DESIGN §8; names.py for the names.

One SERVER span; under it one INTERNAL `chat` span, the only one with cost and tokens, so that sums do not double; under
that a CLIENT span per attempt. A hit called nobody: its one span is the SERVER span, and says what the chat span would.
Tokens are told where they were used: a hit and a follower of another caller's flight used none.
"""

from enum import IntEnum
from typing import Final

import msgspec

from telemetry import attributes as told
from telemetry import names
from telemetry.facts import AttemptFacts, ChatFacts, RequestFacts
from telemetry.groups import CHAIN, OTHER, Attributes, Group
from telemetry.sampling import kept_for

# A caller that leaves is no failure of ours.
CALLER_GONE: Final = "caller_gone"


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
    """One span. Ids are hex; an empty parent_span_id is none; linked_span_id names a span of the same trace.

    groups: what it says as others do. own: what only it does.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: SpanKind
    started_at_ns: int
    ended_at_ns: int
    own: Attributes
    groups: tuple[Group, ...] = ()
    tracestate: str = ""
    is_parent_remote: bool = False
    is_error: bool = False
    events: tuple[SpanEvent, ...] = ()
    linked_span_id: str = ""
    link_attributes: Attributes = {}

    @property
    def attributes(self) -> Attributes:
        """All that it says."""
        told: Attributes = {}
        for group in self.groups:
            told.update(group.attributes)
        return {**told, **self.own}


def spans_of(facts: RequestFacts) -> list[Span]:
    """The spans of one request, parents first."""
    identity = told.identity(facts)
    chat = facts.chat
    if chat is None:
        return [_server_span(facts, _own_of_server(facts), (told.of_server(facts), identity))]
    of_chat, own = told.of_chat(chat)
    events = tuple([SpanEvent(name, at_ns, {**said}) for name, at_ns, said in chat.events])
    if chat.cache == "hit":
        own.update(_own_of_server(facts))
        if names.ERROR_TYPE in of_chat.attributes:
            own.pop(names.ERROR_TYPE, None)  # No name twice: what went wrong with the call is nearer to the cause.
        return [_server_span(facts, own, (told.of_server(facts), identity, of_chat), events)]
    server = _server_span(facts, _own_of_server(facts), (told.of_server(facts), identity, CHAIN))
    return [server, _chat_span(facts, chat, own, (of_chat, identity), events), *_attempt_spans(facts, chat, identity)]


def span_count(facts: RequestFacts) -> int:
    """How many spans `spans_of` makes of these facts."""
    chat = facts.chat
    return 1 if chat is None or chat.cache == "hit" else 2 + len(chat.attempts)


def _own_of_server(facts: RequestFacts) -> Attributes:
    own: Attributes = {names.URL_PATH: facts.path, **facts.refusal}
    if facts.error_code:
        own[names.ERROR_CODE] = facts.error_code
    if not facts.sampled and (why := kept_for(facts)):
        own[names.KEPT_FOR] = why
    if error_type := _server_error_type(facts):
        own[names.ERROR_TYPE] = error_type
    return own


def _server_span(
    facts: RequestFacts, own: Attributes, groups: tuple[Group, ...], events: tuple[SpanEvent, ...] = ()
) -> Span:
    method_name = facts.method if facts.method in names.HTTP_METHODS else "HTTP"
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
        own=own,
        groups=groups,
        is_error=names.ERROR_TYPE in own or any(names.ERROR_TYPE in group.attributes for group in groups),
        events=events,
    )


def _server_error_type(facts: RequestFacts) -> str:
    """Empty for what is no failure of the server: success, a refusal (4xx), a caller that left.

    A stream that broke after its headers were sent has a good status and an error code.
    """
    if facts.error_code == CALLER_GONE or 400 <= facts.status < 500:
        return ""
    if facts.status >= 500:
        return facts.error_code or str(facts.status)
    return facts.error_code or ("" if facts.status else OTHER)


def _chat_span(
    facts: RequestFacts,
    chat: ChatFacts,
    own: Attributes,
    groups: tuple[Group, ...],
    events: tuple[SpanEvent, ...],
) -> Span:
    return Span(
        trace_id=facts.trace_id,
        span_id=chat.span_id,
        parent_span_id=facts.span_id,
        tracestate=facts.tracestate,
        name=f"{chat.operation} {chat.model or chat.route}",
        kind=SpanKind.INTERNAL,
        started_at_ns=chat.started_at_ns,
        ended_at_ns=chat.ended_at_ns,
        own=own,
        groups=groups,
        is_error=names.ERROR_TYPE in groups[0].attributes,
        events=events,
    )


def _attempt_spans(facts: RequestFacts, chat: ChatFacts, identity: Group) -> list[Span]:
    spans: list[Span] = []
    for attempt in chat.attempts:
        group, own = told.of_attempt(chat.operation, attempt)
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
                own=own,
                groups=(group, identity),
                is_error=names.ERROR_TYPE in group.attributes,
                events=_attempt_events(attempt),
                linked_span_id=attempt.hedges_span_id,
                link_attributes={names.LINK: "hedge_of"} if attempt.hedges_span_id else {},
            )
        )
    return spans


def _attempt_events(attempt: AttemptFacts) -> tuple[SpanEvent, ...]:
    events: tuple[SpanEvent, ...] = ()
    if (at_ns := attempt.first_output_at_ns) is not None:
        events = (SpanEvent(names.FIRST_OUTPUT, at_ns, {names.DURATION_MS: _since_start_ms(attempt, at_ns)}),)
    if attempt.outcome != "ok":
        end = {**told.of_end(attempt), names.DURATION_MS: _since_start_ms(attempt, attempt.ended_at_ns)}
        events = (*events, SpanEvent(names.CLASSIFY, attempt.ended_at_ns, end))
    return events


def _since_start_ms(attempt: AttemptFacts, at_ns: int) -> float:
    return round(max(at_ns - attempt.started_at_ns, 0) / 1e6, 3)
