"""One request on one of aiohttp's pooled connections, past its client session, which costs twice as much as the rest.

Connections, their pool, TLS and the parser of answers are aiohttp's. What is left out is what no request here asks for:
redirects, cookies, proxies, middlewares, tracing, and a task that writes the body.
"""

import asyncio
import ctypes
import re
import select
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
from aiohttp import http_exceptions
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.hdrs import SERVER
from aiohttp.helpers import TimerNoop
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

ORIGINS_KEPT: Final = 256
# Whose server ends a stream and closes the connection a moment later, without having said so. Who used it again at once
# would meet its end, in one case of twenty; its promise (`Keep-Alive: timeout=5`) holds for whole answers alone.
CLOSES_AFTER_STREAMS: Final = "llama.cpp"
_NO_TIMER: Final = TimerNoop()
# One header's line. Neither side has what would end it: a name a colon, either any control character but a tab.
_LINE: Final = rb"[^:\x00-\x08\x0a-\x1f\x7f-\xff]*: [^\x00-\x08\x0a-\x1f\x7f]*"
_LINES: Final = re.compile(rb"%b(?:\n%b)*" % (_LINE, _LINE))
# Where the system can tell; elsewhere only a reset is seen, which is always reported.
_CLOSED_BY_THE_OTHER_SIDE: Final = getattr(select, "POLLRDHUP", 0)
# The system's own, asked while the interpreter is held: it returns at once, but `select.poll` lets go of the
# interpreter for it, and to get that back from the ledger's thread takes a call longer than all of `is_closed`.
_poll: Final = ctypes.PyDLL(None).poll

Headers = Sequence[tuple[bytes, bytes]]


class ClosedUnused(aiohttp.ClientError):
    """The server had closed the connection before a byte of the request was written."""


class NotHttp(aiohttp.ClientError):
    """What the server said is no HTTP."""


class Unsendable(Exception):
    """A header cannot be sent: it would end where it should not."""


class FixedHeaders:
    """Headers that many requests have, put together and looked at once. lines None: they cannot be sent.

    pairs: they, as they came.
    """

    __slots__ = ("has_host", "has_length", "lines", "pairs")

    def __init__(self, pairs: Headers) -> None:
        self.pairs = pairs
        self.lines = _sendable_lines(pairs)
        names = {name.lower() for name, _ in pairs}
        self.has_host, self.has_length = b"host" in names, b"content-length" in names


class Answer:
    """A response whose headers are there. Its body is in `content`; done, its connection is free again."""

    __slots__ = ("_connection", "content", "headers", "raw_headers", "status")

    def __init__(self, connection: Connection, message: RawResponseMessage, content: StreamReader) -> None:
        self.status = message.code
        self.headers: Mapping[str, str] = message.headers
        self.raw_headers = message.raw_headers
        self.content = content
        self._connection: Connection | None = connection
        content.on_eof(self._done)

    @property
    def closed(self) -> bool:
        """Whether it has let go of its connection."""
        return self._connection is None

    def close(self) -> None:
        """Close the connection, whatever was still to come."""
        if self._connection is not None:
            if self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
            self._connection.close()
            self._connection = None

    def _done(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is None or transport.get_write_buffer_size():
            # It answered before it had read all: what is left of this request must not begin the next one.
            connection.close()
        else:
            connection.release()


class Sender:
    """Requests over one connector. Bodies are written in one piece."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        assert session.connector is not None
        self._session = session
        self._connector = session.connector
        self._loop = asyncio.get_running_loop()
        self._places: dict[tuple[str, URL], _Place] = {}

    async def send(
        self,
        method: str,
        url: URL,
        fixed: FixedHeaders,
        own: Headers,
        body: bytes,
        *,
        timeout: aiohttp.ClientTimeout,
    ) -> Answer:
        """The answer, as soon as its headers are there. timeout: for a connection; after that, time is the caller's.

        own: headers of this request alone, neither Host nor Content-Length.

        Raises what aiohttp's session raises, ClosedUnused, NotHttp, and Unsendable before anything is sent.
        """
        place = self._place(method, url)
        data = _head(place, fixed, own, body) + body
        try:
            connection = await self._connector.connect(place.asking, traces=[], timeout=timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {url}") from error
        try:
            return await _exchange(connection, data)
        except BaseException:
            connection.close()
            raise

    def _place(self, method: str, url: URL) -> "_Place":
        place = self._places.get((method, url))
        if place is None:
            if len(self._places) >= ORIGINS_KEPT:
                self._places.clear()
            asking = ClientRequest("GET", url, loop=self._loop, session=self._session)
            place = self._places[method, url] = _Place(method, asking)
        return place


class _Place:
    """Where requests of one kind go. asking: what the connector wants to know of that, one for all of them."""

    def __init__(self, method: str, asking: ClientRequest) -> None:
        self.asking = asking
        self.request_line = f"{method} {asking.url.raw_path_qs} HTTP/1.1\r\n".encode("ascii")
        self.host_line = b"Host: " + asking.headers["Host"].encode("ascii") + b"\r\n"
        self.has_body = method not in ClientRequest.GET_METHODS


async def _exchange(connection: Connection, data: bytes) -> Answer:
    if is_closed(connection):
        raise ClosedUnused
    protocol, transport = connection.protocol, connection.transport
    assert protocol is not None
    assert transport is not None
    protocol.set_response_params(timer=_NO_TIMER, read_until_eof=True, auto_decompress=False)
    transport.write(data)
    while True:
        try:
            message, content = await protocol.read()
        except http_exceptions.HttpProcessingError as error:
            raise NotHttp from error
        if not 100 <= message.code <= 199 or message.code == 101:
            if message.chunked and message.headers.get(SERVER) == CLOSES_AFTER_STREAMS:
                protocol.force_close()
            return Answer(connection, message, content)


async def next_chunk(content: StreamReader) -> bytes:
    """All of a body that has come since the last time, once some has. Empty: that was all.

    aiohttp's own `readany` looks after each piece whether to read on, in which its parser takes part each time.
    """
    if (error := content.exception()) is not None:
        raise error
    if content.at_eof():
        return b""
    pieces = content._buffer  # noqa: SLF001
    while not pieces and not content.is_eof():
        await content._wait("next_chunk")  # noqa: SLF001
    joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if not content.is_eof():
        pieces.clear()
        pieces.append(joined)
        return content.read_nowait()
    pieces.clear()
    return joined


def is_closed(connection: Connection) -> bool:
    """Whether the other side has closed the connection, which the loop may not have heard yet."""
    transport = connection.transport
    if transport is None or transport.is_closing():
        return True
    descriptor = transport.get_extra_info("socket").fileno()
    if descriptor < 0:
        return True
    asked = _Polled(descriptor, _CLOSED_BY_THE_OTHER_SIDE, 0)
    return bool(_poll(ctypes.byref(asked), 1, 0))


class _Polled(ctypes.Structure):
    """`struct pollfd`, POSIX."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


_poll.argtypes = (ctypes.POINTER(_Polled), ctypes.c_ulong, ctypes.c_int)


def is_sendable(headers: Headers) -> bool:
    """Whether each of these headers ends where it should."""
    return _sendable_lines(headers) is not None


def _sendable_lines(headers: Headers) -> bytes | None:
    """Their lines, each with its end. None: one would end where it should not."""
    if not headers:
        return b""
    lines = b"\n".join([b"%b: %b" % header for header in headers])
    if lines.count(b"\n") != len(headers) - 1 or _LINES.fullmatch(lines) is None:
        return None
    return lines.replace(b"\n", b"\r\n") + b"\r\n"


def _head(place: _Place, fixed: FixedHeaders, own: Headers, body: bytes) -> bytes:
    """The request line and its headers. Host and content-length are told here, unless the headers have their own."""
    fixed_lines, own_lines = fixed.lines, _sendable_lines(own)
    if fixed_lines is None or own_lines is None:
        raise Unsendable
    host = b"" if fixed.has_host else place.host_line
    length = b""
    if (body or place.has_body) and not fixed.has_length:
        length = b"Content-Length: %d\r\n" % len(body)
    return b"%b%b%b%b%b\r\n" % (place.request_line, host, fixed_lines, own_lines, length)
