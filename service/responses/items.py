"""Canonical deltas as the output items of `/v1/responses` and the events that these come in. Pure.

Items grow after they were told of: an event is to be written down before the next one is asked for.
Source: the item and event types of the `openai` package, version 3.52.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.answer import Choice, Delta, ToolCallDelta
from router.assemble import replay_choice
from router.responses import THOUGHT_FIELDS, sealed_thoughts

Item = dict[str, Any]
Event = dict[str, Any]

# {type of a call: (its item's type, the field and the events of its arguments, how its ids begin)}
CALLS: Final = {
    "function": ("function_call", "arguments", "response.function_call_arguments", "fc_"),
    "custom": ("custom_tool_call", "input", "response.custom_tool_call_input", "ctc_"),
}
_COMPLETE: Final = frozenset({"stop", "tool_calls", "function_call"})
ADDED: Final = "response.output_item.added"
DONE: Final = "response.output_item.done"


class _Open(msgspec.Struct):
    """An item that is not whole yet: its place, what is known of it, and the text of the part that grows."""

    index: int
    item: Item
    text: list[str] = []
    part: Item | None = None
    extra: dict[str, Any] = {}


class ItemWriter:
    """Turns one choice's deltas into items. items: those that are whole or begun, in their order.

    name: what all their ids have in common. Thoughts and words end where something else begins; calls are open until
    the end, for they may come in turns.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._items: list[_Open] = []
        self._thought: _Open | None = None
        self._words: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self._extra: dict[str, Any] = {}

    @property
    def items(self) -> list[Item]:
        """All of them, as far as they came."""
        return [open_.item for open_ in self._items]

    def add(self, delta: Delta) -> Iterator[Event]:
        """The events that this delta is."""
        extra = dict(delta.extra or {})
        sealed: dict[str, Any] = {name: extra.pop(name) for name in THOUGHT_FIELDS if name in extra}
        if delta.reasoning or sealed:
            yield from self._think(delta.reasoning, sealed)
        if delta.text or delta.refusal or delta.tool_calls:
            yield from self._end_thought()
        if delta.tool_calls and not (delta.text or delta.refusal):
            yield from self._end_words("completed")
        logprobs = (delta.logprobs or {}).get("content") or []
        if delta.text or logprobs:
            yield from self._say("output_text", delta.text, logprobs)
        if sources := extra.pop("annotations", None):
            yield from self._name_sources(sources)
        if delta.refusal:
            yield from self._say("refusal", delta.refusal, [])
        for piece in delta.tool_calls:
            yield from self._call(piece)
        for name, value in extra.items():
            old = self._extra.get(name)
            self._extra[name] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value

    def end(self, *, is_whole: bool) -> Iterator[Event]:
        """The events that end what is open. is_whole False: the answer broke off, and with it the last of its items."""
        yield from self._end_thought()
        if self._extra and self._items:
            # What has no place of its own goes with the words, as a chat completion has it with its message.
            (self._words or self._items[-1]).item.update(self._extra)
        last = len(self._items) - 1
        yield from self._end_words("completed" if is_whole or self._is_before(self._words, last) else "incomplete")
        for call in self._calls.values():
            is_done = is_whole or call.index < last
            yield from self._end_call(call, "completed" if is_done else "incomplete")

    @staticmethod
    def _is_before(open_: _Open | None, last: int) -> bool:
        return open_ is not None and open_.index < last

    def _open(self, prefix: str, item: Item) -> _Open:
        index = len(self._items)
        opened = _Open(index=index, item={"id": f"{prefix}{self._name}_{index}", **item})
        self._items.append(opened)
        return opened

    def _event(self, kind: str, opened: _Open, **fields: Any) -> Event:
        return {"type": kind, "item_id": opened.item["id"], "output_index": opened.index, **fields}

    def _item_event(self, kind: str, opened: _Open) -> Event:
        return {"type": kind, "output_index": opened.index, "item": opened.item}

    def _think(self, text: str, sealed: dict[str, Any]) -> Iterator[Event]:
        yield from self._end_words("completed")
        thought = self._thought
        if thought is None:
            thought = self._thought = self._open("rs_", {"type": "reasoning", "summary": []})
            yield self._item_event(ADDED, thought)
        for name, value in sealed.items():
            thought.extra[name] = [*thought.extra.get(name, ()), *value]
        if text:
            if not thought.text:
                part = {"type": "summary_text", "text": ""}
                yield self._event("response.reasoning_summary_part.added", thought, summary_index=0, part=part)
            thought.text.append(text)
            yield self._event("response.reasoning_summary_text.delta", thought, summary_index=0, delta=text)

    def _end_thought(self) -> Iterator[Event]:
        thought, self._thought = self._thought, None
        if thought is None:
            return
        if thought.text:
            text = "".join(thought.text)
            part = {"type": "summary_text", "text": text}
            thought.item["summary"] = [part]
            yield self._event("response.reasoning_summary_text.done", thought, summary_index=0, text=text)
            yield self._event("response.reasoning_summary_part.done", thought, summary_index=0, part=part)
        if thought.extra:
            thought.item["encrypted_content"] = sealed_thoughts(thought.extra)
        yield self._item_event(DONE, thought)

    def _say(self, kind: str, text: str, logprobs: list[Any]) -> Iterator[Event]:
        yield from self._begin_part(kind)
        words = self._words
        assert words is not None
        assert words.part is not None
        words.text.append(text)
        place = {"content_index": len(words.item["content"]) - 1}
        if kind == "refusal":
            yield self._event("response.refusal.delta", words, **place, delta=text)
            return
        words.part["logprobs"] += logprobs
        yield self._event("response.output_text.delta", words, **place, delta=text, logprobs=logprobs)

    def _begin_part(self, kind: str) -> Iterator[Event]:
        """Have a message open, and a part of this kind in it."""
        words = self._words
        if words is None:
            words = self._words = self._open(
                "msg_", {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
            )
            yield self._item_event(ADDED, words)
        if words.part is None or words.part["type"] != kind:
            yield from self._end_part(words)
            words.part = {"type": kind, "refusal": ""}
            if kind == "output_text":
                words.part = {"type": kind, "text": "", "annotations": [], "logprobs": []}
            words.item["content"] = [*words.item["content"], words.part]
            index = len(words.item["content"]) - 1
            yield self._event("response.content_part.added", words, content_index=index, part=words.part)

    def _end_part(self, words: _Open) -> Iterator[Event]:
        part, text = words.part, "".join(words.text)
        words.part, words.text = None, []
        if part is None:
            return
        place = {"content_index": len(words.item["content"]) - 1}
        if part["type"] == "refusal":
            part["refusal"] = text
            yield self._event("response.refusal.done", words, **place, refusal=text)
        else:
            part["text"] = text
            yield self._event("response.output_text.done", words, **place, text=text, logprobs=part["logprobs"])
        yield self._event("response.content_part.done", words, **place, part=part)

    def _end_words(self, status: str) -> Iterator[Event]:
        words, self._words = self._words, None
        if words is None:
            return
        yield from self._end_part(words)
        words.item["status"] = status
        yield self._item_event(DONE, words)

    def _name_sources(self, sources: Any) -> Iterator[Event]:
        """Sources that the text names: a chat completion has each one's fields under the name of its type."""
        yield from self._begin_part("output_text")
        words = self._words
        assert words is not None
        assert words.part is not None
        place = {"content_index": len(words.item["content"]) - 1}
        for source in sources if isinstance(sources, list) else ():
            kind = source.get("type") if isinstance(source, dict) else None
            inner = source.get(kind) if isinstance(kind, str) else None
            annotation = {"type": kind, **inner} if isinstance(inner, dict) else source
            annotations = words.part["annotations"]
            annotations.append(annotation)
            index = len(annotations) - 1
            kind = "response.output_text.annotation.added"
            yield self._event(kind, words, **place, annotation_index=index, annotation=annotation)

    def _call(self, piece: ToolCallDelta) -> Iterator[Event]:
        call = self._calls.get(piece.index)
        if call is None:
            item_type, field, _, prefix = CALLS.get(piece.type, CALLS["function"])
            status = {"status": "in_progress"} if field == "arguments" else {}
            item = {
                **(piece.extra if piece.extra and not piece.format else {}),
                "type": item_type,
                "call_id": piece.id,
                "name": piece.name,
                field: "",
                **status,
            }
            call = self._calls[piece.index] = self._open(prefix, item)
            yield self._item_event(ADDED, call)
        if piece.arguments:
            call.text.append(piece.arguments)
            yield self._event(f"{_field_of(call)[1]}.delta", call, delta=piece.arguments)

    def _end_call(self, call: _Open, status: str) -> Iterator[Event]:
        field, event = _field_of(call)
        call.item[field] = "".join(call.text)
        if field == "arguments":
            call.item["status"] = status
        yield self._event(f"{event}.done", call, **{field: call.item[field]})
        yield self._item_event(DONE, call)


def _field_of(call: _Open) -> tuple[str, str]:
    """Where its arguments are, and how the events about them are called."""
    return next((field, event) for kind, field, event, _ in CALLS.values() if kind == call.item["type"])


def items_of(choice: Choice, name: str) -> list[Item]:
    """A whole choice's items; those that its provider gave it, if it gave any."""
    if choice.items:
        return list(choice.items)
    writer = ItemWriter(name)
    for delta in replay_choice(choice):
        for _ in writer.add(delta):
            pass
    for _ in writer.end(is_whole=is_complete(choice.finish_reason)):
        pass
    return writer.items


def is_complete(finish_reason: str) -> bool:
    """Whether an answer that ended so is all that its model had to say."""
    return finish_reason in _COMPLETE
