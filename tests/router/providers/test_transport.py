"""The transport: what its errors prove, that its pool survives cancels, and that it adds nothing to a request."""

import asyncio
import random
import re
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import httpx
import pytest

from router.providers.transport import AiohttpTransport, fixed_headers, open_transport
from tests.certificates import NEEDS_OPENSSL, a_certificate
from tests.proxy import a_proxy
from tests.upstream import (
    Connection,
    Request,
    Script,
    ScriptedUpstream,
    answer,
    close_after_request,
    half_body,
    half_headers,
    hang,
    hang_after_headers,
    raw,
    redirect,
    reset_after_request,
    scripted_upstream,
    stream,
)

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.LocalProtocolError)
EVENTS = {"model": "m", "stream": True}


@asynccontextmanager
async def both() -> AsyncIterator[tuple[ScriptedUpstream, AiohttpTransport]]:
    async with scripted_upstream() as upstream, open_transport(limit=100) as transport:
        yield upstream, transport


async def post(transport: AiohttpTransport, url: str, body: object = None, **extensions: object) -> bytes:
    request = httpx.Request("POST", url + "/chat/completions", json=body or {"model": "m"}, extensions=extensions)
    response = await transport.handle_async_request(request)
    try:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()


async def test_answers_come_whole_over_one_connection() -> None:
    async with both() as (upstream, transport):
        for _ in range(3):
            assert b"Hello" in await post(transport, upstream.url, {"model": "m", "messages": [{"content": "Hello"}]})
        assert upstream.connections_made == 1


class Server:
    """Answers one request on each connection, and closes them without the loop's help, from one line to the next."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/v1"
        self.accepted: list[socket.socket] = []
        self.requests = 0
        self.received = b""

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                accepted, _ = await asyncio.get_running_loop().sock_accept(self.listening)
                self.accepted.append(accepted)
                tasks.create_task(self.answer(accepted))

    async def answer(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        received = b""
        while not received.endswith(b"}"):
            received += await loop.sock_recv(accepted, 100_000)
        self.received = received
        self.requests += 1
        await loop.sock_sendall(accepted, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    def close_all(self) -> None:
        for accepted in self.accepted:
            accepted.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[AiohttpTransport]:
        serving = asyncio.create_task(self.serve())
        try:
            async with open_transport(limit=10) as transport:
                yield transport
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            self.close_all()
            self.listening.close()


@pytest.mark.parametrize("pooled", [1, 5])
async def test_pooled_connections_that_the_server_closed_are_not_written_to_and_a_new_one_is_made(pooled: int) -> None:
    server = Server()
    async with server.serving() as transport:
        answers = await asyncio.gather(*(post(transport, server.url) for _ in range(pooled)))
        assert (answers, len(server.accepted)) == ([b"hi"] * pooled, pooled)
        for number in (1, 2):
            # Nothing lets the loop hear of it before the next request is written.
            server.close_all()
            assert await post(transport, server.url) == b"hi"
            assert len(server.accepted) == server.requests == pooled + number


STREAMED = b"transfer-encoding: chunked\r\n\r\n"
LLAMA, OTHER, LAST_CHUNK = b"Server: llama.cpp\r\n", b"Server: other\r\n", b"0\r\n\r\n"


@pytest.mark.parametrize("bytes_sent", [10, 2**21])
@pytest.mark.parametrize(
    ("headers", "body", "connections"),
    [
        (LLAMA + STREAMED, b"2\r\nhi\r\n", 3),
        (LLAMA + b"content-length: 2\r\n\r\n", b"hi", 1),
        (OTHER + STREAMED, b"2\r\nhi\r\n", 1),
    ],
)
async def test_a_connection_that_its_server_closes_unsaid_after_a_stream_is_not_used_again(
    headers: bytes, body: bytes, connections: int, bytes_sent: int
) -> None:
    async def script(connection: Connection, request: Request) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\n" + headers + body)
        if headers.endswith(STREAMED):
            await heard.wait()
            await connection.send(LAST_CHUNK)

    async with both() as (upstream, transport):
        for _ in range(3):
            heard = asyncio.Event()
            upstream.plays(script)
            request = httpx.Request("POST", upstream.url + "/chat/completions", json={"model": "m" * bytes_sent})
            response = await transport.handle_async_request(request)
            heard.set()
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert [chunk async for chunk in response.stream] == [b"hi"]
            await response.aclose()
        assert upstream.connections_made == connections


async def test_a_body_larger_than_a_megabyte_arrives_as_it_left() -> None:
    async with both() as (upstream, transport):
        body = {"model": "m", "messages": [{"content": "x" * 3_000_000}]}
        await post(transport, upstream.url, body)
        assert upstream.requests[0].body == body


async def test_no_copy_is_made_of_a_long_body() -> None:
    # By a server of its own, which keeps nothing of what it reads.
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        while left:
            left -= len(await reader.read(65_536))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    body = b"x" * 10_000_000
    async with server, open_transport(limit=1) as transport:
        tracemalloc.start()
        try:
            response = await transport.send("POST", url, fixed_headers([]), [], body, connect_s=None)
            assert [chunk async for chunk in response] == [b"hi"]
            assert tracemalloc.get_traced_memory()[1] < len(body) / 2
        finally:
            tracemalloc.stop()


async def test_a_request_has_the_callers_headers_and_no_others() -> None:
    async with both() as (upstream, transport):
        await post(transport, upstream.url)
        assert set(upstream.requests[0].headers) == {"host", "content-type", "content-length", "accept-encoding"}
        assert upstream.requests[0].headers["accept-encoding"] == "identity"


async def test_a_compressed_body_comes_as_it_is() -> None:
    async with both() as (upstream, transport):
        upstream.plays(raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"))
        assert await post(transport, upstream.url) == b"\x1f\x8b\x08\x00"


async def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    async with both() as (upstream, transport), scripted_upstream() as elsewhere:
        cookie = raw(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n", then="keep")
        upstream.plays(*(redirect(elsewhere.url, code) for code in (301, 302, 303, 307, 308)), cookie)
        for _ in range(7):
            await post(transport, upstream.url)
        assert elsewhere.connections_made == 0
        assert "cookie" not in upstream.requests[-1].headers


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with both() as (upstream, transport), scripted_upstream() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await post(transport, upstream.url)
        assert (len(upstream.requests), proxy.connections_made) == (1, 0)


async def test_a_proxy_passes_on_what_is_in_plain_text_and_is_told_what_it_wants_to_hear() -> None:
    async with both() as (upstream, transport), a_proxy() as proxy:
        with_user = proxy.url.replace("http://", "http://me:hunter2@")
        assert b"Hello" in await post(transport, upstream.url, {"messages": [{"content": "Hello"}]}, proxy=with_user)
        (head,) = proxy.heads
        assert head.startswith(f"POST {upstream.url}/chat/completions HTTP/1.1")
        assert "proxy-authorization: basic bwu6ahvudgvymg==" in head.lower()
        # Without it, the same server is asked directly: no connection is taken for another.
        await post(transport, upstream.url)
        assert len(proxy.heads) == 1


@NEEDS_OPENSSL
async def test_a_proxy_connects_to_a_server_of_https_and_hears_nothing_of_the_call(tmp_path: Path) -> None:
    tls, certificate = a_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        tls_port(PlainTalker, tls) as url,
        a_proxy() as proxy,
        open_transport(limit=10, tls=trusting) as transport,
    ):
        request = httpx.Request("POST", url, headers={"authorization": "Bearer sk-1"}, extensions={"proxy": proxy.url})
        response = await transport.handle_async_request(request)
        await response.aclose()
        assert response.status_code == 400  # Its own word.
        (head,) = proxy.heads
        assert head.startswith("CONNECT 127.0.0.1:")
        assert "sk-1" not in head
    async with tls_port(PlainTalker, tls) as url, a_proxy() as proxy, open_transport(limit=10) as transport:
        # A proxy vouches for nobody.
        with pytest.raises(httpx.ConnectError):
            await post(transport, url, proxy=proxy.url)


@NEEDS_OPENSSL
async def test_a_server_of_https_is_asked_if_somebody_vouches_for_it(tmp_path: Path) -> None:
    tls, certificate = a_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)
    async with tls_port(PlainTalker, tls) as url, open_transport(limit=10, tls=trusting) as transport:
        response = await transport.handle_async_request(httpx.Request("POST", url))
        await response.aclose()
        assert response.status_code == 400


async def test_a_proxy_that_connects_to_nobody_proves_that_nothing_was_sent() -> None:
    async with open_transport(limit=10) as transport, a_proxy() as proxy:
        proxy.refuses = True
        with pytest.raises(httpx.ConnectError, match="did not connect"):
            await post(transport, "https://127.0.0.1:9/v1", proxy=proxy.url)
        with pytest.raises(httpx.ConnectError):
            await post(transport, "https://127.0.0.1:9/v1", proxy=refusing_url().removesuffix("/v1"))


def refusing_url() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    async with open_transport(limit=10) as transport:
        # Callers are told, who need not know what stands where behind us.
        with pytest.raises(httpx.ConnectError, match=r"^cannot connect: connection refused$"):
            await post(transport, refusing_url())


async def test_an_unknown_name_proves_that_nothing_was_sent() -> None:
    async with open_transport(limit=10) as transport:
        with pytest.raises(httpx.ConnectError, match=r"^cannot connect: its name leads to no address$"):
            await post(transport, "http://nobody.invalid/v1")


class PlainTalker(asyncio.Protocol):
    """Answers a TLS greeting in plain words."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


class Silent(asyncio.Protocol):
    """Takes what comes and says nothing."""


@asynccontextmanager
async def tls_port(protocol: type[asyncio.Protocol], tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def test_a_failed_tls_handshake_proves_that_nothing_was_sent() -> None:
    async with tls_port(PlainTalker) as url, open_transport(limit=10) as transport:
        with pytest.raises(httpx.ConnectError):
            await post(transport, url)


@NEEDS_OPENSSL
async def test_a_certificate_nobody_vouches_for_proves_that_nothing_was_sent(tmp_path: Path) -> None:
    tls, certificate = a_certificate(tmp_path)
    async with tls_port(PlainTalker, tls) as url:
        async with open_transport(limit=10) as transport:
            with pytest.raises(httpx.ConnectError, match=r"^cannot connect: its certificate is not trusted$"):
                await post(transport, url)
        async with open_transport(limit=10, tls=ssl.create_default_context(cafile=certificate)) as transport:
            assert await post(transport, url) == b""


async def test_a_handshake_that_does_not_end_is_a_connect_timeout() -> None:
    async with tls_port(Silent) as url, open_transport(limit=10) as transport:
        with pytest.raises(httpx.ConnectTimeout):
            await post(transport, url, timeout={"connect": 0.05})


CUT_SHORT = [
    (b"x-a", b"1\r\nx-b: 2"),
    (b"x-a", b"1\nx-b: 2"),
    (b"x-a\nx-b", b"1"),
    (b"x-a: 1\nx-b", b"2"),
    (b"x:a", b"1"),
]
NO_HEADERS = [(b"x\xe4", b"1"), (b"x\0", b"1"), (b"x-a", b"\x7f"), (b"x-a", b"1\r")]


async def test_a_line_break_in_a_header_never_leaves() -> None:
    async with both() as (upstream, transport):
        for header in (*CUT_SHORT, *NO_HEADERS):
            request = httpx.Request("POST", upstream.url, headers=[header, (b"x-c", b"3")], content=b"{}")
            with pytest.raises(httpx.LocalProtocolError):
                await transport.handle_async_request(request)
            with pytest.raises(httpx.LocalProtocolError):
                await transport.send("POST", upstream.url, fixed_headers([]), [header], b"{}", connect_s=None)
        assert upstream.connections_made == 0


async def test_a_tab_and_what_is_no_ascii_in_a_headers_value_and_a_host_of_its_own_leave_as_they_are() -> None:
    server = Server()
    async with server.serving() as transport:
        headers, own = fixed_headers([(b"x-a", b"\xc3\xa4:\tb"), (b"hoST", b"elsewhere")]), [(b"x-empty", b"")]
        response = await transport.send("POST", server.url, headers, own, b"{}", connect_s=None)
        assert [chunk async for chunk in response] == [b"hi"]
        told = b"Accept-Encoding: identity\r\nx-a: \xc3\xa4:\tb\r\nhoST: elsewhere\r\nx-empty: \r\n"
        assert server.received == b"POST /v1 HTTP/1.1\r\n" + told + b"Content-Length: 2\r\n\r\n{}"


async def test_a_closed_transport_sends_nothing() -> None:
    async with open_transport(limit=10) as transport:
        pass
    with pytest.raises(httpx.ConnectError):
        await post(transport, refusing_url())


CLOSED_AFTER_SENT: dict[str, Script] = {
    "no byte": close_after_request(),
    "reset": reset_after_request(),
    "half a status line": raw(b"HTTP/1.1 2"),
    "half the headers": half_headers(),
    "half a body": half_body(),
    "half a chunk": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100\r\nabc"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "cut stream": stream(["a"], then="cut"),
}


@pytest.mark.parametrize("name", CLOSED_AFTER_SENT)
@pytest.mark.parametrize("is_reused", [False, True])
async def test_closed_after_the_request_was_sent_is_never_taken_for_never_sent(name: str, is_reused: bool) -> None:
    async with both() as (upstream, transport):
        if is_reused:
            await post(transport, upstream.url)
        upstream.plays(CLOSED_AFTER_SENT[name])
        with pytest.raises(httpx.TransportError) as caught:
            await post(transport, upstream.url, EVENTS, timeout={"connect": 5.0})
        assert not isinstance(caught.value, NEVER_SENT)
        assert len(upstream.requests) == 1 + is_reused


@pytest.mark.parametrize("script", [hang(), hang_after_headers(), stream(["a", "b"], then="hang")])
async def test_a_cancelled_request_closes_its_connection_at_once(script: Script) -> None:
    async with both() as (upstream, transport):
        upstream.plays(script)
        task = asyncio.create_task(post(transport, upstream.url, EVENTS))
        await upstream.until(lambda it: len(it.requests) == 1)
        task.cancel()
        await upstream.closed(upstream.requests[0], within_s=1.0)
        assert upstream.open_connections == 0
        assert task.cancelling()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_response_closed_midway_closes_its_connection_at_once() -> None:
    async with both() as (upstream, transport):
        upstream.plays(stream(["a"], then="hang"))
        response = await transport.handle_async_request(
            httpx.Request("POST", upstream.url + "/chat/completions", json=EVENTS)
        )
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert b"data" in await anext(aiter(response.stream))
        await response.aclose()
        await upstream.closed(upstream.requests[0], within_s=1.0)


async def test_chunks_come_when_they_are_sent() -> None:
    async with both() as (upstream, transport):
        gate = asyncio.Event()
        upstream.plays(stream(["one", gate, "two"]))
        response = await transport.handle_async_request(
            httpx.Request("POST", upstream.url + "/chat/completions", json=EVENTS)
        )
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async with aclosing(response):
            received = b""
            async for chunk in response.stream:
                received += chunk
                if b"one" in received:
                    gate.set()
            assert b"two" in received


CANCELS = 3000


async def test_the_pool_is_sound_after_thousands_of_random_cancels() -> None:
    chance = random.Random(2)
    scripts = [
        answer("a b c"),
        stream(["a"] * 5),
        stream(["a"], then="hang"),
        hang(),
        hang_after_headers(),
        half_body(),
    ]
    async with both() as (upstream, transport):

        async def cancelled_somewhere() -> None:
            upstream.plays(chance.choice(scripts))
            body = {"model": "m", "stream": chance.random() < 0.5}
            task = asyncio.create_task(post(transport, upstream.url, body))
            # A number of turns of the loop, not a time: every await on the way is hit, and none is waited out.
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        async def some(count: int) -> None:
            for _ in range(count):
                await cancelled_somewhere()
            # Where the machine is slow, less is on its way after so many turns.
            while len(upstream.requests) <= CANCELS // 2:
                await cancelled_somewhere()

        await asyncio.gather(*(some(CANCELS // 20) for _ in range(20)))
        upstream.forget_scripts()
        served = await asyncio.gather(*(post(transport, upstream.url) for _ in range(100)))
        assert len([body for body in served if b"echo" in body]) == 100
    await upstream.until(lambda it: it.open_connections == 0)


async def test_a_failure_leaves_no_place_in_the_pool_taken() -> None:
    async with scripted_upstream() as upstream, open_transport(limit=1) as transport:
        for script in CLOSED_AFTER_SENT.values():
            upstream.plays(script)
            with pytest.raises(httpx.TransportError):
                await post(transport, upstream.url, EVENTS)
        assert b"echo" in await post(transport, upstream.url)
