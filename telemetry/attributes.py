"""What the spans of calls and attempts say. Pure: facts in, attributes out; names.py says why they are called so.

Each span's attributes come as the groups that it shares with others (`groups`), and as a dict of what only it says. No
name is in both.
"""

from operator import attrgetter
from typing import Final

from telemetry import names
from telemetry.facts import AttemptFacts, ChatFacts, RequestFacts
from telemetry.groups import Answered, Attributes, Group, Served, Standing, Tried, answered, served, tried

# How answers come that used no tokens: those were used when they were first given.
_USED_BEFORE: Final = frozenset({"hit", "coalesced"})
_UNKNOWN: Final = Standing()
_INT64: Final = range(-(2**63), 2**63)
_NS_PER_S: Final = 1_000_000_000
_NANOUSD_PER_USD: Final = 1_000_000_000
# Kinds of tokens that most calls have none of.
_RARE_TOKENS: Final = {
    names.CACHE_WRITE_TOKENS: "cache_write_tokens",
    names.PREVIOUS_CACHE_WRITE_TOKENS: "cache_write_tokens",
    names.CACHE_WRITE_1H_TOKENS: "cache_write_1h_tokens",
    names.INPUT_AUDIO_TOKENS: "input_audio_tokens",
    names.INPUT_IMAGE_TOKENS: "input_image_tokens",
    names.OUTPUT_AUDIO_TOKENS: "output_audio_tokens",
    names.OUTPUT_IMAGE_TOKENS: "output_image_tokens",
}
_rare_counts: Final = attrgetter(*_RARE_TOKENS.values())


def identity(facts: RequestFacts) -> Group:
    """Which generation this is, and where to read its whole story, on each of its spans.

    A call that was refused has a name, for whoever complains of it, but no story.
    """
    if not facts.generation_id:
        return Group({})
    if facts.chat is None and facts.error_code:
        return Group({names.GENERATION_ID: facts.generation_id})
    url = f"{facts.public_url}/ledger/generations/{facts.generation_id}"
    return Group({names.GENERATION_ID: facts.generation_id, names.GENERATION_URL: url})


def of_server(facts: RequestFacts) -> Group:
    """What was asked of this server, and how it answered."""
    return served(
        Served(
            method=facts.method,
            scheme=facts.scheme,
            route=facts.route,
            status=facts.status,
            address=facts.server_address,
            port=facts.server_port,
        )
    )


def of_chat(chat: ChatFacts) -> tuple[Group, Attributes]:
    """Whose answer was given for which wishes, and all of the call's money and tokens."""
    answering = next((attempt for attempt in reversed(chat.attempts) if attempt.outcome == "ok"), None)
    told = answering or (chat.attempts[-1] if chat.attempts else None)
    group = answered(
        Answered(
            operation=chat.operation,
            provider=chat.provider,
            model=chat.model or chat.route,
            response_model=chat.response_model or (answering.response_model if answering else ""),
            route=chat.route,
            outcome=chat.outcome,
            finish_reason=chat.finish_reason,
            cache=chat.cache,
            cost_basis=chat.cost_basis,
            stream=chat.stream,
            standing=_standing(told) if told else _UNKNOWN,
        )
    )
    own = _request_params(chat)
    own[names.COST_NANOUSD] = chat.cost_nanousd
    if chat.cache not in _USED_BEFORE:
        own[names.COST_USD] = chat.cost_nanousd / _NANOUSD_PER_USD
        _add_usage(own, chat)
    _add_wait(own, chat)
    _add_rarities(own, chat)
    for who, name in chat.attribution.items():
        if name:
            own[names.ATTRIBUTION[who]] = name
    if chat.input_messages is not None:
        own[names.INPUT_MESSAGES] = chat.input_messages
    if chat.output_messages is not None:
        own[names.OUTPUT_MESSAGES] = chat.output_messages
    return group, own


def of_attempt(operation: str, attempt: AttemptFacts) -> tuple[Group, Attributes]:
    """Who was asked and how that ended. Tokens and cost are the call's, or sums over spans would count them twice."""
    group = tried(
        Tried(
            operation=operation,
            provider=attempt.provider,
            model=attempt.model,
            address=attempt.server_address,
            port=attempt.server_port,
            number=attempt.number,
            outcome=attempt.outcome,
            status=attempt.status,
            response_model=attempt.response_model,
            finish_reason=attempt.finish_reason,
            charged_basis=attempt.charged_basis,
            ceilings=attempt.ceilings,
            endpoint=attempt.endpoint,
            hints=attempt.hints,
            dropped_params=attempt.dropped_params,
            standing=_standing(attempt),
        )
    )
    own: Attributes = {names.HELD_NANOUSD: attempt.held_nanousd}
    if attempt.charged_nanousd is not None:
        own[names.CHARGED_NANOUSD] = attempt.charged_nanousd
    _add_wait(own, attempt)
    if attempt.queued_s:
        own[names.QUEUED_MS] = round(attempt.queued_s * 1000, 3)
    return group, own


def of_end(attempt: AttemptFacts) -> Attributes:
    """How the end of a failed attempt was classified: what it was taken for, and what followed from that."""
    attributes: Attributes = {
        names.OUTCOME: attempt.outcome,
        names.COUNTS_FOR_BREAKER: attempt.counts_for_breaker,
        names.TRIES_NEXT: attempt.tries_next,
    }
    if attempt.error_code:
        attributes[names.PROVIDER_ERROR_CODE] = attempt.error_code
    if attempt.retry_after_s is not None:
        attributes[names.RETRY_AFTER_MS] = round(attempt.retry_after_s * 1000)
    return attributes


def _standing(attempt: AttemptFacts) -> Standing:
    return Standing(attempt.price_version, attempt.breaker_state, attempt.breaker_open_count)


def _request_params(chat: ChatFacts) -> Attributes:
    """The parameters that the conventions name, where they have the type that the conventions give them."""
    attributes: Attributes = {}
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
    rare = _rare_counts(chat)
    if any(rare):
        attributes.update((name, count) for name, count in zip(_RARE_TOKENS, rare, strict=True) if count)


def _add_wait(attributes: Attributes, facts: ChatFacts | AttemptFacts) -> None:
    if facts.first_output_at_ns is not None:
        wait_ns = max(facts.first_output_at_ns - facts.started_at_ns, 0)
        attributes[names.TIME_TO_FIRST_CHUNK] = wait_ns / _NS_PER_S


def _add_rarities(attributes: Attributes, chat: ChatFacts) -> None:
    """What most calls have nothing of."""
    if chat.saved_nanousd:
        attributes[names.SAVED_NANOUSD] = chat.saved_nanousd
    if chat.answer_of:
        attributes[names.ANSWER_OF] = chat.answer_of
    if chat.response_id:
        attributes[names.RESPONSE_ID] = chat.response_id
    if chat.dropped_params:
        attributes[names.DROPPED_PARAMS] = chat.dropped_params
    if chat.was_paced:
        attributes[names.PACED] = True
    if chat.clamped:
        attributes[names.CLAMPED] = tuple(f"{param}={value}" for param, value in chat.clamped.items())
