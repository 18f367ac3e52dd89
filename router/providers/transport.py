"""The way out: httpx's transport interface over aiohttp's connection pool.

httpx's own pool costs five times the CPU and was found dead after some thousand cancels; aiohttp's is sound. What is
added here is the exact translation of errors, on which money depends: httpx.ConnectError, ConnectTimeout,
LocalProtocolError and UnsupportedProtocol prove that no byte of the request left this machine; every other error means
that it may have been sent. Source: DESIGN §9.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from typing import Final, Self

import aiohttp
import httpx
from aiohttp.connector import Connection
from yarl import URL

from router.providers.direct import (
    CLOSES_AFTER_STREAMS,
    ORIGINS_KEPT,
    Answer,
    ClosedUnused,
    FixedHeaders,
    Headers,
    Sender,
    Unsendable,
    is_closed,
    is_sendable,
    next_chunk,
)
from router.providers.failures import translated
from router.providers.long_body import LongBody

# Common servers close an idle connection after 5 s. Ours goes first, so that a request seldom meets a closed one.
KEEPALIVE_S: Final = 4.0
DNS_TTL_S: Final = 30
# Where the system can: unacknowledged bytes end the connection after this long, so that one that is being closed does
# not linger because its other side stopped reading.
UNACKNOWLEDGED_MS: Final = 30_000
# What is longer is written piece by piece.
PIECEWISE_BYTES: Final = 2**20
_IDENTITY: Final = (b"Accept-Encoding", b"identity")
# All headers are the caller's own.
NO_AUTOMATIC_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends a request and hands back the response as soon as its headers are there; its body is raw chunks.

    No redirects, no cookies, no proxies from the environment, no decompression: `Accept-Encoding: identity` is sent. A
    request's extension "proxy" is the http:// address of one for it: asked to connect to an https:// server, whose
    certificate is checked as ever, and to pass on what is for an http:// one. Of httpx's timeouts only "connect" is
    kept, for everything up to a usable connection; after that, time is the caller's.
    Cancelling a request, or closing a response before its end, closes its connection: it never goes back to the pool.
    `send` is what httpx's interface is put around: the same without its requests and responses, which cost a small call
    more than its connection does, and with headers that were looked at before.

    A pooled connection that the server has closed when it is taken is not written to: the request goes out on another
    one, once. Closed a moment later, it looks like any other that closed after the request was sent, and is reported as
    such: nothing proves that the server did not read it.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._sender = Sender(session)
        # {as httpx has it: as aiohttp does}.
        self._urls: dict[str, URL] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.TransportError only; the module's text says which kinds prove that nothing was sent."""
        response = await self.send(
            request.method,
            str(request.url),
            fixed_headers(request.headers.raw),
            (),
            await request.aread(),
            connect_s=request.extensions.get("timeout", {}).get("connect"),
            proxy=request.extensions.get("proxy"),
        )
        headers = response.raw_headers
        return httpx.Response(response.status_code, headers=headers, stream=response, request=request)

    async def send(
        self,
        method: str,
        url: str,
        fixed: FixedHeaders,
        own: Headers,
        body: bytes,
        *,
        connect_s: float | None,
        proxy: str | None = None,
    ) -> "Response":
        """As `handle_async_request`. url: as httpx writes it. fixed: of `fixed_headers`. connect_s None: no limit.

        own: headers of this request alone, neither Host, nor Content-Length, nor Accept-Encoding.
        """
        if self._session.closed:
            raise httpx.ConnectError("the transport is closed")
        place, timeout = self._url(url), _timeout(connect_s)
        try:
            try:
                answer = await self._send(method, place, fixed, own, body, timeout=timeout, proxy=proxy)
            except ClosedUnused:
                # The loop now hears of all that were closed with it, and drops them.
                await asyncio.sleep(0)
                answer = await self._send(method, place, fixed, own, body, timeout=timeout, proxy=proxy)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translated(error) from error
        return Response(answer)

    async def _send(
        self,
        method: str,
        url: URL,
        fixed: FixedHeaders,
        own: Headers,
        body: bytes,
        *,
        timeout: aiohttp.ClientTimeout,
        proxy: str | None,
    ) -> Answer | aiohttp.ClientResponse:
        if proxy is None and len(body) <= PIECEWISE_BYTES:
            try:
                return await self._sender.send(method, url, fixed, own, body, timeout=timeout)
            except Unsendable as error:
                raise httpx.LocalProtocolError("a header cannot be sent") from error
        return await self._session.request(
            method,
            url,
            data=LongBody(body) if len(body) > PIECEWISE_BYTES else body or None,
            headers=_texts([*fixed.pairs, *own]),
            skip_auto_headers=NO_AUTOMATIC_HEADERS,
            allow_redirects=False,
            timeout=timeout,
            proxy=proxy,
        )

    def _url(self, text: str) -> URL:
        url = self._urls.get(text)
        if url is None:
            if len(self._urls) >= ORIGINS_KEPT:
                self._urls.clear()
            url = self._urls[text] = _checked(text)
        return url


def fixed_headers(pairs: Headers) -> FixedHeaders:
    """These headers for `AiohttpTransport.send`, which lets no answer be compressed."""
    return FixedHeaders([_IDENTITY, *(header for header in pairs if header[0].lower() != b"accept-encoding")])


class _Request(aiohttp.ClientRequest):
    """Looks at its connection before it writes."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Raises ClosedUnused; then aiohttp closes the connection."""
        if is_closed(conn):
            raise ClosedUnused
        return await super().send(conn)


class _Answer(aiohttp.ClientResponse):
    """Does not give a connection back that its server is about to close."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        await super().start(connection)
        if "Content-Length" not in self.headers and self.headers.get("Server") == CLOSES_AFTER_STREAMS:
            assert connection.protocol is not None
            connection.protocol.force_close()
        return self


class Response(httpx.AsyncByteStream):
    """One response, and its own body: chunks as they come, raw.

    Done, its connection is free again; closed early, it is gone. headers: whatever the case of a name; of those that
    come twice, the first.
    """

    def __init__(self, answer: Answer | aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._content = answer.content
        self.status_code = answer.status
        self.headers: Mapping[str, str] = answer.headers

    @property
    def stream(self) -> Self:
        """As httpx's have one."""
        return self

    @property
    def raw_headers(self) -> Headers:
        """All of them as they came."""
        return self._answer.raw_headers

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await next_chunk(self._content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translated(error) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """A body that came whole has given its connection back already."""
        if not self._answer.closed:
            self._answer.close()


@asynccontextmanager
async def open_transport(*, limit: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[AiohttpTransport]:
    """A transport with at most `limit` connections open at once; a request beyond them waits as if for its connection.

    tls None: certificates are checked against the system's authorities, else those that httpx brings.
    """
    connector = aiohttp.TCPConnector(
        limit=limit,
        keepalive_timeout=KEEPALIVE_S,
        ttl_dns_cache=DNS_TTL_S,
        ssl=tls or _usual_tls(),
        socket_factory=_socket,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        request_class=_Request,
        response_class=_Answer,
        auto_decompress=False,
    ) as session:
        yield AiohttpTransport(session)


def _usual_tls() -> ssl.SSLContext | bool:
    """True: as aiohttp has it, by the system's authorities, which it read when it was loaded: that takes 50 ms."""
    paths = ssl.get_default_verify_paths()
    return True if paths.cafile or paths.capath else _brought_tls()


@cache
def _brought_tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return made


@lru_cache(maxsize=64)
def _timeout(connect_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=None, sock_read=None)


def _checked(text: str) -> URL:
    try:
        url = URL(text, encoded=True)
    except ValueError as error:
        raise httpx.LocalProtocolError("the URL is not valid") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise httpx.UnsupportedProtocol("the URL is not one of http or https with a host")
    return url


def _texts(headers: Headers) -> list[tuple[str, str]]:
    """Headers as aiohttp's session takes them."""
    if not is_sendable(headers):
        raise httpx.LocalProtocolError("a header cannot be sent")
    return [(name.decode("ascii"), value.decode("utf-8", "replace")) for name, value in headers]
