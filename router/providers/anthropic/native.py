"""Calls that came in Anthropic's own format: what marks them, and what of them only that format has words for. Pure.

Such a body is a chat completion's as far as the two formats share a word. Its messages keep their own blocks, its tools
their own shape; parameters that chat completions have no name for stand apart, under one key. So a call goes to an
Anthropic deployment as its caller wrote it, and is put in other words only for others (`in_chat`).
"""

import operator
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


def without_unsigned(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Without thoughts that nobody signed, and their name: Claude refuses them.

    They are another vendor's, told in this format. A message that had nothing else goes, too. Where the last one was
    such a call of a tool as is answered now, thinking stops: of a turn that goes on, Claude wants to see the thought
    that it began with.
    """
    said = body["messages"]
    signed = [_signed(message) for message in said]
    if all(map(operator.is_, signed, said)):
        return body, ()
    kept = [message for message in signed if message["content"]]
    thinking = body.get("thinking")
    turns = [index for index, message in enumerate(said) if message["role"] == "assistant"]
    is_last = signed[turns[-1]] is not said[turns[-1]] and _answers_a_call(said[-1])
    must_stop = is_last and isinstance(thinking, dict) and thinking.get("type") == "enabled"
    gone = ("messages.thinking", "thinking") if must_stop else ("messages.thinking",)
    left = {name: value for name, value in body.items() if name not in gone}
    return {**left, "messages": kept}, gone


def _signed(message: dict[str, Any]) -> dict[str, Any]:
    """The message as it was, or without its thoughts that nobody signed."""
    content = message["content"]
    if message["role"] != "assistant" or not isinstance(content, list):
        return message
    blocks = [block for block in content if block.get("type") != "thinking" or block.get("signature") != ""]
    return message if len(blocks) == len(content) else {**message, "content": blocks}


def _answers_a_call(message: dict[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


def native_messages(said: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """(what the system says, the messages): each as the caller wrote it. Nothing of the system's is empty text."""
    if said and said[0].get("role") == "system":
        return said[0].get("content"), said[1:]
    return "", said
