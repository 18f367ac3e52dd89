"""What people are told of: `/alerts`, for readers; acknowledging one takes an admin."""

from collections.abc import Sequence
from typing import Any, Final, get_args

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from ledger.events import EVENT_TYPES, DeliveryState, EventsQuery, types_matching
from ledger.reports import UnknownPage
from service.http.exchange import exchange_of
from service.http.pages import PAGE, json_response, read_moment, read_number, read_parameters
from service.parts import Parts
from service.refusals import InvalidRequest, NotFound
from service.strict_json import refuse_unknown

FIELDS: Final = ("since", "until", "type", "state", "limit", "before")
DELIVERY_STATES: Final[tuple[DeliveryState, ...]] = get_args(DeliveryState)
# Beside how its deliveries stand: whether anybody has seen to it.
STATES: Final = (*DELIVERY_STATES, "open", "acknowledged")
AnyRequest = Request[Any, Any, Any]


def alert_handlers(parts: Parts) -> Sequence[HTTPRouteHandler]:
    """All of them, bound to these parts."""

    @get("/alerts")
    async def alerts(request: AnyRequest) -> Response[bytes]:
        query = read_events_query(request.scope["query_string"], parts.now_ms())
        try:
            return json_response(await parts.reports.events(query))
        except UnknownPage as error:
            raise InvalidRequest("must be the `next` of the page before", where="before") from error

    @post("/alerts/{event_id:str}/acknowledge", status_code=200)
    async def acknowledge(request: AnyRequest) -> Response[bytes]:
        event_id = request.path_params["event_id"]
        who = exchange_of(request.scope).caller.key_id or "anonymous"
        if not await parts.alerts.acknowledge(event_id, who):
            raise NotFound(f"alert {event_id!r}", listed_at="/alerts")
        return json_response({"id": event_id, "acknowledged": True})

    return alerts, acknowledge


def read_events_query(query_string: bytes, now_ms: int) -> EventsQuery:
    """The page of events asked for. Raises InvalidRequest naming the parameter that is wrong."""
    given = read_parameters(query_string, FIELDS)
    patterns = tuple(filter(None, (name.strip() for name in given.get("type", "").split(","))))
    for pattern in patterns:
        if pattern not in EVENT_TYPES and not types_matching([pattern]):
            refuse_unknown([pattern], EVENT_TYPES, "type")
    state = given.get("state") or None
    if state is not None:
        refuse_unknown([state], STATES, "state")
    return EventsQuery(
        since_ms=read_moment("since", given, now_ms),
        until_ms=read_moment("until", given, now_ms),
        types=tuple({*types_matching(patterns), *(name for name in patterns if name in EVENT_TYPES)}),
        state=next((name for name in DELIVERY_STATES if name == state), None),
        acknowledged={"open": False, "acknowledged": True}.get(state or ""),
        limit=read_number("limit", given.get("limit", str(PAGE))),
        before=given.get("before") or None,
    )
