"""What readings of answers share, whatever the endpoint: names, fields by their kind, usage, bytes within bounds."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol

import msgspec

from ledger.usage import Usage
from router.answer import Closing, Delta
from router.call import EventFormat
from router.deployments import Provider
from router.faults import Fault, Outcome, classify_error_object
from router.providers.client import ANSWER_BYTES, MAX_TOKENS, decode_object, without_key
from router.providers.sse import EventParser, SseEvent, StreamTooLarge

MAX_INDEX: Final = 1023
NAME_CHARS: Final = 256
# Of events that say nothing, how much is kept for the first one that does.
UNTOLD_BYTES: Final = 64 * 2**10
# {a part of a total, as `Usage.of` calls it: its name in OpenAI's details}.
_OF_READ: Final = {
    "cached": "cached_tokens",
    "cache_write": "cache_write_tokens",
    "audio": "audio_tokens",
    "image": "image_tokens",
}
_OF_WRITTEN: Final = {
    "reasoning": "reasoning_tokens",
    "output_audio": "audio_tokens",
    "output_image": "image_tokens",
}


class Reading(Protocol):
    """Bytes of a body in, deltas out."""

    is_done: bool

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """What these bytes add."""

    def finish(self) -> Iterator[Delta]:
        """What the end of the body adds."""

    def closing(self) -> Closing:
        """The end of a whole answer. Raises Fault if it is not whole."""

    def usage_so_far(self) -> Usage | None:
        """See `router.answer.SaysUsage`."""


class BodyReading:
    """What one response said of itself, and its fields by the kind that they must be of.

    keeps_events: see `Upstream.attempt`. FORMAT: in whose words it is, where callers may speak the same.
    """

    FORMAT: ClassVar[EventFormat] = ""

    def __init__(self, provider: Provider, status: int, *, keeps_events: bool = False) -> None:
        self.status = status
        self.keeps_events = keeps_events
        self._untold = b""
        self.usage: Usage | None = None
        self.extra: dict[str, Any] = {}
        self.is_whole = True
        self.is_of_one_model = True
        self._provider = provider
        self._id = ""
        self._model = ""
        self._created_at_s = 0

    def closing(self) -> Closing:
        """The closing of what was noted so far."""
        return Closing(
            usage=self.usage,
            provider_model=self._model,
            provider_response_id=self._id,
            created_at_s=self._created_at_s,
            extra=self.extra or None,
            format=self.FORMAT,
            is_whole=self.is_whole,
            is_of_one_model=self.is_of_one_model,
        )

    def usage_so_far(self) -> Usage | None:
        """See `router.answer.SaysUsage`."""
        return self.usage

    def note(self, said: dict[str, Any], *, created: Any) -> None:
        """Keep the names in this object. created: the moment in it, in seconds, if it is one."""
        if isinstance(model := said.get("model"), str) and model:
            self._model = model[:NAME_CHARS]
        if not self._id and isinstance(name := said.get("id"), str):
            self._id = name[:NAME_CHARS]
        if not self._created_at_s and isinstance(created, int | float) and 0 <= created <= 2**40:
            self._created_at_s = int(created)

    def keep(self, passed: bytes) -> None:
        """Have the next delta take this along, too."""
        if len(self._untold) + len(passed) > UNTOLD_BYTES:
            # Only padding has come for so long.
            self._untold = b""
        self._untold += passed

    def told_with(self, passed: bytes) -> bytes | None:
        """What the delta takes along that this led to."""
        if not self._untold:
            return passed
        self.keep(passed)
        return self.told()

    def told(self) -> bytes | None:
        """What a delta takes along: all that was kept since the last one, if anything is."""
        if not self.keeps_events:
            return None
        told, self._untold = self._untold, b""
        return told

    def error(self, data: bytes) -> Fault:
        """The fault that an error within a successful response is."""
        try:
            said = decode_object(without_key(data, self._provider), status=self.status)
        except Fault as fault:
            return fault
        return classify_error_object(said, status=self.status)

    def error_in(self, said: dict[str, Any]) -> Fault:
        """The same, of an object that was decoded already."""
        try:
            return self.error(msgspec.json.encode(said))
        except (OverflowError, RecursionError):
            return self.bad("an error instead of an answer")

    def bad(self, why: str) -> Fault:
        """The fault that an answer of another shape is."""
        return Fault(Outcome.BAD_ANSWER, why, status=self.status)

    def objects(self, value: Any, name: str) -> list[dict[str, Any]]:
        """A list of objects; null is an empty one. Raises Fault."""
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.bad(f"{name} is not a list of objects")
        return value

    def index(self, fields: dict[str, Any], default: int) -> int:
        """The field `index`. Raises Fault unless it is a small number."""
        value = fields.get("index")
        if value is None:
            return default
        if type(value) is not int or not 0 <= value <= MAX_INDEX:
            raise self.bad("an index is not a small number")
        return value

    def text(self, fields: dict[str, Any], name: str) -> str:
        """A field of text; null is none. Raises Fault."""
        value = fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(f"{name} is not text")
        return value


class EventsReading(BodyReading):
    """A reading of a body in events, as its bytes come."""

    _parser: EventParser

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """What these bytes add. Raises Fault beyond what a stream may hold."""
        try:
            events = self._parser.feed(chunk)
        except StreamTooLarge as error:
            raise self.bad(str(error)) from error
        return self._deltas(events)

    def finish(self) -> Iterator[Delta]:
        """What the end of the body adds."""
        return self._deltas(self._parser.finish())

    def _deltas(self, events: list[SseEvent]) -> Iterator[Delta]:
        """What these events add."""
        raise NotImplementedError


class WholeBody:
    """A body in one piece, as its chunks come."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, chunk: bytes) -> None:
        """Keep these bytes. Raises Fault beyond ANSWER_BYTES."""
        self._bytes += len(chunk)
        if self._bytes > ANSWER_BYTES:
            raise Fault(Outcome.BAD_ANSWER, "the answer is too long", status=self._status)
        self._pieces.append(chunk)

    def joined(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


def usage_from(said: Any, *, prompt: str, completion: str) -> Usage | None:
    """Billable tokens from a usage object in one of OpenAI's shapes. None: it is not believable, so it was not said.

    prompt, completion: the names of its totals, each beside its `…_details`. What was read includes cached tokens and
    those newly cached, what was written includes reasoning; where a provider's total shows that its reasoning comes on
    top (xAI), it is added. Audio and images are counted again among the cached; `text_tokens` is only what is left.
    """
    if not isinstance(said, dict):
        return None
    read, written = said.get(prompt), said.get(completion)
    of_read = _parts(said.get(f"{prompt}_details"), _OF_READ)
    of_written = _parts(said.get(f"{completion}_details"), _OF_WRITTEN)
    if of_read is None or of_written is None:
        return None
    for count in (read, written, *of_read.values(), *of_written.values()):
        # By type, for True is an int too.
        if type(count) is not int or not 0 <= count <= MAX_TOKENS:
            return None
    assert isinstance(read, int)
    assert isinstance(written, int)
    reasoning = of_written.get("reasoning", 0)
    if reasoning and said.get("total_tokens") == read + written + reasoning:
        written += reasoning
    try:
        return Usage.of(read, written, **of_read, **of_written)
    except ValueError:
        return None


def beside_usage(said: Any, *, prompt: str, completion: str) -> dict[str, Any]:
    """What a usage object says that `usage_from` does not read (how long a call waited, say), in its places."""
    if not isinstance(said, dict):
        return {}
    kinds = {f"{prompt}_details": _OF_READ, f"{completion}_details": _OF_WRITTEN}
    read = {prompt, completion, "total_tokens", *kinds}
    beside = {name: said[name] for name in said.keys() - read if said[name] is not None}
    for name, names in kinds.items():
        if isinstance(details := said.get(name), dict):
            further = {it: details[it] for it in details.keys() - names.values() if details[it] is not None}
            beside |= {name: further} if further else {}
    return beside


def _parts(details: Any, names: Mapping[str, str]) -> dict[str, Any] | None:
    """{part: its count within a total}, of those that the provider tells apart. None: these are no details."""
    if details is None:
        return {}
    if not isinstance(details, dict):
        return None
    return {part: count for part, name in names.items() if (count := details.get(name)) is not None}
