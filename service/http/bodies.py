"""The body of a request that Litestar has routed."""

from typing import Any

from litestar import Request

from service.http.exchange import exchange_of
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
