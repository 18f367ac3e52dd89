"""How long a message is, in tokens: `POST /v1/messages/count_tokens`. Nobody pays for it; `x-farthing-count` says who
counted.
"""

from typing import Any, Final

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from service.anthropic.body import TokensBody, canonical
from service.asked import Asked
from service.http.bodies import call_asked_about
from service.http.pages import json_response
from service.parts import Parts
from service.strict_json import convert, decode_object

COUNTED_BY: Final = "x-farthing-count"


def token_count_handler(parts: Parts) -> HTTPRouteHandler:
    """It, bound to these parts."""

    @post("/v1/messages/count_tokens", status_code=200)
    async def count_tokens(request: Request[Any, Any, Any]) -> Response[bytes]:
        call = await call_asked_about(request, parts, _read)
        count = await parts.counts.count(call)
        return json_response({"input_tokens": count.tokens}, headers={COUNTED_BY: count.by})

    return count_tokens


def _read(raw: bytes) -> Asked:
    value = decode_object(raw)
    fields = convert(value, TokensBody)
    return Asked(model=fields.model, body=canonical(value), stream=False)
