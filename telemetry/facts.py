"""Plain facts about one finished request, from which spans and log lines are made. No type of another package."""

from typing import Final

import msgspec

MAX_CONTENT_CHARS: Final = 32_768

Scalar = int | float | str | bool


class AttemptFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one deployment. Moments are Unix nanoseconds.

    hedges_span_id: of the attempt that it was started beside; empty: of none. held_nanousd: at most this it may cost;
    charged_nanousd: what it did, None: nobody knows yet. queued_s: it waited that long for a place at its provider.
    breaker_state, breaker_open_count: of its deployment, when it began. ceilings: ids of those that it counts under.
    endpoint: where it was asked, if not at its dialect's own. hints: what was learned before, and heeded.
    error_code: the provider's own, if it told one. counts_for_breaker, tries_next: how its end was classified.
    retry_after_s: when its provider wants to be asked again.
    """

    span_id: str
    number: int
    provider: str
    model: str
    server_address: str
    server_port: int
    started_at_ns: int
    ended_at_ns: int
    first_output_at_ns: int | None
    outcome: str
    status: int | None
    response_model: str = ""
    finish_reason: str = ""
    hedges_span_id: str = ""
    held_nanousd: int = 0
    charged_nanousd: int | None = None
    charged_basis: str = ""
    price_version: str = ""
    queued_s: float = 0.0
    breaker_state: str = ""
    breaker_open_count: int = 0
    ceilings: tuple[str, ...] = ()
    endpoint: str = ""
    dropped_params: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    error_code: str = ""
    counts_for_breaker: bool = False
    tries_next: bool = False
    retry_after_s: float | None = None


class ChatFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One generation: what the INTERNAL `chat` span says, the only one with cost and tokens.

    operation: `chat` or `embeddings`, as the conventions call them.
    events: what happened at which moment and how long it took, in order: (name, at_ns, {attribute: value}).
    Token counts include their parts, as the conventions have it: cached ones and audio are input too. 0 of a kind that
    most calls have none of is as good as not said.
    model and provider: whose answer was given, else the last tried, else empty. input_messages, output_messages: JSON
    text, given only where content is to be captured. answer_of: the generation whose answer was given, if another's.
    attribution: {`key`|`team`|`user`|`workflow`|`run`: name}. clamped: {parameter: the value it was lowered to}.
    """

    generation_id: str
    span_id: str
    route: str
    provider: str
    model: str
    started_at_ns: int
    ended_at_ns: int
    outcome: str
    cache: str
    stream: bool
    cost_nanousd: int
    cost_basis: str
    saved_nanousd: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    finish_reason: str = ""
    first_output_at_ns: int | None = None
    dropped_params: tuple[str, ...] = ()
    request: dict[str, Scalar] = {}
    events: tuple[tuple[str, int, dict[str, Scalar]], ...] = ()
    attempts: tuple[AttemptFacts, ...] = ()
    response_model: str = ""
    response_id: str = ""
    input_messages: str | None = None
    output_messages: str | None = None
    operation: str = "chat"
    answer_of: str = ""
    was_paced: bool = False
    clamped: dict[str, int] = {}
    attribution: dict[str, str] = {}


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request: the SERVER span, and the root of all of ours. parent_span_id is the caller's, or empty.

    sampled: as its trace's flag says. generation_id: of the call that it asked for, admitted or not; empty: it asked
    for none. public_url: where people find this service. refusal: {attribute: value}, of a call that was refused.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    sampled: bool
    tracestate: str
    method: str
    route: str
    path: str
    status: int
    started_at_ns: int
    ended_at_ns: int
    server_address: str
    server_port: int
    error_code: str = ""
    chat: ChatFacts | None = None
    scheme: str = "http"
    generation_id: str = ""
    public_url: str = ""
    refusal: dict[str, Scalar] = {}


def content_chars(facts: RequestFacts) -> int:
    """How much captured text these facts carry."""
    chat = facts.chat
    return 0 if chat is None else len(chat.input_messages or "") + len(chat.output_messages or "")


def with_content_cut(facts: RequestFacts, max_chars: int) -> RequestFacts:
    """The same facts with each captured text cut to this length; without any at 0."""
    if facts.chat is None:
        return facts
    chat = msgspec.structs.replace(
        facts.chat,
        input_messages=(facts.chat.input_messages or "")[:max_chars] or None,
        output_messages=(facts.chat.output_messages or "")[:max_chars] or None,
    )
    return msgspec.structs.replace(facts, chat=chat)
