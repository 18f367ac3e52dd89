"""The chunks that most streams are made of: one choice with a little text and nothing else, read at half the cost.

What has any other field, or another type in one, is no such chunk: `openai_reading` reads it as it reads all.
"""

from typing import Annotated, Final

import msgspec

from router.providers.reading import MAX_INDEX


class _PlainDelta(msgspec.Struct, forbid_unknown_fields=True):
    role: str | None = None
    content: str | None = None
    refusal: None = None
    tool_calls: None = None
    reasoning_content: None = None


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _PlainDelta
    index: Annotated[int, msgspec.Meta(ge=0, le=MAX_INDEX)] = 0
    logprobs: None = None
    finish_reason: None = None


class PlainChunk(msgspec.Struct, forbid_unknown_fields=True):
    """A chunk of a chat completion that only goes on with the text. Padding and a usage that is null say nothing.

    system_fingerprint, service_tier: go on as they are.
    """

    choices: Annotated[tuple[_PlainChoice, ...], msgspec.Meta(min_length=1, max_length=1)]
    id: str = ""
    object: str = ""
    created: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 0
    model: str = ""
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    usage: None = None


_DECODER: Final = msgspec.json.Decoder(PlainChunk)


def plain_chunk(data: bytes) -> PlainChunk | None:
    """The chunk that this JSON is. None: it is not a plain one."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
