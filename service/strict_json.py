"""JSON read strictly: no duplicate keys, bounded depth, and errors that say where. Costs a few µs for a usual body.

msgspec takes the last of two equal keys without a word. A key given twice shows in the sum: what came out has fewer
pairs than the text has colons outside its strings. Large texts are looked through and read in pieces (`json_pieces`),
and what has very many objects or values is refused before it is decoded, so that no step holds the interpreter for
longer than some milliseconds.
"""

import json
import re
from array import array
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import accumulate
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from service.json_pieces import (
    MAX_KEYS,
    PIECE_BYTES,
    DuplicateKey,
    LongKey,
    Malformed,
    ManyKeys,
    decode_in_pieces,
    unescaped,
)
from service.refusals import InvalidRequest

T = TypeVar("T")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
MAX_DEPTH: Final = 128
# Objects and lists in one body: a long conversation with its tools has some thousands.
MAX_CONTAINERS: Final = 50_000
# The largest call for embeddings that a provider takes has 300,000 tokens; freeing many more would be one long step.
MAX_VALUES: Final = 500_000
# To look for a key that is given twice takes one step, which is too long for a larger body.
MAX_NAMED_BYTES: Final = 1_048_576
# The decoder reads on for the other half, and says that the text is cut off.
_HALF_AT_THE_END: Final = re.compile(rb'(?i)(?<!\\)\\ud[89ab][0-9a-f]{2}"')
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
    # Each but a container's first has a comma before it.
    if skeleton.count(b",") + containers > MAX_VALUES:
        raise InvalidRequest(f"the JSON has more than {MAX_VALUES} values")
    value = _decode(raw)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    if _pairs(value) != skeleton.count(b":"):
        raise InvalidRequest(_duplicate(raw))
    return value


def _decode(raw: bytes) -> Any:
    try:
        return _DECODER.decode(raw) if len(raw) <= PIECE_BYTES else decode_in_pieces(raw)
    except UnicodeDecodeError as error:
        raise InvalidRequest("the body is not UTF-8") from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(_undecodable(raw, str(error))) from error
    except Malformed as error:
        raise InvalidRequest("the JSON is malformed") from error
    except LongKey as error:
        raise InvalidRequest(f"a key is longer than {PIECE_BYTES} bytes") from error
    except ManyKeys as error:
        raise InvalidRequest(f"an object has more than {MAX_KEYS} keys") from error
    except DuplicateKey as error:
        raise InvalidRequest(_duplicate(raw)) from error


def convert(value: dict[str, Any], to: type[T]) -> T:
    """The fields of this object that `to` has. Raises InvalidRequest with the path of what does not fit."""
    try:
        return msgspec.convert(value, to)
    except msgspec.ValidationError as error:
        # msgspec says "… - at `$.messages[0].role`"; a missing field is named in the text, its object in the path.
        text, _, path = str(error).partition(" - at `$")
        where = path.strip("`").lstrip(".")
        if missing := _MISSING.fullmatch(text):
            raise InvalidRequest("is missing", where=f"{where}.{missing[1]}".lstrip(".")) from error
        if text.startswith("Invalid enum value"):
            text = f"must be one of {', '.join(_choices_at(where, to))}"
        elif where.endswith("_usd") and isinstance(value.get(where), int | float):
            text = f'an amount is exact, so it goes in quotes: "{value[where]}"'
        raise InvalidRequest(text.replace("`", ""), where=where) from error


def choices_of(kind: Any) -> list[str]:
    """Of a Literal, or of a union with one; of any other type none."""
    members = [kind] if get_origin(kind) is Literal else get_args(kind)
    return [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]


def _choices_at(path: str, kind: Any) -> list[str]:
    """Those of a field within fields, as `cache.mode`."""
    for name in path.split("."):
        structs = [it for it in (kind, *get_args(kind)) if isinstance(it, type) and issubclass(it, msgspec.Struct)]
        kind = next((field.type for it in structs for field in msgspec.structs.fields(it) if field.name == name), None)
    return choices_of(kind)


def refuse_unknown(
    names: Iterable[str], known: tuple[str, ...], kind: str, *, within: str = "", where: str = ""
) -> None:
    """Raise InvalidRequest for the first of these names that is not known, naming the nearest one that is.

    where: what has the wrong name as its value; left out, the name itself is what is wrong.
    """
    for name in names:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}"
            wrong = f"{kind} {name!r}" if where else kind
            raise InvalidRequest(f"unknown {wrong}; {hint}", where=where or f"{within}{name}")


def _undecodable(raw: bytes, words: str) -> str:
    """What is wrong with a text that is no JSON: in the decoder's words, where they do not lead astray."""
    if not raw.strip():
        return "the body is empty: send a JSON object"
    if _HALF_AT_THE_END.search(raw) is not None and raw.rstrip().endswith(b"}"):
        return "JSON is malformed: a string ends with half of a utf-16 surrogate pair"
    return words


def _without_strings(raw: bytes) -> bytes:
    """What stands outside its strings. Of a text with too many objects, as much as shows that."""
    if len(raw) <= PIECE_BYTES:
        return b"".join(unescaped(raw).split(b'"')[::2])
    outside: list[bytes] = []
    containers, is_within, start = 0, 0, 0
    while start < len(raw) and containers <= MAX_CONTAINERS:
        piece = raw[start : start + PIECE_BYTES]
        if start + len(piece) < len(raw) and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            # An escape is not cut in two.
            piece = piece[:-1]
        parts = unescaped(piece).split(b'"')
        outside.append(b"".join(parts[is_within::2]))
        containers += _containers(outside[-1])
        is_within ^= (len(parts) - 1) % 2
        start += len(piece)
    return b"".join(outside)


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


def _duplicate(raw: bytes) -> str:
    named = "a key" if len(raw) > MAX_NAMED_BYTES else f"the key {_duplicate_key(raw)!r}"
    return f"{named} is given twice in one object"


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
