"""What of a chat-completions body is text, and what its structure adds to the count. Pure.

Source: OpenAI cookbook, "How to count tokens with tiktoken" (3 a message, 1 a name, 3 to prime the answer; tools).
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

PER_CALL: Final = 3
PER_MESSAGE: Final = 3
PER_NAME: Final = 1
PER_TOOL: Final = 10
PER_TOOL_CALL: Final = 6
# A tile-priced photo of usual size at high detail; the real number depends on model and size and comes with the answer.
PER_IMAGE: Final = 765
_IMAGES: Final = ("image_url", "image")
_SCHEMAS: Final = ("tools", "functions", "response_format")


def texts_of(body: dict[str, Any]) -> Iterator[str]:
    """Every text that a model reads, in order. What has another shape than expected is skipped."""
    for message in _objects(body.get("messages")):
        yield from _strings(message, ("role", "name", "refusal", "reasoning_content", "tool_call_id"))
        yield from _content(message.get("content"))
        for call in _objects(message.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict):
                yield from _strings(function, ("name", "arguments"))
    for name in _SCHEMAS:
        if body.get(name):
            yield msgspec.json.encode(body[name]).decode("utf-8", "replace")


def fixed_tokens(body: dict[str, Any]) -> int:
    """What messages, names, tool calls, tools and images add beside their texts."""
    tokens = PER_CALL
    for message in _objects(body.get("messages")):
        tokens += PER_MESSAGE
        tokens += PER_NAME if "name" in message else 0
        tokens += PER_TOOL_CALL * len(_objects(message.get("tool_calls")))
        tokens += PER_TOOL_CALL * sum(part.get("type") == "tool_use" for part in _objects(message.get("content")))
        tokens += PER_IMAGE * _images(message.get("content"))
    return tokens + PER_TOOL * len(_objects(body.get("tools")))


def _images(content: Any) -> int:
    """Images among these parts, those that a tool gave included."""
    parts = _objects(content)
    return sum(part.get("type") in _IMAGES for part in parts) + sum(_images(part.get("content")) for part in parts)


def _content(content: Any) -> Iterator[str]:
    """Its texts, those within Anthropic's own blocks too: results of tools, tool calls, documents, searches."""
    if isinstance(content, str):
        yield content
    for part in _objects(content):
        yield from _strings(part, ("text", "refusal", "thinking", "title", "context"))
        if "input" in part:
            yield from _strings(part, ("name",))
            yield msgspec.json.encode(part["input"]).decode("utf-8", "replace")
        yield from _content(part.get("content"))
        source = part.get("source")
        if isinstance(source, dict):
            yield from _strings(source, ("data",) if source.get("type") == "text" else ())
            yield from _content(source.get("content"))


def _strings(value: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        text = value.get(name)
        if isinstance(text, str):
            yield text


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
