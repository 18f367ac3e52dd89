"""JSON read strictly: no duplicate keys, bounded depth, and errors that say where. Costs a few µs for a usual body.

msgspec takes the last of two equal keys without a word. A key given twice shows in the sum: what came out has fewer
pairs than the text has colons outside its strings. Large texts are looked through in pieces, and what has very many
objects is refused before it is decoded, so that no step holds the interpreter for longer than some milliseconds.
"""

import json
from array import array
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from service.refusals import InvalidRequest

T = TypeVar("T")
MAX_DEPTH: Final = 128
# Objects and lists in one body: a long conversation with its tools has some thousands.
MAX_CONTAINERS: Final = 50_000
PIECE_BYTES: Final = 262_144
_DECODER: Final = msgspec.json.Decoder()
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Opening adds one to the depth, closing takes one: +1 and -1 as signed bytes.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def decode_object(raw: bytes) -> dict[str, Any]:
    """The object that this JSON text is. Raises InvalidRequest for anything else, saying where."""
    skeleton = _without_strings(raw)
    containers = _containers(skeleton)
    if containers > MAX_CONTAINERS:
        raise InvalidRequest(f"the JSON has more than {MAX_CONTAINERS} objects and lists")
    if containers > MAX_DEPTH and _depth(skeleton) > MAX_DEPTH:
        raise InvalidRequest(f"the JSON is nested more than {MAX_DEPTH} deep")
    try:
        value = _DECODER.decode(raw)
    except UnicodeDecodeError as error:
        raise InvalidRequest("the body is not UTF-8") from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(str(error)) from error
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    if _pairs(value) != skeleton.count(b":"):
        raise InvalidRequest(f"the key {_duplicate_key(raw)!r} is given twice in one object")
    return value


def convert(value: dict[str, Any], to: type[T]) -> T:
    """The fields of this object that `to` has. Raises InvalidRequest with the path of what does not fit."""
    try:
        return msgspec.convert(value, to)
    except msgspec.ValidationError as error:
        # msgspec says "… - at `$.messages[0].role`"; a missing field is named in the text, its object in the path.
        text, _, path = str(error).partition(" - at `$")
        raise InvalidRequest(text.replace("`", ""), where=path.strip("`").lstrip(".")) from error


def refuse_unknown(names: Iterable[str], known: tuple[str, ...], kind: str, *, within: str = "") -> None:
    """Raise InvalidRequest for the first of these names that is not known, naming the nearest one that is."""
    for name in names:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}"
            raise InvalidRequest(f"unknown {kind}; {hint}", where=f"{within}{name}")


def _without_strings(raw: bytes) -> bytes:
    """What stands outside its strings. Of a text with too many objects, as much as shows that."""
    if len(raw) <= PIECE_BYTES:
        return b"".join(_split(raw)[::2])
    outside: list[bytes] = []
    containers, is_within, start = 0, 0, 0
    while start < len(raw) and containers <= MAX_CONTAINERS:
        end = start + PIECE_BYTES
        if raw[end - 1 : end] == b"\\":
            # An escape is not cut in two.
            rest = raw[end:]
            end += len(rest) - len(rest.lstrip(b"\\")) + 1
        parts = _split(raw[start:end])
        outside.append(b"".join(parts[is_within::2]))
        containers += _containers(outside[-1])
        is_within ^= (len(parts) - 1) % 2
        start = end
    return b"".join(outside)


def _split(text: bytes) -> list[bytes]:
    """The text at its quotation marks, but for escaped ones."""
    if b'\\"' in text:
        # In pairs from the left: what is left of a run of backslashes escapes the next character.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.split(b'"')


def _containers(skeleton: bytes) -> int:
    return skeleton.count(b"{") + skeleton.count(b"[")


def _depth(skeleton: bytes) -> int:
    """How deep it nests at most."""
    steps = array("b", skeleton.translate(_STEPS, _NOT_BRACKETS))
    return max(accumulate(steps), default=0)


def _pairs(value: Any) -> int:
    count = 0
    left = [value]
    while left:
        node = left.pop()
        if type(node) is dict:
            count += len(node)
            left.extend(node.values())
        elif type(node) is list:
            left.extend(node)
    return count


def _duplicate_key(raw: bytes) -> str:
    found: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=keep)
    return found[0]
