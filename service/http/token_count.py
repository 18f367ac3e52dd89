"""How long a message is, in tokens: `POST /v1/messages/count_tokens`. Nobody pays for it; `x-farthing-count` says who
counted.
"""

from typing import Any, Final

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from router.large import aside
from service.anthropic.body import TokensBody, canonical
from service.asked import Asked, build_call
from service.http.bodies import body_of
from service.http.exchange import exchange_of
from service.http.pages import json_response
from service.ids import new_generation_id
from service.parts import Parts
from service.strict_json import convert, decode_object

COUNTED_BY: Final = "x-farthing-count"


def token_count_handler(parts: Parts) -> HTTPRouteHandler:
    """It, bound to these parts."""

    @post("/v1/messages/count_tokens", status_code=200)
    async def count_tokens(request: Request[Any, Any, Any]) -> Response[bytes]:
        exchange = exchange_of(request.scope)
        raw = await body_of(request, parts)
        asked = await aside(lambda: _read(raw), size=len(raw))
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
        count = await parts.counts.count(call)
        return json_response({"input_tokens": count.tokens}, headers={COUNTED_BY: count.by})

    return count_tokens


def _read(raw: bytes) -> Asked:
    value = decode_object(raw)
    fields = convert(value, TokensBody)
    return Asked(model=fields.model, body=canonical(value), stream=False)
