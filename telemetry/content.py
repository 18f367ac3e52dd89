"""Messages as the GenAI conventions write them on spans: JSON of roles and parts, never longer than was asked for.

What is too long loses text first (each cut says so), then its oldest messages: what came last is what was answered.
However much there is, only as much is read as can be told. Source: semantic-conventions-genai,
`gen-ai-input-messages.json` and `gen-ai-output-messages.json`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

Part = dict[str, Any]

# What a cut says, and a note of what was left out, at most.
_NOTE_CHARS: Final = 64
_DATA_URI: Final = "data:"
_FINISH_REASONS: Final = {"tool_calls": "tool_call", "function_call": "tool_call"}


def messages_json(messages: Sequence[Mapping[str, Any]], max_bytes: int) -> str:
    """Messages in the shape of chat completions, those of a caller or an answer's, as `gen_ai.*.messages` has them."""
    room = max_bytes - _NOTE_CHARS * 2
    newest_first: list[bytes] = []
    for message in reversed(messages):
        written = _within(message, room)
        if written is None:
            break
        newest_first.append(written)
        room -= len(written) + 1
    left_out = len(messages) - len(newest_first)
    if left_out:
        note = {"role": "system", "parts": [{"type": "text", "content": f"[{left_out} earlier messages left out]"}]}
        newest_first.append(msgspec.json.encode(note))
    return (b"[" + b",".join(reversed(newest_first)) + b"]").decode()


def _within(message: Mapping[str, Any], room: int) -> bytes | None:
    """The message in so many bytes at most, its texts cut as need be. None: it cannot be."""
    chars = room
    while chars > _NOTE_CHARS:
        written = msgspec.json.encode(_told(message, chars), enc_hook=str)
        if len(written) <= room:
            return written
        chars = min(chars * room // len(written), chars - _NOTE_CHARS)
    return None


def _told(message: Mapping[str, Any], chars: int) -> dict[str, Any]:
    """The message, with at most so many characters of text in all."""
    told: dict[str, Any] = {"role": str(message.get("role", "assistant"))}
    parts = list(_parts(message))
    for part in parts:
        for field in ("content", "arguments", "response", "uri"):
            if isinstance(text := part.get(field), str):
                part[field] = _cut(text, chars)
                chars = max(chars - len(part[field]), 0)
    told["parts"] = parts
    if isinstance(name := message.get("name"), str):
        told["name"] = name
    if (reason := message.get("finish_reason")) is not None:
        told["finish_reason"] = _FINISH_REASONS.get(reason, reason)
    return told


def _parts(message: Mapping[str, Any]) -> Iterable[Part]:
    if reasoning := message.get("reasoning"):
        yield {"type": "reasoning", "content": reasoning}
    content = message.get("content")
    if message.get("role") == "tool":
        yield {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": _plain(content)}
        return
    for piece in content if isinstance(content, list) else [content]:
        if piece is not None and piece != "":
            yield _part(piece)
    if refusal := message.get("refusal"):
        yield {"type": "text", "content": refusal}
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield {
            "type": "tool_call",
            "id": call.get("id"),
            "name": str(function.get("name", "")),
            "arguments": function.get("arguments", ""),
        }


def _part(piece: Any) -> Part:
    """One piece of a message's content. Pictures and sound that came with it are told by their kind and size only."""
    if not isinstance(piece, Mapping):
        return {"type": "text", "content": str(piece)}
    kind = str(piece.get("type", "unknown"))
    if isinstance(text := piece.get("text", piece.get("refusal")), str):
        return {"type": "text", "content": text}
    image = piece.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if isinstance(url, str) and not url.startswith(_DATA_URI):
        return {"type": "uri", "modality": "image", "uri": url}
    return {"type": "text", "content": f"[{kind}]" if url is None else f"[{kind}, {len(url)} characters]"}


def _plain(content: Any) -> str:
    """A tool's answer as one text."""
    if isinstance(content, list):
        return "\n".join(_part(piece)["content"] for piece in content if _part(piece)["type"] == "text")
    return "" if content is None else str(content)


def _cut(text: str, chars: int) -> str:
    if len(text) <= chars:
        return text
    return f"{text[:chars]}… [{len(text) - chars} more characters]"
