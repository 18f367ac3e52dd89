"""What of a chat-completions body is text, what of it are schemas, and what its structure adds to the count. Pure.

Source: OpenAI cookbook, "How to count tokens with tiktoken" (3 a message, 1 a name, 3 to prime the answer; tools).
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.parts import IMAGE_PARTS

PER_CALL: Final = 3
PER_MESSAGE: Final = 3
PER_NAME: Final = 1
PER_TOOL: Final = 10
PER_TOOL_CALL: Final = 6
# A tile-priced photo of usual size at high detail; the real number depends on model and size and comes with the answer.
PER_IMAGE: Final = 765
# Parts of which nothing is read but what is counted here.
_TEXTS: Final = ("text", "refusal", "thinking", "tool_use", "tool_result")
_SCHEMAS: Final = ("tools", "functions", "response_format")


class Text(msgspec.Struct, frozen=True, array_like=True):
    """How much text: in our tokens, in characters, in bytes of UTF-8 beyond one a character, and in digits.

    Tokenizers differ by these: how large their pieces are, what they know of other languages, how they cut numbers.
    """

    tokens: int = 0
    chars: int = 0
    more_bytes: int = 0
    digits: int = 0


class Prompt(msgspec.Struct, frozen=True, array_like=True):
    """What a call has its model read, in tokens by our count, apart by what providers count apart.

    per_call: what is said beside it in every chat. text: messages with what their structure adds, or inputs to embed.
    schemas: of tools and of the answer's form. images: what they are taken for. is_text: there is nothing else in it
    than what was counted.
    """

    per_call: int
    text: Text
    schemas: int = 0
    images: int = 0
    has_tools: bool = False
    is_text: bool = True

    @property
    def tokens(self) -> int:
        """All of it."""
        return self.per_call + self.text.tokens + self.schemas + self.images

    def with_counted(self, text: Text, schema_tokens: int) -> "Prompt":
        """With so much text, and schemas that come to so much, besides."""
        whole = msgspec.structs.replace(text, tokens=self.text.tokens + text.tokens)
        return msgspec.structs.replace(self, text=whole, schemas=self.schemas + schema_tokens)


def texts_of(body: dict[str, Any]) -> Iterator[str]:
    """Every text in the messages, in order. What has another shape than expected is skipped."""
    for message in _objects(body.get("messages")):
        yield from _strings(message, ("role", "name", "refusal", "reasoning_content", "tool_call_id"))
        yield from _content(message.get("content"))
        for call in _objects(message.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict):
                yield from _strings(function, ("name", "arguments"))


def schemas_of(body: dict[str, Any]) -> Iterator[str]:
    """Every schema that a model reads, as text."""
    for name in _SCHEMAS:
        if body.get(name):
            yield msgspec.json.encode(body[name]).decode("utf-8", "replace")


def structure_of(body: dict[str, Any]) -> Prompt:
    """The prompt without its texts and schemas: what messages, names, calls, tools and images add."""
    added, images, is_text = 0, 0, True
    for message in _objects(body.get("messages")):
        added += PER_MESSAGE
        added += PER_NAME if "name" in message else 0
        added += PER_TOOL_CALL * len(_objects(message.get("tool_calls")))
        content = message.get("content")
        if isinstance(content, list):
            kinds = [part.get("type") for part in _objects(content)]
            added += PER_TOOL_CALL * kinds.count("tool_use")
            images += PER_IMAGE * _images(content)
            is_text = is_text and all(kind in _TEXTS for kind in kinds)
    tools = len(_objects(body.get("tools")))
    is_text = is_text and not images
    return Prompt(PER_CALL, Text(added), PER_TOOL * tools, images, has_tools=tools > 0, is_text=is_text)


def _images(content: Any) -> int:
    """Images among these parts, those that a tool gave included."""
    parts = _objects(content)
    return sum(part.get("type") in IMAGE_PARTS for part in parts) + sum(_images(part.get("content")) for part in parts)


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
