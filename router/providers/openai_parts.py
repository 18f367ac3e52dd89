"""Content of a chat completion that comes in parts, not as one text: so Mistral's reasoning models answer.

Source: docs.mistral.ai, "Reasoning", and its API's ThinkChunk, TextChunk and ReferenceChunk.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.providers.reading import BodyReading

_Part = dict[str, Any]

# {type of a part that is words: its fields that have a place of their own}. `closed` only says that a thought ended.
_FIELDS: Final = {"text": frozenset({"type", "text"}), "thinking": frozenset({"type", "thinking", "closed"})}


class Parts(msgspec.Struct, frozen=True):
    """What the parts say. others: what is neither text nor thought, and what else was said of those, in its order."""

    text: str
    reasoning: str
    others: list[_Part]


def parts_of(reading: BodyReading, content: list[Any]) -> Parts:
    """The words in a list of parts. Raises Fault unless each is an object, and its text a text."""
    texts: list[str] = []
    thoughts: list[str] = []
    others: list[_Part] = []
    for part in reading.objects(content, "content"):
        match part.get("type"):
            case "text":
                texts.append(reading.text(part, "text"))
                others += _rest(part)
            case "thinking":
                thought, within = _thought(reading, part)
                thoughts.append(thought)
                others += (*within, *_rest(part))
            case _:
                others.append(part)
    return Parts("".join(texts), "".join(thoughts), others)


def _thought(reading: BodyReading, part: _Part) -> tuple[str, list[_Part]]:
    """Its words, and the parts in it that are none. Others than Mistral have the words as one text."""
    thinking = part.get("thinking")
    if not isinstance(thinking, list):
        return reading.text(part, "thinking"), []
    words: list[str] = []
    others: list[_Part] = []
    for inner in reading.objects(thinking, "thinking"):
        if inner.get("type") == "text":
            words.append(reading.text(inner, "text"))
        else:
            others.append(inner)
    return "".join(words), others


def _rest(part: _Part) -> Iterator[_Part]:
    """A part of words without them, if anything else is said in it."""
    kind = part["type"]
    rest = {name: part[name] for name in part.keys() - _FIELDS[kind] if part[name] is not None}
    if rest:
        yield {"type": kind, **rest}
