"""A whole answer as the ledger keeps it."""

from typing import Final

import msgspec

from router.answer import Answer

_FORMAT: Final = 1


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, what was known of its prompt, and which parameters were not sent with that."""

    format: int = _FORMAT
    answer: Answer
    estimated_prompt_tokens: int
    dropped_params: tuple[str, ...] = ()


def encode_stored(
    answer: Answer, *, estimated_prompt_tokens: int, dropped_params: tuple[str, ...] = ()
) -> bytes | None:
    """Bytes that `decode_stored` gives the same answer back from.

    None: there are none, for what the provider added in fields of its own is too deep, or a number too large, to keep.
    """
    stored = Stored(answer=answer, estimated_prompt_tokens=estimated_prompt_tokens, dropped_params=dropped_params)
    try:
        return msgspec.msgpack.encode(stored)
    except (OverflowError, RecursionError):
        return None


def decode_stored(body: bytes) -> Stored | None:
    """The answer, or None if another version wrote it in a way that this one does not read: then it is a miss."""
    try:
        stored = msgspec.msgpack.decode(body, type=Stored)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    return stored if stored.format == _FORMAT else None
