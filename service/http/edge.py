"""The outermost application: every request passes the guards, and every one is told to telemetry when it is over."""

from collections.abc import Mapping
from typing import Any

from ledger.errors import LedgerError
from service.auth.callers import ANONYMOUS, Caller
from service.guards import check_host
from service.http.access import is_anyones
from service.http.exchange import Exchange
from service.http.generation import GenerationApp
from service.parts import Parts
from service.refusals import Refusal
from service.requests import Receive, Send


class Edge:
    """Wraps Litestar's router, whose own middleware sees no request that matches no route.

    direct: {path: the application that answers a POST there}. They are Litestar's routes too, for its document and its
    405s, but a look into this table costs a call a tenth of what its routing does.
    """

    def __init__(self, app: Any, parts: Parts, direct: Mapping[str, GenerationApp]) -> None:
        self._app = app
        self._parts = parts
        self._direct = direct

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send, self._parts)
        if scope["method"] == "HEAD":
            # RFC 9110 §9.3.2: as GET, without the body, which the exchange leaves out.
            scope["method"] = "GET"
        try:
            direct = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
            exchange.caller = await self._caller(exchange, admits=direct is not None)
            if direct is None:
                await self._app(scope, receive, exchange.send)
            else:
                scope["path_template"] = scope["path"]
                await direct(scope, receive, exchange.send)
        except (Refusal, LedgerError) as error:
            await exchange.refuse(error, exchange.send)
        except Exception as error:
            if exchange.status:
                raise
            await exchange.refuse(error, exchange.send)
        finally:
            exchange.count()
            if exchange.is_traced:
                self._parts.telemetry.record(exchange.facts())
            exchange.close()

    async def _caller(self, exchange: Exchange, *, admits: bool) -> Caller:
        """As whom to answer it. admits: the ledger will be asked whether the caller's key is still in force.

        Raises Unauthenticated, and Forbidden for whoever has no key and asks from elsewhere.
        """
        keyring, caller = self._parts.keyring, ANONYMOUS
        if admits or not is_anyones(exchange.path):
            caller = await keyring.caller(exchange.headers, afresh=not admits)
        if caller.is_anonymous and not keyring.are_needed:
            check_host(exchange.headers, self._parts.host)
        return caller
