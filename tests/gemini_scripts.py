"""What the scripted upstream says in the wire format of the Gemini API: shapes as published for generateContent."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.upstream import Script, raw, status

if TYPE_CHECKING:
    from tests.upstream import Connection, Request

USAGE = {"promptTokenCount": 13, "cachedContentTokenCount": 4, "candidatesTokenCount": 7, "totalTokenCount": 20}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def content(text: str = "Hello there.", *, usage: dict[str, Any] = USAGE, reason: str = "STOP") -> Script:
    """An answer of one text, as events or in one piece, as the request asks."""

    async def script(connection: "Connection", request: "Request") -> None:
        if request.is_stream:
            await events(streamed(text, usage=usage, reason=reason))(connection, request)
        else:
            await status(200, said({"text": text}, usage=usage, reason=reason))(connection, request)

    return script


def said(
    *parts: dict[str, Any], reason: str | None = None, usage: dict[str, Any] | None = USAGE, index: int = 0, **more: Any
) -> dict[str, Any]:
    """A whole answer, or an event: both have this shape. more: further fields of the candidate."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    event = {"candidates": [candidate], "modelVersion": "gemini-test", "responseId": "r1"}
    return event if usage is None else {**event, "usageMetadata": usage}


def streamed(text: str, *, usage: dict[str, Any] = USAGE, reason: str = "STOP") -> list[dict[str, Any]]:
    """The events of one text, its words one by one; the prompt is counted from the start."""
    *words, last = text.split(" ")
    early = {"promptTokenCount": usage["promptTokenCount"], "totalTokenCount": usage["promptTokenCount"]}
    return [
        *(said({"text": f"{word} "}, usage=early) for word in words),
        said({"text": last}, reason=reason, usage=usage),
    ]


def encoded(events: Sequence[dict[str, Any]]) -> bytes:
    """The events as bytes."""
    return b"".join(f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode() for event in events)


def events(said: Sequence[dict[str, Any]]) -> Script:
    """A stream of these events, then the end of the body."""
    return raw(HEAD + encoded(said))


def error(code: int, name: str, message: str = "not now") -> dict[str, Any]:
    """Google's error object."""
    return {"error": {"code": code, "message": message, "status": name}}
