"""What a call would cost, and whether it would be let through: `POST /estimate`. It calls nobody and takes nothing."""

from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from service.estimate import estimate_object
from service.http.bodies import call_asked_about
from service.http.pages import json_response
from service.native import NativeWire
from service.parts import Parts


def estimate_handler(parts: Parts) -> HTTPRouteHandler:
    """It, bound to these parts."""
    wire = NativeWire()

    @post("/estimate", status_code=200)
    async def estimate(request: Request[Any, Any, Any]) -> Response[bytes]:
        call = await call_asked_about(request, parts, wire.read)
        return json_response(estimate_object(await parts.estimates.estimate(call), call, call.received_at_ms))

    return estimate
