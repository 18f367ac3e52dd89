"""Scripts for endpoints of OpenAI's other than chat completions. See `tests/scripts.py`."""

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

from tests.scripts import CREATED_AT_S, Script, raw, status

if TYPE_CHECKING:
    from tests.upstream import Connection, Request


def text_item(text: str, **part: Any) -> dict[str, Any]:
    """A message of the model's."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": [], **part}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def a_response(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A whole response that read 9 tokens, 4 of them cached, and wrote 7, 5 of them in thought."""
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 16,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED_AT_S,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-test-2026",
        "output": list(output),
        "usage": usage,
        **fields,
    }


def events(*said: dict[str, Any]) -> bytes:
    """A stream's bytes: each event under the name of its type."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in said)


def last(response: dict[str, Any]) -> dict[str, Any]:
    """The event that a stream ends with."""
    return {"type": f"response.{response['status']}", "response": response}


def text_events(text: str) -> list[dict[str, Any]]:
    """A word an event, as OpenAI says it."""
    place = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    begun = a_response(status="in_progress", usage=None)
    *words, final = text.split(" ")
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**text_item(""), "content": []}},
        {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": word}
            for word in (*(f"{w} " for w in words), final)
        ),
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": text_item(text)},
        last(a_response(text_item(text))),
    ]


def event_stream(data: bytes) -> Script:
    """200 with these bytes as its event stream."""
    return raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + data)


def responded(text: str = "Hello there.") -> Script:
    """The text as `/responses` gives it, whole or in events, as the request asked."""

    async def script(connection: "Connection", request: "Request") -> None:
        whole = status(200, a_response(text_item(text)))
        await (event_stream(events(*text_events(text))) if request.is_stream else whole)(connection, request)

    return script


def vector_of(text: str) -> list[float]:
    """Three numbers for a text, of which float32 has every one."""
    return [len(text) / 4, text.count("a") * -0.5, 1.0]


def embedded(*, tokens: int | None = 6, knows_base64: bool = True) -> Script:
    """A vector for each input of the request, in the encoding that it asks for. tokens None: no usage is said."""

    async def script(connection: "Connection", request: "Request") -> None:
        given = request.body["input"]
        inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        vectors: list[Any] = [vector_of(str(text)) for text in inputs]
        if request.body.get("encoding_format") == "base64" and knows_base64:
            vectors = [base64.b64encode(struct.pack("<3f", *vector)).decode() for vector in vectors]
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        # In another order than they were asked for: the index counts.
        whole = {"object": "list", "data": data[::-1], "model": request.body["model"], **usage}
        await status(200, whole)(connection, request)

    return script
