"""What spans of one kind say alike: made once for all of them, and encoded once (`wire`).

Most of what a span says, the last one of its kind said too: the same deployment, asked and answered in the same way. A
group is found by the facts that it was made of, and by nothing else: its maker is handed no other. Pure.
"""

from functools import lru_cache
from typing import Final

import msgspec

from telemetry import names
from telemetry.facts import Scalar

Attributes = dict[str, Scalar | tuple[str, ...]]

CANCELLED: Final = "cancelled"
OTHER: Final = "_OTHER"
# Of each kind, those last used. A deployment has a few: one for each way in which its calls end.
GROUPS_KEPT: Final = 512


class Group:
    """Attributes that spans have in common. encoded: as `wire` wrote them when it first met them; empty until then."""

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.encoded = b""


# Of a SERVER span with a call beneath it.
CHAIN: Final = Group({names.SPAN_KIND: names.CHAIN})


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which this server answered."""

    method: str
    scheme: str
    route: str
    status: int
    address: str
    port: int


class Standing(msgspec.Struct, frozen=True):
    """How a deployment stood when it was asked."""

    price_version: str = ""
    breaker_state: str = ""
    breaker_open_count: int = 0


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which calls end."""

    operation: str
    provider: str
    model: str
    response_model: str
    route: str
    outcome: str
    finish_reason: str
    cache: str
    cost_basis: str
    stream: bool
    standing: Standing


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which attempts end."""

    operation: str
    provider: str
    model: str
    address: str
    port: int
    number: int
    outcome: str
    status: int | None
    response_model: str
    finish_reason: str
    charged_basis: str
    ceilings: tuple[str, ...]
    endpoint: str
    hints: tuple[str, ...]
    dropped_params: tuple[str, ...]
    standing: Standing


@lru_cache(GROUPS_KEPT)
def served(it: Served) -> Group:
    """What was asked of this server, and how it answered."""
    is_known = it.method in names.HTTP_METHODS
    attributes: Attributes = {names.HTTP_REQUEST_METHOD: it.method if is_known else OTHER, names.URL_SCHEME: it.scheme}
    if not is_known:
        attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] = it.method
    if it.route:
        attributes[names.HTTP_ROUTE] = it.route
    if it.status:
        attributes[names.HTTP_RESPONSE_STATUS_CODE] = it.status
    _add_server(attributes, it.address, it.port)
    return Group(attributes)


@lru_cache(GROUPS_KEPT)
def answered(it: Answered) -> Group:
    """Whose answer was given, and how."""
    attributes = _of_model(it.operation, it.provider, it.model)
    if it.stream:
        attributes[names.REQUEST_STREAM] = True
    attributes[names.ROUTE] = it.route
    attributes[names.OUTCOME] = it.outcome
    attributes[names.CACHE] = it.cache
    attributes[names.COST_BASIS] = it.cost_basis
    if it.outcome != "ok":
        attributes[names.ERROR_TYPE] = CANCELLED if it.outcome == "aborted" else it.outcome or OTHER
    _add_response(attributes, it)
    return Group(attributes)


@lru_cache(GROUPS_KEPT)
def tried(it: Tried) -> Group:
    """Who was asked, how, and how that ended."""
    attributes = _of_model(it.operation, it.provider, it.model)
    attributes[names.ATTEMPT] = it.number
    attributes[names.OUTCOME] = it.outcome
    if it.charged_basis:
        attributes[names.CHARGED_BASIS] = it.charged_basis
    _add_server(attributes, it.address, it.port)
    if it.status is not None:
        attributes[names.HTTP_RESPONSE_STATUS_CODE] = it.status
    if it.outcome != "ok":
        attributes[names.ERROR_TYPE] = _error_type(it)
    _add_response(attributes, it)
    if it.ceilings:
        attributes[names.CEILINGS] = it.ceilings
    if it.endpoint:
        attributes[names.ENDPOINT] = it.endpoint
    if it.hints:
        attributes[names.HINTS] = it.hints
    if it.dropped_params:
        attributes[names.DROPPED_PARAMS] = it.dropped_params
    return Group(attributes)


def _of_model(operation: str, provider: str, model: str) -> Attributes:
    attributes: Attributes = {names.OPERATION: operation, names.REQUEST_MODEL: model}
    if provider:
        name = names.WELL_KNOWN_PROVIDERS.get(provider, provider)
        attributes[names.PROVIDER] = attributes[names.PREVIOUS_PROVIDER] = name
    return attributes


def _add_server(attributes: Attributes, address: str, port: int) -> None:
    """Who was asked, as an address."""
    if address:
        attributes[names.SERVER_ADDRESS] = address
    if port:
        attributes[names.SERVER_PORT] = port


def _add_response(attributes: Attributes, it: Answered | Tried) -> None:
    if it.response_model:
        attributes[names.RESPONSE_MODEL] = it.response_model
    if it.outcome == "cut":
        attributes[names.FINISH_REASONS] = ("error",)
    elif it.finish_reason:
        attributes[names.FINISH_REASONS] = (it.finish_reason,)
    if it.standing.price_version:
        attributes[names.PRICE_VERSION] = it.standing.price_version
    if it.standing.breaker_state:
        attributes[names.BREAKER_STATE] = it.standing.breaker_state
        attributes[names.BREAKER_OPEN_COUNT] = it.standing.breaker_open_count


def _error_type(it: Tried) -> str:
    """In the conventions' words where they have one: a status, `timeout`, `cancelled`; else our outcome."""
    match it.outcome:
        case "aborted":
            return CANCELLED
        case "stalled":
            return "timeout"
        case outcome if it.status is not None and it.status >= 400:
            return str(it.status)
        case outcome:
            return outcome or OTHER
