"""What parts of messages only name, so that a provider reads what is not in the call: files, films, papers. Pure.

Nobody here knows how long that is. A picture's address is none of these: what one takes is bounded.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

# Pictures, in the words of each format. Not a set: what a caller sends may be of any type.
IMAGE_PARTS: Final = ("image_url", "input_image", "image")
# Words, pictures, and what tools found: an address in one of these is a mention, or a picture's. Sources: the request
# types of the `openai` package, version 3.52, and of the `anthropic` package, version 2.12.
_READ_WHOLE: Final = frozenset({
    "text", "input_text", "output_text", "refusal", "reasoning", "reasoning_text", "summary_text",
    "thinking", "redacted_thinking", "compaction",
    *IMAGE_PARTS,
    "search_result", "web_search_result", "web_fetch_result", "tool_reference",
})  # fmt: skip
# `server_tool_use`, `mcp_tool_result`, `web_search_tool_result` and their like.
_OF_TOOLS: Final = ("tool_use", "tool_result")
_ADDRESSES: Final = ("url", "uri")
# Base64 or a `data:` address, as a rule.
_DATA: Final = frozenset({"data", "file_data", "filedata"})
_ADDRESS: Final = re.compile(r"\s*(?!data:)[a-z][a-z0-9+.-]{1,30}:\S", re.IGNORECASE)
_NAMED_IN: Final = ("file", "source")


def unbounded_in(part: Mapping[str, Any]) -> str | None:
    """The field of a part by which it names what else is read. None: all that is read of it stands in it."""
    # As (the type of what a value stands in, the field that has it, the value); not by recursion: it may be deep.
    left: list[tuple[Any, str, Any]] = [(None, "", part)]
    while left:
        kind, name, value = left.pop()
        if isinstance(value, str):
            if _is_address(kind, name.lower(), value):
                return name
        elif isinstance(value, list):
            left += ((kind, name, item) for item in value)
        elif isinstance(value, dict):
            if _has_id(value):
                return "file_id"
            left += _within(name, value)
    return None


def _within(name: str, value: Mapping[str, Any]) -> list[tuple[Any, str, Any]]:
    kind = value.get("type")
    if isinstance(kind, str) and (kind in _READ_WHOLE or kind.endswith(_OF_TOOLS)):
        # What a tool shows may be a part of any kind.
        content = value.get("content")
        return [(kind, "content", content)] if isinstance(content, list) else []
    return [(kind, _name(name, inner), value[inner]) for inner in value]


def _name(outer: str, inner: str) -> str:
    """`video_url` of a `url` in it, `source.url`: what says to whoever reads it which address is meant."""
    if not outer or inner.lower() not in _ADDRESSES:
        return inner
    return outer if outer.lower().endswith(_ADDRESSES) else f"{outer}.{inner}"


def _is_address(kind: Any, name: str, value: str) -> bool:
    """Whether something is to be fetched from here. An address field's is one, however it is written."""
    if name.endswith(_ADDRESSES):
        return bool(value) and not value[:64].lstrip().lower().startswith("data:")
    return (name in _DATA or name == kind) and _ADDRESS.match(value) is not None


def _has_id(value: Mapping[str, Any]) -> bool:
    places = (value, *(value.get(name) for name in _NAMED_IN))
    return any(isinstance(place, dict) and place.get("file_id") is not None for place in places)
