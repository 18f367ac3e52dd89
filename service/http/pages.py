"""The paths that only read: models, reports, the router's status, health."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from ledger.reports import (
    LATENCY_DIMENSIONS,
    SPEND_DIMENSIONS,
    GenerationsQuery,
    LatencyQuery,
    OutOfTime,
    SpendQuery,
    UnknownPage,
    ends_first,
    parse_moment,
)
from router.errors import RouteForbidden, UnknownModel
from service.config.model import TRACE_ID
from service.http.exchange import exchange_of
from service.http.filters import read_filters
from service.models import anthropic_object, anthropic_page, deployment_object, route_object
from service.parts import Parts
from service.refusals import InvalidRequest, NotFound
from service.strict_json import refuse_unknown
from telemetry.metrics import CONTENT_TYPE as METRICS_TYPE

JSON: Final = "application/json"
_WINDOW_FIELDS: Final = ("since", "until", "group_by", "format")
_PAGE_FIELDS: Final = ("since", "until", "limit", "before")
PAGE: Final = 100
_MOST: Final = 1000
_FORMATS: Final = ("json", "csv")
_NO_STORE: Final = {"cache-control": "no-store"}
_NONE_FURTHER: Final[Mapping[str, str]] = {}
_Query = TypeVar("_Query", SpendQuery, LatencyQuery)
AnyRequest = Request[Any, Any, Any]


def page_handlers(parts: Parts) -> Sequence[HTTPRouteHandler]:
    """All of them, bound to these parts."""
    return (*_model_pages(parts), *_report_pages(parts), *_state_pages(parts))


def _model_pages(parts: Parts) -> Sequence[HTTPRouteHandler]:
    created_s = parts.now_ms() // 1000

    @get("/v1/models")
    async def list_models(request: AnyRequest) -> Response[bytes]:
        allowed = exchange_of(request.scope).caller.routes
        objects = [model for model in model_objects(parts, created_s) if not allowed or model["id"] in allowed]
        return json_response(
            anthropic_page(objects) if _is_anthropics(request) else {"object": "list", "data": objects}
        )

    @get("/v1/models/{model_id:path}")
    async def show_model(request: AnyRequest) -> Response[bytes]:
        # Litestar's `path` parameters keep their leading slash; names such as `hub:org/model` need the rest of it.
        name = request.path_params["model_id"].removeprefix("/")
        allowed = exchange_of(request.scope).caller.routes
        listed = {model["id"]: model for model in model_objects(parts, created_s)}
        model = listed.get(name) or _priced_object(parts, name, created_s)
        if model is None:
            raise UnknownModel(name, allowed or tuple(route.name for route in parts.catalog.routes))
        if allowed and name not in allowed:
            raise RouteForbidden(name, allowed)
        return json_response(anthropic_object(model) if _is_anthropics(request) else model)

    return list_models, show_model


def _report_pages(parts: Parts) -> Sequence[HTTPRouteHandler]:
    @get("/ledger/spend")
    async def spend(request: AnyRequest) -> Response[bytes]:
        query, form = read_spend_query(request.scope["query_string"], parts.now_ms())
        return _report(await parts.reports.spend(query), form)

    @get("/ledger/latency")
    async def latency(request: AnyRequest) -> Response[bytes]:
        query, form = read_latency_query(request.scope["query_string"], parts.now_ms())
        return _report(await parts.reports.latency(query), form)

    @get("/ledger/generations")
    async def generations(request: AnyRequest) -> Response[bytes]:
        query = read_generations_query(request.scope["query_string"], parts.now_ms())
        try:
            return json_response(await parts.reports.generations(query))
        except UnknownPage as error:
            raise InvalidRequest("must be the `next` of the page before", where="before") from error

    @get("/ledger/generations/{generation_id:str}")
    async def generation(request: AnyRequest) -> Response[bytes]:
        generation_id = request.path_params["generation_id"]
        story = await parts.reports.generation(generation_id)
        if story is None:
            raise NotFound(f"generation {generation_id!r}", listed_at="/ledger/generations")
        viewer = parts.trace_url.replace(TRACE_ID, story["trace_id"])
        return json_response({**story, "trace_url": viewer or None})

    @get("/ledger/ceilings")
    async def ceilings(request: AnyRequest) -> Response[bytes]:
        top = _top(read_parameters(request.scope["query_string"], ("top",)))
        return json_response({"ceilings": await parts.reports.ceilings(top)})

    return spend, latency, generations, generation, ceilings


def _state_pages(parts: Parts) -> Sequence[HTTPRouteHandler]:
    @get("/router/status")
    async def router_status() -> Response[bytes]:
        return json_response(parts.router.status())

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        return Response(await parts.metrics(), headers={"content-type": METRICS_TYPE, **_NO_STORE})

    @get("/health/live")
    async def live() -> Response[bytes]:
        return json_response({"status": "live"})

    @get("/health/ready")
    async def ready() -> Response[bytes]:
        readiness = parts.readiness()
        if readiness.ready and not readiness.draining:
            return json_response({"status": "ready"})
        status = "draining" if readiness.draining else "not_ready"
        return json_response({"status": status, "reason": readiness.reason}, status_code=503)

    return router_status, metrics, live, ready


def model_objects(parts: Parts, created_s: int) -> list[dict[str, Any]]:
    """The routes, then each of their deployments, then what else the config names under [[models]]: OpenAI's shape.

    A caller may name any other model of a configured provider, too; too many to list have a price.
    """
    routes = parts.catalog.routes
    objects = {route.name: route_object(route, created_s) for route in routes}
    for target in (*(target for route in routes for target in route.targets), *parts.catalog.models):
        if target.id not in objects:
            objects[target.id] = deployment_object(target, created_s)
    return list(objects.values())


def _priced_object(parts: Parts, name: str, created_s: int) -> dict[str, Any] | None:
    """A model that is not listed, and whose price is known: then it is one. None: nobody here knows of it."""
    try:
        (target,) = parts.catalog.resolve(name).targets
    except UnknownModel:
        return None
    return None if target.price is None else deployment_object(target, created_s)


def _is_anthropics(request: AnyRequest) -> bool:
    """Whether it is Anthropic's SDK that asks: OpenAI's has no such header."""
    return "anthropic-version" in request.headers


def read_spend_query(query_string: bytes, now_ms: int) -> tuple[SpendQuery, str]:
    """The spend report asked for, and its format. Raises InvalidRequest naming the parameter that is wrong."""
    given = read_parameters(query_string, (*_WINDOW_FIELDS, "top", *SPEND_DIMENSIONS))
    query, form = _query_and_format(given, SpendQuery, SPEND_DIMENSIONS, now_ms)
    return msgspec.structs.replace(query, top=_top(given)), form


def read_latency_query(query_string: bytes, now_ms: int) -> tuple[LatencyQuery, str]:
    """The latency report asked for, and its format. Raises InvalidRequest naming the parameter that is wrong."""
    given = read_parameters(query_string, (*_WINDOW_FIELDS, *LATENCY_DIMENSIONS))
    return _query_and_format(given, LatencyQuery, LATENCY_DIMENSIONS, now_ms)


def _top(given: dict[str, str]) -> int:
    return read_number("top", given["top"]) if "top" in given else 0


def _query_and_format(
    given: dict[str, str], to: type[_Query], dimensions: tuple[str, ...], now_ms: int
) -> tuple[_Query, str]:
    groups = tuple(filter(None, (name.strip() for name in given.get("group_by", "").split(","))))
    refuse_unknown(groups, dimensions, "name", where="group_by")
    form = given.get("format", "json")
    if form not in _FORMATS:
        raise InvalidRequest("must be json or csv", where="format")
    since_ms, until_ms = read_window(given, now_ms)
    query = to(
        since_ms=since_ms,
        until_ms=until_ms,
        group_by=tuple(dict.fromkeys(groups)),
        filters=read_filters(given, dimensions),
    )
    return query, form


def read_generations_query(query_string: bytes, now_ms: int) -> GenerationsQuery:
    """The page of calls asked for. Raises InvalidRequest naming the parameter that is wrong."""
    given = read_parameters(query_string, (*_PAGE_FIELDS, *SPEND_DIMENSIONS))
    since_ms, until_ms = read_window(given, now_ms)
    return GenerationsQuery(
        since_ms=since_ms,
        until_ms=until_ms,
        filters=read_filters(given, SPEND_DIMENSIONS),
        limit=read_number("limit", given.get("limit", str(PAGE))),
        before=given.get("before") or None,
    )


def read_parameters(query_string: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """The query, each name once. Raises InvalidRequest."""
    given: dict[str, str] = {}
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise InvalidRequest("is given twice", where=name)
        given[name] = value
    refuse_unknown(given, known, "parameter")
    return given


def read_number(name: str, text: str) -> int:
    """A number of rows, as this parameter says it. Raises InvalidRequest."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= _MOST):
        raise InvalidRequest(f"must be a number from 1 to {_MOST}", where=name)
    return int(text)


def read_window(given: dict[str, str], now_ms: int) -> tuple[int | None, int | None]:
    """The moments `since` and `until`, where they are given. Raises InvalidRequest."""
    since_ms, until_ms = read_moment("since", given, now_ms), read_moment("until", given, now_ms)
    if ends_first(since_ms, until_ms):
        raise InvalidRequest("is before since: no moment lies between them", where="until")
    return since_ms, until_ms


def read_moment(name: str, given: dict[str, str], now_ms: int) -> int | None:
    """The moment in milliseconds UTC that this parameter says. None: it is not given. Raises InvalidRequest."""
    text = given.get(name)
    if not text:
        return None
    try:
        # A `+` that was not escaped comes as a space.
        return parse_moment(text.replace(" ", "+") if "T" in text else text, now_ms)
    except OutOfTime as error:
        raise InvalidRequest("must lie in the years 1 to 9999 (UTC)", where=name) from error
    except ValueError as error:
        raise InvalidRequest(
            "must be an ISO 8601 date or moment, like 2026-11-21T09:00:00Z, or 24h", where=name
        ) from error


def _report(report: dict[str, Any], form: str) -> Response[bytes]:
    if form == "json":
        return json_response(report)
    from service.commands.tables import report_csv

    return Response(report_csv(report).encode(), media_type="text/csv", headers=_NO_STORE)


def json_response(value: Any, *, status_code: int = 200, headers: Mapping[str, str] = _NONE_FURTHER) -> Response[bytes]:
    """A JSON answer that nobody stores."""
    headers = {**_NO_STORE, **headers}
    return Response(msgspec.json.encode(value), media_type=JSON, status_code=status_code, headers=headers)
