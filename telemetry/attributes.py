"""What the spans of calls and attempts say. Pure: facts in, attributes out; names.py says why they are called so."""

from typing import Final

from telemetry import names
from telemetry.facts import AttemptFacts, ChatFacts, RequestFacts, Scalar

Attributes = dict[str, Scalar | tuple[str, ...]]

CANCELLED: Final = "cancelled"
OTHER: Final = "_OTHER"
# How answers come that used no tokens: those were used when they were first given.
_USED_BEFORE: Final = frozenset({"hit", "coalesced"})
_INT64: Final = range(-(2**63), 2**63)
_NS_PER_S: Final = 1_000_000_000
_NANOUSD_PER_USD: Final = 1_000_000_000


def identity(facts: RequestFacts) -> Attributes:
    """Which generation this is, and where to read its whole story, on each of its spans.

    A call that was refused has a name, for whoever complains of it, but no story.
    """
    if not facts.generation_id:
        return {}
    if facts.chat is None and facts.error_code:
        return {names.GENERATION_ID: facts.generation_id}
    url = f"{facts.public_url}/ledger/generations/{facts.generation_id}"
    return {names.GENERATION_ID: facts.generation_id, names.GENERATION_URL: url}


def of_chat(chat: ChatFacts) -> Attributes:
    """Whose answer was given for which wishes, and all of the call's money and tokens."""
    attributes = _of_model(chat.operation, chat.provider, chat.model or chat.route)
    attributes.update(_request_params(chat))
    attributes[names.ROUTE] = chat.route
    attributes[names.OUTCOME] = chat.outcome
    attributes[names.CACHE] = chat.cache
    attributes[names.COST_NANOUSD] = chat.cost_nanousd
    attributes[names.COST_BASIS] = chat.cost_basis
    if chat.outcome != "ok":
        attributes[names.ERROR_TYPE] = CANCELLED if chat.outcome == "aborted" else chat.outcome or OTHER
    answering = next((attempt for attempt in reversed(chat.attempts) if attempt.outcome == "ok"), None)
    response_model = chat.response_model or (answering.response_model if answering else "")
    _add_response(attributes, chat, response_model)
    if chat.cache not in _USED_BEFORE:
        attributes[names.COST_USD] = chat.cost_nanousd / _NANOUSD_PER_USD
        _add_usage(attributes, chat)
    told = answering or (chat.attempts[-1] if chat.attempts else None)
    if told is not None:
        _add_deployment(attributes, told)
    _add_rarities(attributes, chat)
    for who, name in chat.attribution.items():
        if name:
            attributes[names.ATTRIBUTION[who]] = name
    if chat.input_messages is not None:
        attributes[names.INPUT_MESSAGES] = chat.input_messages
    if chat.output_messages is not None:
        attributes[names.OUTPUT_MESSAGES] = chat.output_messages
    return attributes


def of_attempt(operation: str, attempt: AttemptFacts) -> Attributes:
    """Who was asked and how that ended. Tokens and cost are the call's, or sums over spans would count them twice."""
    attributes = _of_model(operation, attempt.provider, attempt.model)
    attributes[names.ATTEMPT] = attempt.number
    attributes[names.OUTCOME] = attempt.outcome
    attributes[names.HELD_NANOUSD] = attempt.held_nanousd
    if attempt.charged_nanousd is not None:
        attributes[names.CHARGED_NANOUSD] = attempt.charged_nanousd
    if attempt.charged_basis:
        attributes[names.CHARGED_BASIS] = attempt.charged_basis
    add_server(attributes, attempt.server_address, attempt.server_port)
    if attempt.status is not None:
        attributes[names.HTTP_RESPONSE_STATUS_CODE] = attempt.status
    if attempt.outcome != "ok":
        attributes[names.ERROR_TYPE] = _error_type(attempt)
    _add_response(attributes, attempt, attempt.response_model)
    _add_deployment(attributes, attempt)
    if attempt.ceilings:
        attributes[names.CEILINGS] = attempt.ceilings
    if attempt.queued_s:
        attributes[names.QUEUED_MS] = round(attempt.queued_s * 1000, 3)
    if attempt.endpoint:
        attributes[names.ENDPOINT] = attempt.endpoint
    if attempt.hints:
        attributes[names.HINTS] = attempt.hints
    if attempt.dropped_params:
        attributes[names.DROPPED_PARAMS] = attempt.dropped_params
    return attributes


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


def add_server(attributes: Attributes, address: str, port: int) -> None:
    """Who was asked, as an address."""
    if address:
        attributes[names.SERVER_ADDRESS] = address
    if port:
        attributes[names.SERVER_PORT] = port


def _of_model(operation: str, provider: str, model: str) -> Attributes:
    attributes: Attributes = {names.OPERATION: operation, names.REQUEST_MODEL: model}
    if provider:
        name = names.WELL_KNOWN_PROVIDERS.get(provider, provider)
        attributes[names.PROVIDER] = attributes[names.PREVIOUS_PROVIDER] = name
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
        names.PREVIOUS_CACHE_WRITE_TOKENS: chat.cache_write_tokens,
        names.CACHE_WRITE_1H_TOKENS: chat.cache_write_1h_tokens,
        names.INPUT_AUDIO_TOKENS: chat.input_audio_tokens,
        names.INPUT_IMAGE_TOKENS: chat.input_image_tokens,
        names.OUTPUT_AUDIO_TOKENS: chat.output_audio_tokens,
        names.OUTPUT_IMAGE_TOKENS: chat.output_image_tokens,
    }
    attributes.update((name, count) for name, count in further.items() if count)


def _add_deployment(attributes: Attributes, attempt: AttemptFacts) -> None:
    """How the deployment stood that was asked."""
    if attempt.price_version:
        attributes[names.PRICE_VERSION] = attempt.price_version
    if attempt.breaker_state:
        attributes[names.BREAKER_STATE] = attempt.breaker_state
        attributes[names.BREAKER_OPEN_COUNT] = attempt.breaker_open_count


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


def _error_type(attempt: AttemptFacts) -> str:
    """In the conventions' words where they have one: a status, `timeout`, `cancelled`; else our outcome."""
    match attempt.outcome:
        case "aborted":
            return CANCELLED
        case "stalled":
            return "timeout"
        case outcome if attempt.status is not None and attempt.status >= 400:
            return str(attempt.status)
        case outcome:
            return outcome or OTHER
