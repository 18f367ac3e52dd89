"""A provider's own event on its way to a caller who speaks the same format: as it came, less what is ours to say."""

from typing import Any

import msgspec

from router.providers.sse import framed


def chunk_to_pass(said: dict[str, Any], data: bytes) -> bytes:
    """The bytes for this chunk of a chat completion; empty, if nothing is left of it. said: data, decoded.

    Usage is told once, at the end and with what it cost. Reasoning goes by one name, whoever answers. May change said.
    """
    is_as_it_came = True
    choices = said.get("choices") or ()
    if said.get("usage") is not None:
        if not choices:
            return b""
        said["usage"] = None
        is_as_it_came = False
    for choice in choices:
        message = choice.get("delta")
        if isinstance(message, dict) and message.get("reasoning") and not message.get("reasoning_content"):
            message["reasoning_content"] = message.pop("reasoning")
            is_as_it_came = False
    return framed(data if is_as_it_came else msgspec.json.encode(said))
