"""Reads the answers of OpenAI's chat completions, whole or in events.

What we have no field for is kept: unknown fields of a message, a delta or its choice in `Delta.extra`, those of a tool
call in its own `extra`, parts of the content that are no words in `content_parts`, those of the response or its chunks
in `Closing.extra`, with those of its usage under `usage`.
"""

from collections.abc import Iterator
from typing import Any, Final

from ledger.usage import Usage
from router.answer import Closing, Delta, ToolCallDelta
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.client import decode_object, without_key
from router.providers.openai_parts import parts_of
from router.providers.openai_passing import chunk_to_pass
from router.providers.openai_plain import PlainChunk, plain_chunk
from router.providers.reading import NAME_CHARS, BodyReading, EventsReading, WholeBody, beside_usage, usage_from
from router.providers.sse import EventParser, SseEvent, framed

DONE: Final = b"[DONE]"

_PROMPT: Final = "prompt_tokens"
_COMPLETION: Final = "completion_tokens"
# What has a field of its own; `obfuscation` only pads the event.
_CHUNK_FIELDS: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"})
_CHOICE_FIELDS: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE_FIELDS: Final = frozenset({"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning"})
_CALL_FIELDS: Final = frozenset({"index", "id", "type", "function", "custom"})


class _Answer(BodyReading):
    """What one response has said so far, from objects shaped like a completion or a chunk of one."""

    FORMAT = "chat.completions"

    def __init__(self, provider: Provider, status: int, *, keeps_events: bool = False) -> None:
        super().__init__(provider, status, keeps_events=keeps_events)
        self._seen: set[int] = set()
        # {(choice, index of a tool call): its id, and its place among the choice's calls}
        self._called: dict[tuple[int, int], tuple[str, int]] = {}
        self._finished: set[int] = set()

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        return self._finished == self._seen

    def closing(self) -> Closing:
        if not self._seen:
            raise self.bad("there is no choice in the answer")
        return super().closing()

    def take(self, data: bytes, part: str) -> Iterator[Delta]:
        """The choices in one JSON object, the key not in it. part: where each has its words, "message" or "delta"."""
        said = decode_object(data, status=self.status)
        if said.get("error") or (said.get("choices") is None and _looks_like_an_error(said)):
            raise self.error(data)
        self._note(said)
        choices = self.objects(said.get("choices"), "choices")
        if self.keeps_events:
            self.keep(chunk_to_pass(said, data))
        for position, choice in enumerate(choices):
            if choice.get("error"):
                raise self.error_in(choice)
            delta = self._delta(choice, part, position)
            if delta is not None:
                yield delta

    def _plain_delta(self, chunk: PlainChunk, data: bytes) -> Delta | None:
        """The same, of a chunk that has but some text."""
        (choice,) = chunk.choices
        self._seen.add(choice.index)
        if chunk.model:
            self._model = chunk.model[:NAME_CHARS]
        self._id = self._id or chunk.id[:NAME_CHARS]
        self._created_at_s = self._created_at_s or chunk.created
        if chunk.system_fingerprint is not None:
            self.extra["system_fingerprint"] = chunk.system_fingerprint
        if chunk.service_tier is not None:
            self.extra["service_tier"] = chunk.service_tier
        raw = framed(data) if self.keeps_events else None
        if text := choice.delta.content:
            return Delta(choice=choice.index, text=text, raw=None if raw is None else self.told_with(raw))
        if raw is not None:
            self.keep(raw)
        return None

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("usage") is not None:
            # The newest counts: some providers repeat it, growing, with every chunk.
            self.usage = usage_of(said["usage"])
            if beside := beside_usage(said["usage"], prompt=_PROMPT, completion=_COMPLETION):
                self.extra["usage"] = beside
        self.note(said, created=said.get("created"))
        for name in said.keys() - _CHUNK_FIELDS:
            if said[name] is not None:
                self.extra[name] = said[name]

    def _delta(self, choice: dict[str, Any], part: str, position: int) -> Delta | None:
        """What a choice adds. None: nothing (a role, or a chunk that only pads)."""
        index = self.index(choice, position)
        message = choice.get(part) or {}
        if not isinstance(message, dict):
            raise self.bad(f"{part} is not an object")
        finish_reason = self.text(choice, "finish_reason") or None
        self._seen.add(index)
        if finish_reason is not None:
            self._finished.add(index)
        reasoning = _reasoning(message)
        extra, beside = _extra(choice, message)
        if isinstance(content := message.get("content"), list):
            parts = parts_of(self, content)
            text, reasoning = parts.text, reasoning or parts.reasoning
            if parts.others:
                extra = {**(extra or {}), "content_parts": parts.others}
        else:
            text = self.text(message, "content")
        refusal = self.text(message, "refusal")
        calls = message.get("tool_calls")
        logprobs = choice.get("logprobs")
        if not (text or reasoning or refusal or calls or logprobs or finish_reason or extra):
            return None
        return Delta(
            choice=index,
            text=text,
            reasoning=reasoning,
            refusal=refusal,
            tool_calls=tuple(self._tool_calls(index, calls)) if calls else (),
            logprobs=logprobs if isinstance(logprobs, dict) else None,
            finish_reason=finish_reason,
            extra=extra,
            beside=beside,
            raw=self.told(),
        )

    def _tool_calls(self, choice: int, calls: Any) -> Iterator[ToolCallDelta]:
        for position, call in enumerate(self.objects(calls, "tool_calls")):
            # Only a call's first piece need name its type.
            kind = self.text(call, "type") or ("custom" if "custom" in call else "function")
            said = call.get(kind) or {}
            if not isinstance(said, dict):
                raise self.bad("a tool call is not an object")
            name, call_id = self.text(said, "name"), self.text(call, "id")
            extra = {field: call[field] for field in call.keys() - _CALL_FIELDS if call[field] is not None}
            yield ToolCallDelta(
                index=self._place((choice, self.index(call, position)), call_id, begins=bool(name)),
                id=call_id,
                name=name,
                arguments=self.text(said, "input" if kind == "custom" else "arguments"),
                type=kind,
                extra=extra or None,
                format=self.FORMAT if extra else "",
            )

    def _place(self, said: tuple[int, int], call_id: str, *, begins: bool) -> int:
        """Where a tool call stands among its choice's. Some servers (older Ollama) give all calls the same index."""
        known_id, place = self._called.get(said, ("", None))
        if place is None or (begins and call_id and known_id and call_id != known_id):
            taken = [at for (choice, _), (_, at) in self._called.items() if choice == said[0]]
            place = said[1] if place is None and said[1] not in taken else max(taken) + 1
        self._called[said] = (call_id or known_id, place)
        return place


class WholeAnswer(_Answer):
    """An answer in one piece of JSON."""

    is_done = False

    def __init__(self, provider: Provider, status: int) -> None:
        super().__init__(provider, status)
        self._body = WholeBody(status)

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        self._body.add(chunk)
        return iter(())

    def finish(self) -> Iterator[Delta]:
        return self.take(without_key(self._body.joined(), self._provider), "message")


class EventStream(EventsReading, _Answer):
    """An answer in events. Whole at [DONE], or at the end of the body if every choice said why it ended."""

    def __init__(self, provider: Provider, status: int, *, keeps_events: bool = False) -> None:
        super().__init__(provider, status, keeps_events=keeps_events)
        self.is_done = False
        self._parser = EventParser()

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
                data = without_key(event.data, self._provider)
                plain = plain_chunk(data)
                if plain is None:
                    yield from self.take(data, "delta")
                elif (delta := self._plain_delta(plain, data)) is not None:
                    yield delta


def usage_of(said: Any) -> Usage | None:
    """Billable tokens from an OpenAI usage object. None: it is not believable, which is the same as not said."""
    return usage_from(said, prompt=_PROMPT, completion=_COMPLETION)


def _looks_like_an_error(said: dict[str, Any]) -> bool:
    return said.get("object") == "error" or said.get("type") == "error" or bool(said.keys() & {"message", "detail"})


def _reasoning(message: dict[str, Any]) -> str:
    """Providers name it in two ways, and some in both at once."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := message.get(name), str) and text:
            return text
    return ""


def _extra(choice: dict[str, Any], message: dict[str, Any]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Fields that we have none for, and the names of those that the choice has, not its message."""
    extra = {name: message[name] for name in message.keys() - _MESSAGE_FIELDS if message[name] is not None}
    names = choice.keys() - _CHOICE_FIELDS
    if not names:
        return extra or None, ()
    beside = {name: choice[name] for name in sorted(names) if name not in extra and choice[name] is not None}
    return {**beside, **extra} or None, tuple(beside)
