"""Reads the answers of OpenAI's chat completions, whole or in events.

What we have no field for is kept: unknown fields of a message, a delta or its choice in `Delta.extra`, those of the
response or its chunks in `Closing.extra`.
"""

from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec

from ledger.usage import Usage
from router.answer import Closing, Delta, ToolCallDelta
from router.deployments import Provider
from router.faults import Fault, Outcome, classify_error_object
from router.providers.client import ANSWER_BYTES, decode_object, without_key
from router.providers.sse import EventParser, SseEvent, StreamTooLarge

DONE: Final = b"[DONE]"
MAX_TOKENS: Final = 10**9
MAX_INDEX: Final = 1023
NAME_CHARS: Final = 256

# What has a field of its own; `obfuscation` only pads the event.
_CHUNK_FIELDS: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"})
_CHOICE_FIELDS: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE_FIELDS: Final = frozenset({"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning"})


class Reading(Protocol):
    """Bytes of a body in, deltas out."""

    is_done: bool

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """What these bytes add."""

    def finish(self) -> Iterator[Delta]:
        """What the end of the body adds."""

    def closing(self) -> Closing:
        """The end of a whole answer. Raises Fault if it is not whole."""


class _Answer:
    """What one response has said so far, from objects shaped like a completion or a chunk of one."""

    def __init__(self, provider: Provider, status: int) -> None:
        self.status = status
        self._provider = provider
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._usage: Usage | None = None
        self._id = ""
        self._model = ""
        self._created_at_s = 0
        self._extra: dict[str, Any] = {}

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        return self._finished == self._seen

    def closing(self) -> Closing:
        if not self._seen:
            raise self.bad("there is no choice in the answer")
        return Closing(
            usage=self._usage,
            provider_model=self._model,
            provider_response_id=self._id,
            created_at_s=self._created_at_s,
            extra=self._extra or None,
        )

    def take(self, data: bytes, part: str) -> Iterator[Delta]:
        """The choices in one JSON object. part: where each holds its words, "message" or "delta"."""
        said = decode_object(data, status=self.status)
        choices = said.get("choices")
        if said.get("error") or (choices is None and _looks_like_an_error(said)):
            raise self.error(data)
        self._note(said)
        for position, choice in enumerate(self._objects(choices, "choices")):
            if choice.get("error"):
                raise self.error(msgspec.json.encode(choice))
            delta = self._delta(choice, part, position)
            if delta is not None:
                yield delta

    def error(self, data: bytes) -> Fault:
        """The fault that an error within a successful response is."""
        try:
            said = decode_object(without_key(data, self._provider), status=self.status)
        except Fault as fault:
            return fault
        return classify_error_object(said, status=self.status)

    def bad(self, why: str) -> Fault:
        return Fault(Outcome.BAD_ANSWER, why, status=self.status)

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("usage") is not None:
            # The newest counts: some providers repeat it, growing, with every chunk.
            self._usage = usage_of(said["usage"])
        if isinstance(model := said.get("model"), str) and model:
            self._model = model[:NAME_CHARS]
        if not self._id and isinstance(name := said.get("id"), str):
            self._id = name[:NAME_CHARS]
        if not self._created_at_s and isinstance(created := said.get("created"), int):
            self._created_at_s = max(0, min(created, 2**40))
        for name in said.keys() - _CHUNK_FIELDS:
            if said[name] is not None:
                self._extra[name] = said[name]

    def _delta(self, choice: dict[str, Any], part: str, position: int) -> Delta | None:
        """What a choice adds. None: nothing (a role, or a chunk that only pads)."""
        index = self._index(choice, position)
        message = choice.get(part) or {}
        if not isinstance(message, dict):
            raise self.bad(f"{part} is not an object")
        finish_reason = self._text(choice, "finish_reason") or None
        self._seen.add(index)
        if finish_reason is not None:
            self._finished.add(index)
        text = self._text(message, "content")
        reasoning = _reasoning(message)
        refusal = self._text(message, "refusal")
        calls = message.get("tool_calls")
        logprobs = choice.get("logprobs")
        extra = _extra(choice, message)
        if not (text or reasoning or refusal or calls or logprobs or finish_reason or extra):
            return None
        return Delta(
            choice=index,
            text=text,
            reasoning=reasoning,
            refusal=refusal,
            tool_calls=tuple(self._tool_calls(calls)) if calls else (),
            logprobs=logprobs if isinstance(logprobs, dict) else None,
            finish_reason=finish_reason,
            extra=extra,
        )

    def _tool_calls(self, calls: Any) -> Iterator[ToolCallDelta]:
        for position, call in enumerate(self._objects(calls, "tool_calls")):
            # Only a call's first piece need name its type.
            kind = self._text(call, "type") or ("custom" if "custom" in call else "function")
            said = call.get(kind) or {}
            if not isinstance(said, dict):
                raise self.bad("a tool call is not an object")
            yield ToolCallDelta(
                index=self._index(call, position),
                id=self._text(call, "id"),
                name=self._text(said, "name"),
                arguments=self._text(said, "input" if kind == "custom" else "arguments"),
                type=kind,
            )

    def _objects(self, value: Any, name: str) -> list[dict[str, Any]]:
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.bad(f"{name} is not a list of objects")
        return value

    def _index(self, fields: dict[str, Any], default: int) -> int:
        value = fields.get("index")
        if value is None:
            return default
        if type(value) is not int or not 0 <= value <= MAX_INDEX:
            raise self.bad("an index is not a small number")
        return value

    def _text(self, fields: dict[str, Any], name: str) -> str:
        value = fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(f"{name} is not text")
        return value


class WholeAnswer(_Answer):
    """An answer in one piece of JSON."""

    is_done = False

    def __init__(self, provider: Provider, status: int) -> None:
        super().__init__(provider, status)
        self._pieces: list[bytes] = []
        self._bytes = 0

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        self._bytes += len(chunk)
        if self._bytes > ANSWER_BYTES:
            raise self.bad("the answer is too long")
        self._pieces.append(chunk)
        return iter(())

    def finish(self) -> Iterator[Delta]:
        return self.take(b"".join(self._pieces), "message")


class EventStream(_Answer):
    """An answer in events. Whole at [DONE], or at the end of the body if every choice said why it ended."""

    def __init__(self, provider: Provider, status: int) -> None:
        super().__init__(provider, status)
        self.is_done = False
        self._parser = EventParser()

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        try:
            events = self._parser.feed(chunk)
        except StreamTooLarge as error:
            raise self.bad(str(error)) from error
        return self._deltas(events)

    def finish(self) -> Iterator[Delta]:
        return self._deltas(self._parser.finish())

    def closing(self) -> Closing:
        closing = super().closing()
        if not self.is_done and not self.is_finished:
            raise Fault(Outcome.CUT, "the stream ended before the answer did", status=self.status)
        return closing

    def _deltas(self, events: list[SseEvent]) -> Iterator[Delta]:
        for event in events:
            if self.is_done:
                return
            if event.data == DONE:
                self.is_done = True
            elif event.event == b"error":
                raise self.error(event.data)
            elif event.data:
                yield from self.take(event.data, "delta")


def usage_of(said: Any) -> Usage | None:
    """Billable tokens from an OpenAI usage object. None: it is not believable, which is the same as not said.

    prompt_tokens includes cached ones, completion_tokens includes reasoning; where a provider's total shows that its
    reasoning comes on top (xAI), it is added.
    """
    if not isinstance(said, dict):
        return None
    prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
    cached = _part(said, "prompt_tokens_details", "cached_tokens")
    reasoning = _part(said, "completion_tokens_details", "reasoning_tokens")
    # By type, for True is an int too.
    counts = (prompt, completion, cached, reasoning)
    if not all(type(count) is int and 0 <= count <= MAX_TOKENS for count in counts):
        return None
    assert isinstance(prompt, int)
    assert isinstance(completion, int)
    if reasoning and said.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    if cached > prompt or reasoning > completion:
        return None
    return Usage.of(prompt, completion, cached=cached, reasoning=reasoning)


def _part(said: dict[str, Any], details: str, name: str) -> Any:
    """A count within a total; 0 where the provider does not break the total down."""
    parts = said.get(details)
    value = parts.get(name) if isinstance(parts, dict) else parts
    return 0 if value is None else value


def _looks_like_an_error(said: dict[str, Any]) -> bool:
    return said.get("object") == "error" or said.get("type") == "error" or bool(said.keys() & {"message", "detail"})


def _reasoning(message: dict[str, Any]) -> str:
    """Providers name it in two ways, and some in both at once."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := message.get(name), str) and text:
            return text
    return ""


def _extra(choice: dict[str, Any], message: dict[str, Any]) -> dict[str, Any] | None:
    extra = {name: choice[name] for name in choice.keys() - _CHOICE_FIELDS if choice[name] is not None}
    for name in message.keys() - _MESSAGE_FIELDS:
        if message[name] is not None:
            extra[name] = message[name]
    return extra or None
