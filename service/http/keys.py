"""API keys over HTTP, for admins: `/keys`."""

from collections.abc import Sequence
from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler

from service.auth.issuing import KeyWish, WrongWish, key_report, new_key
from service.auth.secret import new_secret, without_secrets
from service.http.bodies import body_of
from service.http.pages import json_response
from service.parts import Parts
from service.refusals import InvalidRequest, NotFound
from service.strict_json import convert, decode_object, refuse_unknown

AnyRequest = Request[Any, Any, Any]


def key_handlers(parts: Parts) -> Sequence[HTTPRouteHandler]:
    """All of them, bound to these parts."""

    @get("/keys")
    async def show() -> Response[bytes]:
        now_ms = parts.now_ms()
        return json_response({"keys": [key_report(key, now_ms) for key in await parts.keyring.keys()]})

    @post("/keys", status_code=200)
    async def create(request: AnyRequest) -> Response[bytes]:
        value = decode_object(await body_of(request, parts))
        refuse_unknown(value, KeyWish.__struct_fields__, "field")
        secret, now_ms = new_secret(), parts.now_ms()
        try:
            key = new_key(convert(value, KeyWish), secret, resolve=parts.catalog.resolve, now_ms=now_ms)
        except WrongWish as error:
            raise InvalidRequest(error.text, where=error.field) from error
        await parts.keyring.create(key, secret)
        return json_response({**key_report(key, now_ms), "secret": secret.text.decode("ascii")})

    @delete("/keys/{key_id:str}", status_code=200)
    async def revoke(request: AnyRequest) -> Response[bytes]:
        key_id = request.path_params["key_id"]
        key = await parts.keyring.revoke(key_id)
        if key is None:
            raise NotFound(f"key {without_secrets(key_id)!r}", listed_at="/keys")
        return json_response(key_report(key, parts.now_ms()))

    return show, create, revoke
