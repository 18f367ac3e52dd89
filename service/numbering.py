"""Lists that a streamed chat completion brings beside its words, numbered for those who add them up. Pure.

The `openai` package joins the objects of a list by their `index`, as those of `tool_calls`, and fails at one without
it as soon as a list comes in two chunks. Texts and numbers it puts one after the other.
Source: `openai/lib/streaming/_deltas.py` of version 3.52.
"""

from typing import Any, Final

from router.answer import Delta

# Names from a choice down to a list: as far as anybody's fields are known to go, and no recursion without an end.
_DEPTH: Final = 8

_Place = tuple[int | str, ...]


class Numbering:
    """Gives each object in a list an `index`, counting on over the stream, by choice and field.

    What comes for the first time with its choice's end comes whole, and stays as it came: so do answers from the
    store. So does a list of objects and other things, which no provider is known to send in pieces.
    """

    def __init__(self) -> None:
        self._counts: dict[_Place, int] = {}

    def numbered(self, delta: Delta) -> dict[str, Any]:
        """The delta's `extra`, which itself stays as it is."""
        is_end = delta.finish_reason is not None
        extra = delta.extra or {}
        return {name: self._value((delta.choice, name), value, is_end=is_end) for name, value in extra.items()}

    def _value(self, place: _Place, value: Any, *, is_end: bool) -> Any:
        if isinstance(value, dict) and len(place) < _DEPTH:
            return {name: self._value((*place, name), inner, is_end=is_end) for name, inner in value.items()}
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            return value
        begun = self._counts.get(place, 0)
        if is_end and not begun:
            return value
        self._counts[place] = begun + len(value)
        # An entry with a number of its provider's keeps it.
        return [
            entry if entry.get("index") is not None else {**entry, "index": number}
            for number, entry in enumerate(value, begun)
        ]
