"""Messages in Anthropic's own blocks, in the words of chat completions: for deployments of other dialects. Pure.

What is said is never changed: a block that has no words there is refused by name. What only surrounds it (a cache's
breakpoints, thoughts that nobody else can verify) is left out and named. Texts of a message stand before its tool
calls, as there is no other order in a chat completion.
Source: platform.claude.com/docs, "Messages", "Tool use"; platform.openai.com/docs/api-reference/chat.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.errors import Inexpressible

Block = dict[str, Any]

_THOUGHTS: Final = ("thinking", "redacted_thinking")
_PDF: Final = "application/pdf"


class Words:
    """Puts the messages of one call in other words. lost: the names of what was left out, in their order."""

    def __init__(self, dialect: str) -> None:
        self.lost: dict[str, None] = {}
        self._dialect = dialect
        self._where = ""

    def messages(self, said: list[Block]) -> Iterator[Block]:
        """The messages of a chat completion. Raises Inexpressible."""
        has_system = bool(said) and said[0].get("role") == "system"
        for index, message in enumerate(said):
            self._where = "system" if has_system and not index else f"messages[{index - has_system}]"
            content = message.get("content")
            if isinstance(content, str):
                yield {"role": message["role"], "content": content}
            elif message["role"] == "assistant":
                yield self._assistant(content or [])
            else:
                yield from self._told(message["role"], content or [])

    def lose(self, fields: dict[str, Any], *taken: str, within: str) -> None:
        """Note all fields but these as left out. A cache's breakpoints are one thing, wherever they stand."""
        for name, value in fields.items():
            if name not in taken and value is not None:
                self.lost[name if name == "cache_control" else f"{within}.{name}"] = None

    def _told(self, role: str, content: list[Block]) -> Iterator[Block]:
        """A user's blocks, or the system's: results of tools are messages of their own."""
        parts: list[Block] = []
        for index, block in enumerate(content):
            if block.get("type") != "tool_result":
                parts.append(self._part(block, f"content[{index}]"))
                continue
            if parts:
                yield {"role": role, "content": _plain(parts)}
                parts = []
            yield self._result(block, f"content[{index}]")
        if parts:
            yield {"role": role, "content": _plain(parts)}

    def _result(self, block: Block, place: str) -> Block:
        content = block.get("content")
        if isinstance(content, list):
            parts = [self._part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]
            content = _plain(parts) if parts else ""
        # That it failed is left for its text to say.
        self.lose(block, "type", "tool_use_id", "content", *(() if block.get("is_error") else ("is_error",)),
                  within="messages.tool_result")  # fmt: skip
        return {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content or ""}

    def _assistant(self, content: list[Block]) -> Block:
        parts: list[Block] = []
        calls: list[Block] = []
        for index, block in enumerate(content):
            kind = block.get("type")
            if kind == "tool_use":
                calls.append(self._call(block))
            elif kind in _THOUGHTS:
                self.lost["messages.thinking"] = None
            else:
                parts.append(self._part(block, f"content[{index}]"))
        message: Block = {"role": "assistant", "content": _plain(parts) if parts else None if calls else ""}
        return {**message, "tool_calls": calls} if calls else message

    def _call(self, block: Block) -> Block:
        self.lose(block, "type", "id", "name", "input", within="messages.tool_use")
        arguments = msgspec.json.encode(block.get("input") or {}).decode()
        return {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": arguments},
        }

    def _part(self, block: Any, place: str) -> Block:
        if not isinstance(block, dict):
            raise self._unsaid(place, "what is no object")
        source = block.get("source")
        match block.get("type"), source if isinstance(source, dict) else {}:
            case "text", _:
                self.lose(block, "type", "text", within="messages.text")
                return {"type": "text", "text": block.get("text")}
            case "image", {"type": "base64", "media_type": str(kind), "data": str(data)}:
                self.lose(block, "type", "source", within="messages.image")
                return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
            case "image", {"type": "url", "url": str(url)}:
                self.lose(block, "type", "source", within="messages.image")
                return {"type": "image_url", "image_url": {"url": url}}
            case "document", {"type": "base64", "media_type": "application/pdf", "data": str(data)}:
                self.lose(block, "type", "source", "title", within="messages.document")
                name = block.get("title") or "document.pdf"
                return {"type": "file", "file": {"filename": name, "file_data": f"data:{_PDF};base64,{data}"}}
            case "document", {"type": "text", "data": str(text)}:
                self.lose(block, "type", "source", within="messages.document")
                return {"type": "text", "text": text}
            case kind, {"type": str(by)}:
                raise self._unsaid(place, f"a block of the type {kind!r} by {by}")
            case kind, _:
                raise self._unsaid(place, f"a block of the type {kind!r}")

    def _unsaid(self, place: str, what: str) -> Inexpressible:
        return Inexpressible(where=f"{self._where}.{place}", what=what, dialect=self._dialect)


def _plain(parts: list[Block]) -> Any:
    """A single text needs no parts, which not every server takes."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
