"""Messages of a chat completion as Anthropic's Messages API has them. Pure.

System text stands apart there; tool results are a user's blocks; neighbours of one role are one message.
Source: platform.claude.com/docs, "Messages" and "OpenAI SDK compatibility".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from router.errors import Inexpressible

Block = dict[str, Any]

_DIALECT: Final = "anthropic"
_ROLES: Final = {"user": "user", "tool": "user", "assistant": "assistant"}
_SYSTEM: Final = ("system", "developer")
# Blocks of their own kind that callers may send as they are.
_NATIVE: Final = frozenset(
    {"image", "document", "search_result", "tool_use", "tool_result", "thinking", "redacted_thinking"}
)
_PDF: Final = "application/pdf"


def messages_of(said: Any) -> tuple[list[Block], list[Block]]:
    """(the system's blocks, the messages). Raises Inexpressible."""
    system: list[Block] = []
    messages: list[Block] = []
    for index, message in enumerate(said if isinstance(said, list) else ()):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise _inexpressible(where, "what is no object")
        role = message.get("role")
        if role in _SYSTEM:
            system += _content(message.get("content"), where)
        elif role in _ROLES:
            _add(messages, _ROLES[role], list(_blocks(message, where)))
        else:
            raise _inexpressible(where, f"the role {role!r}")
    if not messages:
        raise _inexpressible("messages", "a conversation without a word of the user's")
    return system, messages


def continues_a_tool_call_unthought(said: Any) -> bool:
    """Whether the last words of the model are a tool call whose thinking was not sent along with it."""
    messages: list[Any] = said if isinstance(said, list) else []
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "assistant":
            return bool(message.get("tool_calls")) and not message.get("thinking_blocks")
    return False


def _add(messages: list[Block], role: str, blocks: list[Block]) -> None:
    if not blocks:
        # Empty text is refused there, and says nothing.
        return
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    else:
        messages.append({"role": role, "content": blocks})


def _blocks(message: Mapping[str, Any], where: str) -> Iterator[Block]:
    if message["role"] == "tool":
        yield {
            "type": "tool_result",
            "tool_use_id": message.get("tool_call_id"),
            "content": _content(message.get("content"), where),
        }
        return
    thoughts = message.get("thinking_blocks")
    yield from thoughts if isinstance(thoughts, list) else ()
    yield from _content(message.get("content"), where)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        yield {"type": "text", "text": refusal}
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        yield _tool_use(call, f"{where}.tool_calls[{index}]")


def _content(content: Any, where: str) -> list[Block]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise _inexpressible(f"{where}.content", "what is neither text nor parts")
    blocks = (_part(part, f"{where}.content[{index}]") for index, part in enumerate(content))
    return [block for block in blocks if block.get("text") != ""]


def _part(part: Any, where: str) -> Block:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _NATIVE:
        assert isinstance(part, dict)
        return part
    if kind not in _PARTS:
        raise _inexpressible(where, f"a part of the type {kind!r}")
    block = _PARTS[kind](part, where)
    if part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _text(part: Block, where: str) -> Block:
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise _inexpressible(where, "a text that is none")
    return {"type": "text", "text": text}


def _image(part: Block, where: str) -> Block:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise _inexpressible(where, "an image without an address")
    if url.startswith("data:"):
        return {"type": "image", "source": _base64_source(url, where)}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _file(part: Block, where: str) -> Block:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise _inexpressible(where, "a file that is only named")
    source = _base64_source(data, where)
    if source["media_type"] != _PDF:
        raise _inexpressible(where, f"a file of the type {source['media_type']!r}")
    block = {"type": "document", "source": source}
    return {**block, "title": file["filename"]} if isinstance(file, dict) and file.get("filename") else block


_PARTS: Final[Mapping[Any, Callable[[Block, str], Block]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
}


def _base64_source(url: str, where: str) -> Block:
    head, comma, data = url.partition(",")
    media_type, _, encoding = head.removeprefix("data:").rpartition(";")
    if not comma or encoding != "base64" or not media_type:
        raise _inexpressible(where, "data that are not in base64 with their type")
    return {"type": "base64", "media_type": media_type.partition(";")[0], "data": data}


def _tool_use(call: Any, where: str) -> Block:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise _inexpressible(where, "a tool call that calls no function")
    return {
        "type": "tool_use",
        "id": call.get("id"),
        "name": function.get("name"),
        "input": _arguments(function.get("arguments"), where),
    }


def _arguments(text: Any, where: str) -> Block:
    try:
        decoded = msgspec.json.decode(text or "{}")
    except (ValueError, TypeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise _inexpressible(where, "arguments that are no JSON object")
    return decoded


def _inexpressible(where: str, what: str) -> Inexpressible:
    return Inexpressible(where=where, what=what, dialect=_DIALECT)
