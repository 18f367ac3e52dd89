"""One request on one of aiohttp's pooled connections, past its client session, which costs twice as much as the rest.

Connections, their pool, TLS and the parser of answers are aiohttp's. What is left out is what no request here asks for:
redirects, cookies, proxies, middlewares, tracing, and a task that writes the body.
"""

import asyncio
import re
import select
from typing import Final

import aiohttp
from aiohttp import http_exceptions
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.streams import StreamReader
from yarl import URL

ORIGINS_KEPT: Final = 256
_NO_TIMER: Final = TimerNoop()
# What ends a header, or is no part of one.
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL_WITHIN_LINES: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
# Where the system can tell; elsewhere only a reset is seen, which is always reported.
_CLOSED_BY_THE_OTHER_SIDE: Final = getattr(select, "POLLRDHUP", 0)

Headers = list[tuple[bytes, bytes]]


class ClosedUnused(aiohttp.ClientError):
    """The server had closed the connection before a byte of the request was written."""


class NotHttp(aiohttp.ClientError):
    """What the server said is no HTTP."""


class Unsendable(Exception):
    """A header cannot be sent: it would end where it should not."""


class Answer:
    """A response whose headers are there. Its body is in `content`; done, its connection is free again."""

    def __init__(self, connection: Connection, status: int, raw_headers: Headers, content: StreamReader) -> None:
        self.status = status
        self.raw_headers = raw_headers
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
        # What the connector asks of a request is where it goes: one for all that go there.
        self._asking: dict[URL, ClientRequest] = {}

    async def send(
        self, method: str, url: URL, headers: Headers, body: bytes, *, timeout: aiohttp.ClientTimeout
    ) -> Answer:
        """The answer, as soon as its headers are there. timeout: for a connection; after that, time is the caller's.

        Raises what aiohttp's session raises, ClosedUnused, NotHttp, and Unsendable before anything is sent.
        """
        asking = self._request_to(url)
        data = _head(method, asking, headers, body) + body
        try:
            connection = await self._connector.connect(asking, traces=[], timeout=timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {url}") from error
        try:
            return await _exchange(connection, data)
        except BaseException:
            connection.close()
            raise

    def _request_to(self, url: URL) -> ClientRequest:
        asking = self._asking.get(url)
        if asking is None:
            if len(self._asking) >= ORIGINS_KEPT:
                self._asking.clear()
            asking = self._asking[url] = ClientRequest("GET", url, loop=self._loop, session=self._session)
        return asking


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
            return Answer(connection, message.code, list(message.raw_headers), content)


def is_closed(connection: Connection) -> bool:
    """Whether the other side has closed the connection, which the loop may not have heard yet."""
    transport = connection.transport
    if transport is None or transport.is_closing():
        return True
    descriptor = transport.get_extra_info("socket").fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, _CLOSED_BY_THE_OTHER_SIDE)
    return bool(poll.poll(0))


def is_sendable(name: bytes, value: bytes) -> bool:
    """Whether a header ends where it should."""
    return _is_name(name) and not _CONTROL.search(name) and not _CONTROL.search(value)


def _head(method: str, asking: ClientRequest, headers: Headers, body: bytes) -> bytes:
    """The request line and its headers. Host and content-length are told here, unless the headers have their own."""
    names = {name.lower() for name, _ in headers}
    lines = [f"{method} {asking.url.raw_path_qs} HTTP/1.1".encode("ascii")]
    if b"host" not in names:
        lines.append(b"Host: " + asking.headers["Host"].encode("ascii"))
    lines += [b"%b: %b" % header for header in headers]
    if b"content-length" not in names and (body or method not in ClientRequest.GET_METHODS):
        lines.append(b"Content-Length: %d" % len(body))
    head = b"\n".join(lines)
    # All at once: a header that can be sent has no line of its own.
    if head.count(b"\n") >= len(lines) or _CONTROL_WITHIN_LINES.search(head) or not all(map(_is_name, names)):
        raise Unsendable
    return head.replace(b"\n", b"\r\n") + b"\r\n\r\n"


def _is_name(name: bytes) -> bool:
    return name.isascii() and b":" not in name
