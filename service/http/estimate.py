"""What a call would cost, and whether it would be let through: `POST /estimate`. It calls nobody and takes nothing."""

from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from router.large import aside
from service.asked import build_call
from service.estimate import estimate_object
from service.http.bodies import body_of
from service.http.exchange import exchange_of
from service.http.pages import json_response
from service.ids import new_generation_id
from service.native import NativeWire
from service.parts import Parts


def estimate_handler(parts: Parts) -> HTTPRouteHandler:
    """It, bound to these parts."""
    wire = NativeWire()

    @post("/estimate", status_code=200)
    async def estimate(request: Request[Any, Any, Any]) -> Response[bytes]:
        exchange = exchange_of(request.scope)
        raw = await body_of(request, parts)
        asked = await aside(lambda: wire.read(raw), size=len(raw))
        now_ms = parts.now_ms()
        call = build_call(
            asked,
            exchange.headers,
            # A name that nothing is kept under.
            generation_id=new_generation_id(now_ms),
            trace=exchange.trace,
            received_at_ms=now_ms,
            deadline_ms=parts.limits.deadline_ms,
            body_bytes=len(raw),
            caller=exchange.caller,
        )
        return json_response(estimate_object(await parts.estimates.estimate(call), call, now_ms))

    return estimate
