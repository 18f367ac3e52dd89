"""A provider's own event on its way to a caller who speaks the same format: as it came, less what is ours to say."""

from typing import Any, Final

import msgspec

from router.answer import Delta
from router.providers.sse import framed

# What a writer of a response must know of an event that passes as it came.
_TOLD_BESIDE: Final = ("sequence_number", "output_index", "item")
# The first two events of a response are ours to say, for they name it: 0 and 1.
_LAST_OF_OURS: Final = 1
MAX_NUMBER: Final = 2**53


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


class ResponseEventsToPass:
    """The events of one response, one after the other, for callers of `/v1/responses`.

    keeps_bytes: whether they may go out as they came. They do as long as their numbers follow those that went before.
    """

    def __init__(self, *, keeps_bytes: bool) -> None:
        self._keeps_bytes = keeps_bytes
        self._last_number = _LAST_OF_OURS

    def beside(self, delta: Delta, said: dict[str, Any], data: bytes) -> Delta:
        """The delta with its event, and with the event's bytes, if they can pass. said: data, decoded, with its type.

        data: empty, if it did not say that itself.
        """
        if isinstance(response := said.get("response"), dict):
            # How it goes by its name; the rest is ours to say.
            named = {"type": said["type"], "response": {"id": response.get("id")}}
            return msgspec.structs.replace(delta, event=named)
        number = said.get("sequence_number")
        # By type, for True is an int too.
        if not (self._keeps_bytes and data and type(number) is int and self._follows(number)):
            self._last_number += 1
            return msgspec.structs.replace(delta, event=said)
        self._last_number = number
        beside = {name: said[name] for name in _TOLD_BESIDE if name in said}
        return msgspec.structs.replace(delta, event=beside, raw=framed(data, said["type"].encode()))

    def _follows(self, number: int) -> bool:
        return self._last_number < number <= MAX_NUMBER
