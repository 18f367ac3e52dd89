"""One content block of a message that is under way."""

from typing import Any

import msgspec


class OpenBlock(msgspec.Struct):
    """A block as far as it came. tool: its place among the tool calls."""

    fields: dict[str, Any]
    tool: int = -1
    text: list[str] = []
    json: list[str] = []
    signature: str = ""
    citations: int = 0

    def whole(self) -> dict[str, Any]:
        """As it would stand in a whole message."""
        if not self.json:
            return self.fields
        text = "".join(self.json)
        try:
            return {**self.fields, "input": msgspec.json.decode(text)}
        except (ValueError, RecursionError):
            return {**self.fields, "input": text}
