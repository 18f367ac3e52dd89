"""A provider's own event on its way to a caller who speaks the same format: as it came, less what is ours to say."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.answer import Delta
from router.faults import Fault
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


def together(deltas: Iterator[Delta]) -> Iterator[Delta]:
    """The same, with texts that came in one piece as one text: all that is done with a delta is done once for them.

    For deltas with the events that they came from: these go on as they came.
    """
    run: list[Delta] = []
    try:
        for delta in deltas:
            is_plain = _is_plain(delta)
            if run and not (is_plain and delta.choice == run[0].choice):
                yield _as_one(run)
                run = []
            if is_plain:
                run.append(delta)
            else:
                yield delta
    except Fault:
        # What came before it was said all the same.
        if run:
            yield _as_one(run)
        raise
    if run:
        yield _as_one(run)


def _is_plain(delta: Delta) -> bool:
    """Whether it is some text of a choice, with its event, and nothing else."""
    if not delta.text or delta.raw is None or delta.reasoning or delta.refusal or delta.tool_calls:
        return False
    is_marked = delta.logprobs is not None or delta.finish_reason is not None or delta.extra is not None
    return not (is_marked or delta.vector or delta.block is not None or delta.event is not None or delta.items)


def _as_one(run: list[Delta]) -> Delta:
    if len(run) == 1:
        return run[0]
    text, raw = "".join([delta.text for delta in run]), b"".join([delta.raw or b"" for delta in run])
    return Delta(choice=run[0].choice, text=text, raw=raw)


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
