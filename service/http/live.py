"""`GET /live`: calls as they come and go, as server-sent events; the newest ones as JSON, for whoever asks for that."""

import asyncio
from typing import Any, Final, cast

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from ledger.errors import LedgerError
from router.errors import SlowReader
from service.disconnect import while_connected
from service.http.exchange import Exchange, exchange_of
from service.live.board import LiveListener
from service.parts import Parts
from service.refusals import Refusal
from service.requests import CallerGone, Receive, Send
from service.sse import EventLine, event

EVENT_STREAM: Final = b"text/event-stream"
NO_STORE: Final = (b"cache-control", b"no-store")
# For a browser's EventSource, once the connection ends.
_BEGINNING: Final = b"retry: 2000\n\n"


def live_handler(parts: Parts) -> HTTPRouteHandler:
    """The handler, bound to these parts."""
    # Litestar spells out every ASGI message in its types; ours are loose.
    app = cast("ASGIApp", LiveApp(parts))

    @get("/live")
    async def live() -> ASGIApp:
        return app

    return live


class LiveApp:
    """Answers whoever listens, until they leave, are too slow, may listen no more, or the process drains.

    Events are `call`, with what is known of one call by now: newer ones replace older ones of the same id. What is on
    record comes first, again after each reconnection, so that nothing needs `Last-Event-ID`. The last event is `end`,
    with the reason as `code`.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        exchange, limits = exchange_of(scope), self._parts.limits
        if EVENT_STREAM not in exchange.headers.get(b"accept", b""):
            calls = {"calls": await self._parts.reports.latest_calls()}
            await exchange.answer(msgspec.json.encode(calls), [NO_STORE])
            return
        line = EventLine(
            send, exchange.id_headers, keep_alive_s=limits.keep_alive_s, reader_timeout_s=limits.reader_timeout_s
        )
        with self._parts.live.listening() as listener:
            try:
                await while_connected(self._tell(exchange, listener, line), receive)
            except CallerGone:
                exchange.caller_left()
            except SlowReader as error:
                exchange.error_code = error.code
            finally:
                await line.aclose()

    async def _tell(self, exchange: Exchange, listener: LiveListener, line: EventLine) -> None:
        await line.write(_BEGINNING)
        loop, check_s = asyncio.get_running_loop(), self._parts.limits.live_check_s
        check_at_s = loop.time() + check_s
        while not listener.ended_by:
            told = await listener.next(within_s=check_s)
            if told:
                await line.write(told)
            if loop.time() >= check_at_s:
                check_at_s = loop.time() + check_s
                await self._check(exchange, listener)
        await line.write(event(b"end", {"code": listener.ended_by}))
        await line.end()

    async def _check(self, exchange: Exchange, listener: LiveListener) -> None:
        """Ask again whose key it is: who holds one that was revoked meanwhile hears no more."""
        try:
            caller = await self._parts.keyring.caller(exchange.headers, afresh=True)
        except (Refusal, LedgerError) as error:
            listener.end(exchange.problem(error)[0].code)
        else:
            if not caller.may("reader"):
                listener.end("forbidden")
