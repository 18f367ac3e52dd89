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

    def fill(self, delta: dict[str, Any]) -> None:
        """Take in fields that come in one piece each. null takes nothing back."""
        given = {name: value for name, value in delta.items() if name != "type" and value is not None}
        self.fields = {**self.fields, **given}

    def whole(self) -> dict[str, Any]:
        """As it would stand in a whole message."""
        fields = {**self.fields, "signature": self.signature} if self.signature else self.fields
        if not self.json:
            return fields
        text = "".join(self.json)
        try:
            return {**fields, "input": msgspec.json.decode(text)}
        except (ValueError, RecursionError):
            return {**fields, "input": text}
