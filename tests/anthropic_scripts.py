"""What the scripted upstream says in Anthropic's wire format: shapes as published under "Streaming Messages"."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.upstream import Script, raw, status

if TYPE_CHECKING:
    from tests.upstream import Connection, Request

USAGE = {"input_tokens": 9, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 7}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n"


def message(
    text: str = "Hello there.", *, usage: dict[str, Any] = USAGE, stop_reason: str = "end_turn", **top: Any
) -> Script:
    """A whole answer of one block of text, as events or in one piece, as the request asks."""

    async def script(connection: "Connection", request: "Request") -> None:
        if request.is_stream:
            said = streamed(text, model=request.body["model"], usage=usage, stop_reason=stop_reason, **top)
            await events(said)(connection, request)
        else:
            content = [{"type": "text", "text": text}]
            body = whole(content, model=request.body["model"], usage=usage, stop_reason=stop_reason, **top)
            await status(200, body)(connection, request)

    return script


def whole(content: Sequence[dict[str, Any]], *, model: str = "claude-test", **top: Any) -> dict[str, Any]:
    """A message in one piece."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **top,
    }


def streamed_blocks(content: Sequence[dict[str, Any]], *, stop_reason: str = "end_turn") -> list[dict[str, Any]]:
    """The events of a message of these blocks, each grown in one piece from what is empty at first."""
    said = [start()]
    for index, block in enumerate(content):
        kind, begun, deltas = block["type"], dict(block), []
        if kind == "text":
            begun = {**block, "text": "", "citations": None}
            deltas = [{"type": "text_delta", "text": block["text"]}]
            deltas += [{"type": "citations_delta", "citation": citation} for citation in block.get("citations", ())]
        elif kind == "thinking":
            begun = {**block, "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        elif kind.endswith("tool_use"):
            begun["input"] = {}
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        said.append({"type": "content_block_start", "index": index, "content_block": begun})
        said += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        said.append({"type": "content_block_stop", "index": index})
    return [*said, end(stop_reason=stop_reason), {"type": "message_stop"}]


def streamed(
    text: str,
    *,
    model: str = "claude-test",
    usage: dict[str, Any] = USAGE,
    stop_reason: str = "end_turn",
    **delta: Any,
) -> list[dict[str, Any]]:
    """The events of a message of one block of text, its words one by one. delta: further fields of its end."""
    *words, last = text.split(" ")
    return [
        start(model=model, usage=usage),
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(text_delta(f"{word} ") for word in words),
        text_delta(last),
        {"type": "content_block_stop", "index": 0},
        end(stop_reason=stop_reason, output_tokens=usage["output_tokens"], **delta),
        {"type": "message_stop"},
    ]


def start(*, model: str = "claude-test", usage: dict[str, Any] = USAGE) -> dict[str, Any]:
    """How a stream begins. Its count of output is of what is written by then."""
    message = whole([], model=model, stop_reason=None, usage={**usage, "output_tokens": 1})
    return {"type": "message_start", "message": message}


def text_delta(text: str, index: int = 0) -> dict[str, Any]:
    """A piece of text."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def end(*, stop_reason: str = "end_turn", output_tokens: int = 7, **delta: Any) -> dict[str, Any]:
    """Why it ended, and what it came to."""
    return {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason, "stop_sequence": None, **delta},
        "usage": {"output_tokens": output_tokens},
    }


def encoded(said: Sequence[dict[str, Any]]) -> bytes:
    """The events as bytes, each under its name."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in said)


def events(said: Sequence[dict[str, Any]]) -> Script:
    """A stream of these events, then the end of the body."""
    return raw(HEAD + encoded(said))


def overloaded(*, code: int = 529) -> Script:
    """A refusal for want of room."""
    return status(code, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
