"""What was learned of deployments, shown, and set by hand: `/router/hints`."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler

from router.orders import WrongOrder
from service.http.bodies import body_of
from service.http.pages import json_response, read_parameters
from service.parts import Parts
from service.refusals import InvalidRequest
from service.strict_json import convert, decode_object, refuse_unknown

AnyRequest = Request[Any, Any, Any]


class HintBody(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's order. action: block | allow | prefer (an endpoint) | forget."""

    deployment: str
    action: str
    endpoint: str = ""
    reason: str = ""


def hint_handlers(parts: Parts) -> Sequence[HTTPRouteHandler]:
    """All of them, bound to these parts."""

    @get("/router/hints")
    async def show(request: AnyRequest) -> Response[bytes]:
        given = read_parameters(request.scope["query_string"], ("provider",))
        return json_response(parts.router.hints(given.get("provider", "")))

    @post("/router/hints", status_code=200)
    async def give(request: AnyRequest) -> Response[bytes]:
        value = decode_object(await body_of(request, parts))
        refuse_unknown(value, HintBody.__struct_fields__, "field")
        return await _order(parts, convert(value, HintBody))

    @delete("/router/hints/{deployment:path}", status_code=200)
    async def forget(request: AnyRequest) -> Response[bytes]:
        # Litestar's `path` parameters keep their leading slash; a model's name may have others.
        name = request.path_params["deployment"].removeprefix("/")
        return await _order(parts, HintBody(deployment=name, action="forget"))

    return show, give, forget


async def _order(parts: Parts, body: HintBody) -> Response[bytes]:
    try:
        known = await parts.router.give_order(
            body.deployment, body.action, now_ms=parts.now_ms(), endpoint=body.endpoint, reason=body.reason
        )
    except WrongOrder as error:
        raise InvalidRequest(str(error), where=error.field) from error
    return json_response(known)
