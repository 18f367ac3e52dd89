"""Calls that came in Anthropic's own format: what marks them, and what of them only that format has words for. Pure.

Such a body is a chat completion's as far as the two formats share a word. Its messages keep their own blocks, its tools
their own shape; parameters that chat completions have no name for stand apart, under one key. So a call goes to an
Anthropic deployment as its caller wrote it, and is put in other words only for others (`in_chat`).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

# The body's field for an Own, whose presence marks the body. No JSON decodes to one, so no caller can bring one along.
OWN: Final = "anthropic"


class Own(msgspec.Struct, frozen=True):
    """fields: {name: value} of what goes to Anthropic as it is, and nowhere else."""

    fields: dict[str, Any] = {}


def own_of(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What of the call only this format has. None: the call came in another one."""
    own = body.get(OWN)
    return own.fields if isinstance(own, Own) else None


def native_messages(said: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """(what the system says, the messages): each as the caller wrote it. Nothing of the system's is empty text."""
    if said and said[0].get("role") == "system":
        return said[0].get("content"), said[1:]
    return "", said
