"""A scripted OpenAI-compatible upstream on a free loopback port, down to the bytes, so that it can misbehave.

    async with scripted_upstream() as upstream:
        upstream.plays(status(500), stream(["Hel", gate, "lo"]))     # one script a request, in order
        ...                                                          # any further request: upstream.default (echo)
        await upstream.until(lambda it: len(it.requests) == 2)

What it plays is in `tests/scripts.py`, exported from here. `python -m tests.upstream --port 0` serves echoes and prints
its URL.
"""

import argparse
import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from tests.scripts import (
    Script,
    answer,
    close_after_request,
    echo,
    garbage,
    half_body,
    half_headers,
    hang,
    hang_after_headers,
    json_response,
    raw,
    redirect,
    reset_after_request,
    status,
    stream,
)

__all__ = [
    "Connection",
    "Request",
    "Script",
    "ScriptedUpstream",
    "answer",
    "close_after_request",
    "echo",
    "garbage",
    "half_body",
    "half_headers",
    "hang",
    "hang_after_headers",
    "raw",
    "redirect",
    "reset_after_request",
    "scripted_upstream",
    "status",
    "stream",
]

# Where calls go, and HOOK for a webhook's messages. They are answered by scripts.
SCRIPTED = ("/chat/completions", "/responses", "/embeddings", "/v1/messages", ":generateContent", ":batchEmbedContents")
COUNTS = ("/v1/messages/count_tokens", ":countTokens")
HOOK = "/hook"
GEMINI_STREAM = ":streamGenerateContent?alt=sse"


class Request:
    """One request as it came. headers have lower-case names; body is the decoded JSON, None if there was none.

    played: its script came to its end. closed: its connection is closed, whoever did it.
    """

    def __init__(self, method: str, path: str, headers: dict[str, str], raw_body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.raw_body = raw_body
        self.body: Any = json.loads(raw_body) if raw_body else None
        self.played = False
        self.closed = False

    @property
    def is_stream(self) -> bool:
        """Whether the caller asked for events."""
        said = isinstance(self.body, dict) and self.body.get("stream") is True
        return said or self.path.endswith(GEMINI_STREAM)


class Connection(asyncio.Protocol):
    """One TCP connection: takes requests one after the other and plays a script for each."""

    def __init__(self, upstream: "ScriptedUpstream") -> None:
        self._upstream = upstream
        self._buffer = bytearray()
        self._requests: list[Request] = []
        self._playing: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass.
        self.transport = cast("asyncio.Transport", transport)
        self._upstream.joined(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._playing is None:
            self._next_request()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._playing is not None:
            self._playing.cancel()
        for request in self._requests:
            request.closed = True
        self._upstream.left(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other side does not read."""
        self.transport.write(data)
        await self._writable.wait()
        if self.transport.is_closing():
            await asyncio.sleep(0)  # That it is closed is told by the loop's next turn, which ends this script.

    def close(self) -> None:
        """Close after what was written has left."""
        self.transport.close()

    def reset(self) -> None:
        """Drop the connection at once, with an RST."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def stop(self) -> Awaitable[None] | None:
        """End whatever is being played; the task to wait for, if there is one."""
        self.transport.abort()
        if self._playing is not None:
            self._playing.cancel()
        return self._playing

    def _next_request(self) -> None:
        request = self._parsed()
        if request is not None:
            self._requests.append(request)
            self._playing = asyncio.ensure_future(self._play(request))

    def _parsed(self) -> Request | None:
        head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._buffer = bytearray(rest[length:])
        return Request(method, path, headers, rest[:length])

    async def _play(self, request: Request) -> None:
        script = self._upstream.script_for(request)
        await script(self, request)
        request.played = True
        self._playing = None
        self._upstream.changed()
        self._next_request()


class ScriptedUpstream:
    """The server, and what it saw. `url` ends in /v1, as base URLs of the openai dialect do; `root` is without it."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.default: Script = echo()
        self.models = ["gpt-4o-mini"]
        self.requests: list[Request] = []
        self.others: list[Request] = []
        self.connections: set[Connection] = set()
        self.connections_made = 0
        self._scripts: deque[Script] = deque()
        self._waiters: set[asyncio.Future[None]] = set()

    def plays(self, *scripts: Script) -> None:
        """Queue one script for each of the next calls."""
        self._scripts.extend(scripts)

    def forget_scripts(self) -> None:
        """Play the default from now on, whatever was queued."""
        self._scripts.clear()

    @property
    def root(self) -> str:
        """Its address, for dialects whose base URLs have no path."""
        return self.url.removesuffix("/v1")

    @property
    def open_connections(self) -> int:
        """TCP connections that neither side has closed."""
        return len(self.connections)

    async def until(self, holds: Callable[["ScriptedUpstream"], bool], *, within_s: float = 10.0) -> None:
        """Wait for a condition on what the server saw; it is looked at after every event. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not holds(self):
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)

    async def closed(self, request: Request, *, within_s: float = 10.0) -> None:
        """Wait until the connection that a request came on is closed."""
        await self.until(lambda _: request.closed, within_s=within_s)

    def script_for(self, request: Request) -> Script:
        """The script to play, and the request noted: calls in `requests`, all else in `others`."""
        if request.method == "POST" and _is_scripted(request.path):
            self.requests.append(request)
            self.changed()
            return self._scripts.popleft() if self._scripts else self.default
        self.others.append(request)
        self.changed()
        if request.path.partition("?")[0].endswith("/v1beta/models"):
            return json_response({"models": [{"name": f"models/{name}"} for name in self.models]})
        if request.path.partition("?")[0].endswith("/models"):
            return json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})
        return status(404, {"error": {"message": f"no {request.path} here", "type": "invalid_request_error"}})

    def joined(self, connection: Connection) -> None:
        """A connection opened."""
        self.connections.add(connection)
        self.connections_made += 1
        self.changed()

    def left(self, connection: Connection) -> None:
        """A connection closed."""
        self.connections.discard(connection)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for a condition."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _is_scripted(path: str) -> bool:
    return path.endswith((*SCRIPTED, *COUNTS, GEMINI_STREAM)) or path.partition("?")[0].endswith(HOOK)


@asynccontextmanager
async def scripted_upstream(port: int = 0) -> AsyncIterator[ScriptedUpstream]:
    """A server on loopback; port 0 takes a free one. Leaving closes every connection."""
    upstream = ScriptedUpstream()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(upstream), "127.0.0.1", port)
    upstream.port = server.sockets[0].getsockname()[1]
    upstream.url = f"http://127.0.0.1:{upstream.port}/v1"
    try:
        yield upstream
    finally:
        server.close()
        playing = [task for connection in tuple(upstream.connections) if (task := connection.stop()) is not None]
        await asyncio.gather(*playing, return_exceptions=True)


async def _serve(port: int, delay_s: float) -> None:
    async with scripted_upstream(port) as upstream:
        upstream.default = echo(delay_s=delay_s)
        print(upstream.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve echoes as an OpenAI-compatible upstream.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, options.delay_ms / 1000))
