"""A provider that answers at once: `python -m benchmarks.upstream`. Prints its port, then serves until it is ended.

POST /delay/MS/v1/chat/completions waits so long first; a body with `"stream":true` gets EVENTS events. POST /v1/traces
takes spans. GET /seen tells what was asked of it. Raw asyncio, so that it costs as little as can be beside what is
measured.
"""

import asyncio
import sys
import time
from typing import Final, cast

import msgspec
import uvloop

EVENTS: Final = 100
_USAGE: Final = b'"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}'
_WHOLE: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],%b}'
    % _USAGE
)
_CHUNK: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,'
    b'"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
_LAST: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,'
    b'"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"bench","choices":[],%b}\n\n'
    b"data: [DONE]\n\n" % _USAGE
)


def _response(content_type: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (content_type, len(body), body)


_ANSWER: Final = _response(b"application/json", _WHOLE)
_TAKEN: Final = _response(b"application/x-protobuf", b"")
_STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Seen(msgspec.Struct):
    """Calls that were answered so far, and when the last one was, by the clock that `time.perf_counter` reads."""

    calls: int = 0
    answered_s: float = 0.0


class Upstream(asyncio.Protocol):
    """One connection. Requests come one after another, each with a content-length."""

    def __init__(self, seen: Seen | None = None) -> None:
        self._seen = Seen() if seen is None else seen
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name.

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/delay/"):
            delay_s = int(path.split(b"/")[2]) / 1000
            asyncio.get_running_loop().call_later(delay_s, self._reply, path, body)
        else:
            self._reply(path, body)

    def _reply(self, path: bytes, body: bytes) -> None:
        if path.endswith(b"/completions"):
            self._seen.calls += 1
            self._seen.answered_s = time.perf_counter()
        if path.endswith(b"/traces"):
            self._transport.write(_TAKEN)
        elif path == b"/seen":
            self._transport.write(_response(b"application/json", msgspec.json.encode(self._seen)))
        elif b'"stream":true' in body or b'"stream": true' in body:
            self._transport.write(_STREAM_HEAD)
            for _ in range(EVENTS):
                self._transport.write(b"%x\r\n%b\r\n" % (len(_CHUNK), _CHUNK))
            self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(_LAST), _LAST))
        else:
            self._transport.write(_ANSWER)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve() -> None:
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(seen), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
