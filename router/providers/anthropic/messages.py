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
_PLAIN: Final = ("role", "content")
_PLAIN_ROLES: Final = ("user", "assistant", *_SYSTEM)
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
        try:
            role, blocks = _said(message)
        except _Unsaid as unsaid:
            raise _inexpressible(f"messages[{index}]{unsaid.where}", unsaid.what) from None
        if role is None:
            system += blocks
        else:
            _add(messages, role, blocks)
    if not messages:
        raise _inexpressible("messages", "a conversation without a word of the user's")
    return system, messages


def check_messages(said: Any) -> None:
    """Raise what `messages_of` would, without the work for messages of plain text."""
    messages: list[Any] = said if isinstance(said, list) else []
    is_plain = all(_is_plain(message) for message in messages)
    if not is_plain or not any(message["content"] for message in messages if message["role"] in _ROLES):
        messages_of(said)


def _is_plain(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and len(message) == len(_PLAIN)
        and isinstance(message.get("content"), str)
        and message.get("role") in _PLAIN_ROLES
    )


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


class _Unsaid(Exception):
    """A part of one message that has no words there. where: its place in the message."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what


def _said(message: Any) -> tuple[str | None, list[Block]]:
    """Who says it there (None: the system), and what."""
    if not isinstance(message, dict):
        raise _Unsaid("", "what is no object")
    role = message.get("role")
    if role in _SYSTEM:
        return None, _content(message.get("content"))
    if role not in _ROLES:
        raise _Unsaid("", f"the role {role!r}")
    return _ROLES[role], list(_blocks(message))


def _blocks(message: Mapping[str, Any]) -> Iterator[Block]:
    if message["role"] == "tool":
        content = _content(message.get("content"))
        yield {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content}
        return
    thoughts = message.get("thinking_blocks")
    yield from map(_thought, thoughts) if isinstance(thoughts, list) else ()
    yield from _content(message.get("content"))
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        yield {"type": "text", "text": refusal}
    calls = message.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        yield _tool_use(call, index)


def _thought(given: Any) -> Any:
    """As it came from there: in a stream its place was told with it, which is refused there."""
    if isinstance(given, dict) and "index" in given:
        return {name: value for name, value in given.items() if name != "index"}
    return given


def _content(content: Any) -> list[Block]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise _Unsaid(".content", "what is neither text nor parts")
    blocks = (_part(part, index) for index, part in enumerate(content))
    return [block for block in blocks if block.get("text") != ""]


def _part(part: Any, index: int) -> Block:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind in _NATIVE:
        assert isinstance(part, dict)
        return part
    if not isinstance(kind, str) or kind not in _PARTS:
        raise _Unsaid(f".content[{index}]", f"a part of the type {kind!r}")
    try:
        block = _PARTS[kind](part)
    except _Unsaid as unsaid:
        raise _Unsaid(f".content[{index}]", unsaid.what) from None
    if part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _text(part: Block) -> Block:
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise _Unsaid("", "a text that is none")
    return {"type": "text", "text": text}


def _image(part: Block) -> Block:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise _Unsaid("", "an image without an address")
    if url.startswith("data:"):
        return {"type": "image", "source": _base64_source(url)}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _file(part: Block) -> Block:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise _Unsaid("", "a file that is only named")
    source = _base64_source(data)
    if source["media_type"] != _PDF:
        raise _Unsaid("", f"a file of the type {source['media_type']!r}")
    block = {"type": "document", "source": source}
    return {**block, "title": file["filename"]} if isinstance(file, dict) and file.get("filename") else block


_PARTS: Final[Mapping[str, Callable[[Block], Block]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
}


def _base64_source(url: str) -> Block:
    head, comma, data = url.partition(",")
    media_type, _, encoding = head.removeprefix("data:").rpartition(";")
    if not comma or encoding != "base64" or not media_type:
        raise _Unsaid("", "data that are not in base64 with their type")
    return {"type": "base64", "media_type": media_type.partition(";")[0], "data": data}


def _tool_use(call: Any, index: int) -> Block:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise _Unsaid(f".tool_calls[{index}]", "a tool call that calls no function")
    try:
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
    except (ValueError, TypeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise _Unsaid(f".tool_calls[{index}]", "arguments that are no JSON object")
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}


def _inexpressible(where: str, what: str) -> Inexpressible:
    return Inexpressible(where=where, what=what, dialect=_DIALECT)
