"""The body of a request that Litestar has routed, and the call that it asks about."""

from collections.abc import Callable
from typing import Any

from litestar import Request

from router.call import Call
from router.large import aside
from service.asked import Asked, build_call
from service.http.exchange import exchange_of
from service.ids import new_generation_id
from service.parts import Parts
from service.refusals import InvalidRequest
from service.requests import CallerGone, read_json_body


async def body_of(request: Request[Any, Any, Any], parts: Parts) -> bytes:
    """All of it. Raises as `read_json_body` does, but for a caller who left: nobody hears what that is."""
    try:
        return await read_json_body(
            exchange_of(request.scope).headers,
            request.receive,  # type: ignore[arg-type]
            max_bytes=parts.limits.max_body_bytes,
            timeout_s=parts.limits.body_timeout_s,
        )
    except CallerGone as error:
        raise InvalidRequest("the body was broken off") from error


async def call_asked_about(request: Request[Any, Any, Any], parts: Parts, read: Callable[[bytes], Asked]) -> Call:
    """The call that a body means, for who wants to know of it and not to make it: nothing is kept under its name.

    read: parses the body. Raises what it does, and as `body_of`.
    """
    exchange = exchange_of(request.scope)
    raw = await body_of(request, parts)
    asked = await aside(lambda: read(raw), size=len(raw))
    now_ms = parts.now_ms()
    return build_call(
        asked,
        exchange.headers,
        generation_id=new_generation_id(now_ms),
        trace=exchange.trace,
        received_at_ms=now_ms,
        deadline_ms=parts.limits.deadline_ms,
        body_bytes=len(raw),
        caller=exchange.caller,
    )
