"""The outermost application: every request passes the guards, and every one is told to telemetry when it is over."""

from typing import Any

from service.guards import check_host, check_key
from service.http.exchange import Exchange
from service.parts import Parts
from service.refusals import Refusal
from service.requests import Receive, Send

_ANYONES = ("/health", "/schema")


class Edge:
    """Wraps Litestar's router, whose own middleware sees no request that matches no route."""

    def __init__(self, app: Any, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send, self._parts)
        if scope["method"] == "HEAD":
            # RFC 9110 §9.3.2: as GET, without the body, which the exchange leaves out.
            scope["method"] = "GET"
        try:
            check_host(exchange.headers, self._parts.host)
            if not scope["path"].startswith(_ANYONES):
                check_key(exchange.headers)
            await self._app(scope, receive, exchange.send)
        except Refusal as error:
            await exchange.refuse(error, exchange.send)
        finally:
            if exchange.is_traced:
                self._parts.telemetry.record(exchange.facts())
