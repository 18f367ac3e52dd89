"""Server-sent events: their bytes, and the line on which they leave. Source: WHATWG HTML §9.2."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from router.errors import SlowReader
from service.requests import Send

HeaderPairs = list[tuple[bytes, bytes]]

KEEP_ALIVE: Final = b": keep-alive\n\n"
STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_ENCODER: Final = msgspec.json.Encoder()


def event(name: bytes, payload: Any) -> bytes:
    """One named event. JSON text has no line breaks, so it needs no more care."""
    return b"event: %b\ndata: %b\n\n" % (name, _ENCODER.encode(payload))


def data(payload: Any) -> bytes:
    """One event without a name."""
    return b"data: %b\n\n" % _ENCODER.encode(payload)


class EventLine:
    """One streamed response. Its headers leave with the first write; then a comment goes out in every long silence.

    headers: asked for when they leave. Writing waits while the client does not read, for reader_timeout_s at most. All
    writes come from one task. End it by `aclose`, always.
    """

    def __init__(
        self, send: Send, headers: Callable[[], HeaderPairs], *, keep_alive_s: float, reader_timeout_s: float
    ) -> None:
        self._send = send
        self._headers = headers
        self._keep_alive_s = keep_alive_s
        self._reader_timeout_s = reader_timeout_s
        self._loop = asyncio.get_running_loop()
        # Of the last write: when it began, if it still waits, else when it was done.
        self._since_s = 0.0
        self._writing: asyncio.Task[Any] | None = None
        self._has_given_up = False
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self.is_open = False

    async def write(self, events: bytes) -> None:
        """Send these events, whole, after all that was written before. Raises SlowReader; then they were not sent."""
        self._writing, self._since_s = asyncio.current_task(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(min(self._keep_alive_s, self._reader_timeout_s), self._tick)
        try:
            await self._write(events)
        except asyncio.CancelledError:
            assert self._writing is not None
            # The timer's, unless somebody else wants this task to end as well.
            if self._has_given_up and self._writing.uncancel() == 0:
                self._has_given_up = False
                raise SlowReader from None
            raise
        self._writing, self._since_s = None, self._loop.time()

    async def end(self) -> None:
        """Close the response: nothing follows."""
        await self.aclose()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def aclose(self) -> None:
        """Stop what runs by itself. Does not close the response."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._comment is not None and not self._comment.done():
            self._comment.cancel()
            await asyncio.wait((self._comment,))

    async def _write(self, events: bytes) -> None:
        if self._comment is not None and not self._comment.done():
            await self._comment
        if not self.is_open:
            await self._open()
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def _open(self) -> None:
        self.is_open = True
        headers = [*STREAM_HEADERS, *self._headers()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def _tick(self) -> None:
        """One timer a stream, which looks how long ago the last write was, for most streams end before it strikes."""
        since_s, is_busy = self._loop.time() - self._since_s, self._comment is not None and not self._comment.done()
        if self._writing is not None:
            wait_s = self._reader_timeout_s - since_s
            if wait_s <= 0:
                self._has_given_up = True
                self._writing.cancel()
                return
        elif is_busy or since_s < self._keep_alive_s:
            wait_s = self._keep_alive_s if is_busy else self._keep_alive_s - since_s
        else:
            self._comment = asyncio.create_task(self._send_comment())
            wait_s = self._keep_alive_s
        # A write may begin meanwhile.
        self._timer = self._loop.call_later(min(wait_s, self._reader_timeout_s), self._tick)

    async def _send_comment(self) -> None:
        await self._send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
        self._since_s = self._loop.time()
