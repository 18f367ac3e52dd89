"""Which calls are equal: SHA-256 over everything that can change an answer. Source: DESIGN §6."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from ledger.values import Lookup
from router.json_text import json_pieces
from router.large import LARGE_BYTES
from router.responses import NOTHING_MORE

VERSION: Final = b"2"
# Fields that say who asked or how to deliver, never what to answer. Everything else counts, known to us or not.
NOT_IN_KEY: Final = frozenset(
    {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
# Enough to tell some thousand calls apart, for people.
SHOWN_KEY_CHARS: Final = 6


def cache_key(
    *,
    kind: str,
    scope: str,
    route: str,
    workflow: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    body_bytes: int = 0,
) -> bytes:
    """32 bytes that equal calls share, and different calls do not.

    kind: of call, for no answer is one to another kind. scope: who may share an entry. headers: those forwarded to the
    provider. body_bytes: about how long the body is; a large one is written in pieces.
    Each part is tagged and length-prefixed, so that no two different calls can be written the same way.
    """
    # What a surface keeps beside a body is a Struct, which JSON can look like, but not be.
    beside = {name: value for name, value in body.items() if isinstance(value, msgspec.Struct)}
    said = {name: value for name, value in body.items() if name not in NOT_IN_KEY and name not in beside}
    digest = hashlib.sha256(_asked_of(kind, scope, route, workflow))
    for tag, pieces in (
        (b"b", canonical(said, size=body_bytes)),
        (b"h", canonical(headers)),
        # In whose words a call came is no matter, if the others have words for all of it.
        *((b"m", canonical({name: value})) for name, value in sorted(beside.items()) if value is not NOTHING_MORE),
    ):
        digest.update(_length(tag, pieces))
        for piece in pieces:
            digest.update(piece)
    return digest.digest()


@lru_cache(maxsize=256)
def _asked_of(kind: str, scope: str, route: str, workflow: str) -> bytes:
    """The parts that most calls share with many others."""
    named = ((b"k", kind), (b"s", scope), (b"r", route), (b"w", workflow))
    parts = ((b"v", VERSION), *((tag, name.encode("utf-8", "surrogatepass")) for tag, name in named))
    return b"".join(_length(tag, [part]) + part for tag, part in parts)


def _length(tag: bytes, pieces: list[bytes]) -> bytes:
    return tag + sum(map(len, pieces)).to_bytes(8, "big")


def canonical(value: Mapping[str, Any], *, size: int = 0) -> list[bytes]:
    """JSON with its keys sorted at every depth, in pieces. One value has one form, and one form means one value.

    size: about how long it will be; what is not large is one piece.
    """
    if size < LARGE_BYTES:
        return [msgspec.json.encode(value, order="sorted")]
    return list(json_pieces(value, order="sorted"))


def shown_key(lookup: Lookup | None) -> str:
    """As much of a call's cache key as people are shown. Empty: it shares nothing with other calls."""
    return "" if lookup is None else shown(lookup.cache_key)


def shown(key: bytes) -> str:
    """As much of a cache key as people are shown."""
    return key.hex()[:SHOWN_KEY_CHARS]
