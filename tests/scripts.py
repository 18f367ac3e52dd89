"""What the scripted upstream can be told to do with one request. Import these from `tests.upstream`.

A script takes the connection and the request. An answer comes as events or whole, as the request asked.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tests.upstream import Connection, Request

Script = Callable[["Connection", "Request"], Awaitable[None]]
# Text, a whole delta object, raw bytes for the event stream, or a gate that the script waits at.
Piece = str | dict[str, Any] | bytes | asyncio.Event
End = Literal["finish", "end", "cut", "hang"]
ID = "chatcmpl-test"
CREATED_AT_S = 1_700_000_000


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is said beside the text. usage None: nothing. top: further fields of the response or of each chunk."""

    usage: dict[str, Any] | None
    finish_reason: str
    top: Mapping[str, Any]


def answer(
    text: str = "Hello there.",
    *,
    prompt_tokens: int | None = 9,
    completion_tokens: int | None = None,
    cached_tokens: int = 0,
    reasoning_tokens: int = 0,
    finish_reason: str = "stop",
    message: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
    gate: asyncio.Event | None = None,
    delay_s: float = 0.0,
) -> Script:
    """A whole answer; streamed, its words come as one event each.

    prompt_tokens None: no usage is said. completion_tokens None: one a word. message: further fields of the message or
    delta. top: further fields of the response or of each chunk. gate and delay_s: what to wait for first.
    """
    usage = _usage(text, prompt_tokens, completion_tokens, cached=cached_tokens, reasoning=reasoning_tokens)
    said = Said(usage=usage, finish_reason=finish_reason, top=top or {})
    *words, last = text.split(" ")
    pieces: list[Piece] = [*(f"{word} " for word in words), last]
    if message is not None:
        pieces.append({key: value for key, value in message.items() if key != "role"})

    async def script(connection: "Connection", request: "Request") -> None:
        if gate is not None:
            await gate.wait()
        if delay_s:
            await asyncio.sleep(delay_s)
        if request.is_stream:
            await _events(connection, request, pieces, then="finish", said=said)
        else:
            whole = {"role": "assistant", "content": text, **(message or {})}
            await _whole(connection, request, whole, said)

    return script


def stream(
    pieces: Sequence[Piece],
    *,
    then: End = "finish",
    prompt_tokens: int | None = 9,
    completion_tokens: int | None = None,
    cached_tokens: int = 0,
    reasoning_tokens: int = 0,
    finish_reason: str = "stop",
    top: Mapping[str, Any] | None = None,
) -> Script:
    """An answer piece by piece, then its end.

    finish: finish_reason, usage, [DONE]. end: the body ends in order, with none of these. cut: the connection drops.
    hang: silence until the caller leaves. A request that asked for no stream gets the text whole (finish), half of it
    (end, cut), or silence (hang).
    """
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    usage = _usage(text, prompt_tokens, completion_tokens, cached=cached_tokens, reasoning=reasoning_tokens)
    said = Said(usage=usage, finish_reason=finish_reason, top=top or {})

    async def script(connection: "Connection", request: "Request") -> None:
        if request.is_stream:
            await _events(connection, request, pieces, then=then, said=said)
            return
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
        if then == "hang":
            await _forever()
        if then == "finish":
            whole = {"role": "assistant", "content": text}
            await _whole(connection, request, whole, said)
        else:
            await half_body()(connection, request)

    return script


def echo(*, delay_s: float = 0.0) -> Script:
    """The last message's text, with a token a word read and written."""

    async def script(connection: "Connection", request: "Request") -> None:
        messages = request.body.get("messages", []) if isinstance(request.body, dict) else []
        contents = [message.get("content") for message in messages]
        texts = [content for content in contents if isinstance(content, str)]
        read = sum(len(text.split()) for text in texts)
        await answer(texts[-1] if texts else "echo", prompt_tokens=read, delay_s=delay_s)(connection, request)

    return script


def status(
    code: int,
    body: Mapping[str, Any] | str | bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    gate: asyncio.Event | None = None,
) -> Script:
    """A complete response with this status. body None: the vendor's error object, saying `error {code}`."""
    if body is None:
        body = {"error": {"message": f"error {code}", "type": "test_error", "code": None}}

    async def script(connection: "Connection", _request: "Request") -> None:
        if gate is not None:
            await gate.wait()
        await connection.send(_response(code, body, headers or {}))

    return script


def json_response(body: Mapping[str, Any]) -> Script:
    """200 with this object."""
    return status(200, body)


def redirect(location: str, code: int = 302) -> Script:
    """A redirect elsewhere."""
    return status(code, "", headers={"location": location})


def garbage(body: bytes = b'\x00\xff{"choices": [', content_type: str = "application/json") -> Script:
    """200 with bytes that are no answer."""
    return status(200, body, headers={"content-type": content_type})


def hang() -> Script:
    """Silence after the request, until the caller leaves."""

    async def script(_connection: "Connection", _request: "Request") -> None:
        await _forever()

    return script


def hang_after_headers() -> Script:
    """The response's head, then silence."""

    async def script(connection: "Connection", request: "Request") -> None:
        await connection.send(_head(request))
        await _forever()

    return script


def close_after_request() -> Script:
    """The whole request is read, then the connection closes in order without a byte."""

    async def script(connection: "Connection", _request: "Request") -> None:
        connection.close()

    return script


def reset_after_request() -> Script:
    """The whole request is read, then the connection drops without a byte."""

    async def script(connection: "Connection", _request: "Request") -> None:
        connection.reset()

    return script


def half_headers() -> Script:
    """The response breaks off within its headers."""
    return raw(b"HTTP/1.1 200 OK\r\ncontent-type: appl")


def half_body() -> Script:
    """The response breaks off within its body."""
    return raw(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices": [{"ind')


def raw(data: bytes, *, then: Literal["close", "hang", "keep"] = "close") -> Script:
    """These bytes, whatever they are."""

    async def script(connection: "Connection", _request: "Request") -> None:
        await connection.send(data)
        if then == "hang":
            await _forever()
        if then == "close":
            connection.close()

    return script


async def _forever() -> None:
    await asyncio.Event().wait()


async def _whole(connection: "Connection", request: "Request", message: Mapping[str, Any], said: Said) -> None:
    body = {
        "id": ID,
        "object": "chat.completion",
        "created": CREATED_AT_S,
        "model": request.body.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": said.finish_reason}],
        **({} if said.usage is None else {"usage": said.usage}),
        **said.top,
    }
    await connection.send(_response(200, body, {}))


async def _events(
    connection: "Connection", request: "Request", pieces: Sequence[Piece], *, then: End, said: Said
) -> None:
    await connection.send(_head(request))

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {"id": ID, "object": "chat.completion.chunk", "created": CREATED_AT_S, "model": request.body["model"]}
        return f"data: {json.dumps({**chunk, 'choices': choices, **more, **said.top})}\n\n".encode()

    await _chunk(connection, event([{"index": 0, "delta": {"role": "assistant", "content": ""}}]))
    for piece in pieces:
        if isinstance(piece, asyncio.Event):
            await piece.wait()
        elif isinstance(piece, bytes):
            await _chunk(connection, piece)
        else:
            delta = {"content": piece} if isinstance(piece, str) else piece
            await _chunk(connection, event([{"index": 0, "delta": delta, "finish_reason": None}]))
    if then == "hang":
        await _forever()
    if then == "cut":
        # A chunk is announced and does not come: no client can take this for the end of the body.
        await connection.send(b"400\r\n")
        connection.close()
        return
    if then == "finish":
        await _chunk(connection, event([{"index": 0, "delta": {}, "finish_reason": said.finish_reason}]))
        if said.usage is not None and (request.body.get("stream_options") or {}).get("include_usage"):
            await _chunk(connection, event([], usage=said.usage))
        await _chunk(connection, b"data: [DONE]\n\n")
    await connection.send(b"0\r\n\r\n")


async def _chunk(connection: "Connection", data: bytes) -> None:
    await connection.send(b"%x\r\n%s\r\n" % (len(data), data))


def _usage(
    text: str, prompt: int | None, completion: int | None, *, cached: int, reasoning: int
) -> dict[str, Any] | None:
    if prompt is None:
        return None
    written = len(text.split()) if completion is None else completion
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _head(request: "Request") -> bytes:
    content_type = "text/event-stream" if request.is_stream else "application/json"
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def _response(code: int, body: Mapping[str, Any] | str | bytes, headers: Mapping[str, str]) -> bytes:
    content_type = "text/html" if isinstance(body, str | bytes) else "application/json"
    text = json.dumps(body) if isinstance(body, Mapping) else body
    data = text.encode() if isinstance(text, str) else text
    fields = {"content-type": content_type, "content-length": str(len(data)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {code} Scripted\r\n{lines}\r\n".encode() + data
