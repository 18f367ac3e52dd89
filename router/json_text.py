"""JSON texts of large values, written in pieces, so that no step in C holds the interpreter for long.

What comes out, joined, is what msgspec writes in one step.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

Order = Literal["sorted"] | None

PIECE_CHARS: Final = 262_144
# What a number, or anything else that is no text, counts for.
_SCALAR_CHARS: Final = 8
_ENCODERS: Final[dict[Order, msgspec.json.Encoder]] = {
    order: msgspec.json.Encoder(order=order) for order in (None, "sorted")
}


def json_text(value: Any) -> bytes:
    """The whole of it."""
    pieces = list(json_pieces(value))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def json_pieces(value: Any, *, order: Order = None) -> Iterator[bytes]:
    """The text's pieces. order: of an object's keys, at every depth; None: as they are."""
    encode = _ENCODERS[order].encode
    if _chars(value, PIECE_CHARS) <= PIECE_CHARS:
        yield encode(value)
    elif isinstance(value, str):
        yield b'"'
        for begins in range(0, len(value), PIECE_CHARS):
            yield encode(value[begins : begins + PIECE_CHARS])[1:-1]
        yield b'"'
    elif isinstance(value, dict):
        yield from _members(value, order)
    elif isinstance(value, list):
        yield from _items(value, order)
    else:
        yield encode(value)


def _members(value: Mapping[str, Any], order: Order) -> Iterator[bytes]:
    encode = _ENCODERS[order].encode
    before = b"{"
    few: dict[str, Any] = {}
    room = PIECE_CHARS
    for name in sorted(value) if order == "sorted" else value:
        chars = len(name) + _chars(value[name], room)
        if few and chars > room:
            yield before + encode(few)[1:-1]
            before, few, room = b",", {}, PIECE_CHARS
            chars = len(name) + _chars(value[name], room)
        if chars > room:
            yield before + encode(name) + b":"
            yield from json_pieces(value[name], order=order)
            before = b","
            continue
        few[name] = value[name]
        room -= chars
    yield (before + encode(few)[1:-1] if few else b"") + b"}"


def _items(value: list[Any], order: Order) -> Iterator[bytes]:
    encode = _ENCODERS[order].encode
    before = b"["
    few: list[Any] = []
    room = PIECE_CHARS
    for item in value:
        chars = _chars(item, room)
        if few and chars > room:
            yield before + encode(few)[1:-1]
            before, few, room = b",", [], PIECE_CHARS
            chars = _chars(item, room)
        if chars > room:
            yield before
            yield from json_pieces(item, order=order)
            before = b","
            continue
        few.append(item)
        room -= chars
    yield (before + encode(few)[1:-1] if few else b"") + b"]"


def _chars(value: Any, most: int) -> int:
    """About how long its text is. Of what is longer than `most`, no more than shows that."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, dict):
        chars = 0
        for name, inner in value.items():
            chars += len(name) + _chars(inner, most - chars)
            if chars > most:
                break
        return chars + 2
    if isinstance(value, list):
        chars = 0
        for inner in value:
            chars += _chars(inner, most - chars)
            if chars > most:
                break
        return chars + 2
    return _SCALAR_CHARS
