"""From events to a whole answer and back."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.answer import Answer, Block, Choice, Closing, Delta, ToolCall, ToolCallDelta
from router.call import EventFormat

# {a field that comes in pieces: those of its fields whose texts go together}
_GROWING: Final = {"function_call": ("arguments",), "audio": ("data", "transcript")}
# An answer that ended for one of these reasons is whole; by anything else (a content filter, say) it is not kept.
STORABLE_ENDINGS: Final = frozenset({"stop", "tool_calls", "function_call", "length"})


class Assembly:
    """Adds deltas up to an answer. Text is None, not empty, where none came but a call, a refusal or sound."""

    def __init__(self) -> None:
        self._drafts: dict[int, _Draft] = {}

    def add(self, delta: Delta) -> None:
        """Take in the next event."""
        draft = self._drafts.get(delta.choice)
        if draft is None:
            draft = self._drafts[delta.choice] = _Draft()
        draft.add(delta)

    def answer(self, closing: Closing | None) -> Answer:
        """What has come so far; with its closing, the whole answer."""
        choices = tuple(draft.choice(index) for index, draft in sorted(self._drafts.items()))
        if closing is None:
            return Answer(choices=choices, usage=None)
        return Answer(
            choices=choices,
            usage=closing.usage,
            provider_model=closing.provider_model,
            provider_response_id=closing.provider_response_id,
            created_at_s=closing.created_at_s,
            extra=closing.extra,
            format=closing.format,
            is_whole=closing.is_whole,
        )


class _ToolDraft(msgspec.Struct):
    id: str = ""
    name: str = ""
    type: str = "function"
    arguments: list[str] = []
    extra: dict[str, Any] | None = None
    format: EventFormat = ""

    def add(self, piece: ToolCallDelta) -> None:
        self.id = piece.id or self.id
        self.name = piece.name or self.name
        self.type = piece.type
        self.arguments.append(piece.arguments)
        if piece.extra:
            self.extra = _joined(self.extra, piece.extra)
            self.format = piece.format

    def call(self) -> ToolCall:
        return ToolCall(
            id=self.id,
            name=self.name,
            arguments="".join(self.arguments),
            type=self.type,
            extra=self.extra,
            format=self.format,
        )


class _Draft(msgspec.Struct):
    text: list[str] = []
    reasoning: list[str] = []
    refusal: list[str] = []
    tools: dict[int, _ToolDraft] = {}
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None
    extra: dict[str, Any] | None = None
    beside: tuple[str, ...] = ()
    vector: bytes = b""
    blocks: list[Block] = []
    items: tuple[dict[str, Any], ...] = ()

    def add(self, delta: Delta) -> None:
        if delta.text:
            self.text.append(delta.text)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)
        if delta.refusal:
            self.refusal.append(delta.refusal)
        for piece in delta.tool_calls:
            self.tools.setdefault(piece.index, _ToolDraft()).add(piece)
        if delta.logprobs:
            self.logprobs = _joined(self.logprobs, delta.logprobs)
        if delta.extra:
            self.extra = _joined(self.extra, delta.extra)
        if delta.beside and delta.beside != self.beside:
            self.beside = tuple(dict.fromkeys((*self.beside, *delta.beside)))
        self.vector = delta.vector or self.vector
        self.items = delta.items or self.items
        if delta.finish_reason is not None:
            self.finish_reason = delta.finish_reason
        if delta.block is not None:
            self.blocks.append(delta.block)

    @property
    def _says_otherwise(self) -> bool:
        """Whether something else than text was said that may stand alone."""
        return bool(self.tools or self.refusal) or (
            self.extra is not None and not _GROWING.keys().isdisjoint(self.extra)
        )

    def choice(self, index: int) -> Choice:
        return Choice(
            index=index,
            text="".join(self.text) if self.text or not self._says_otherwise else None,
            reasoning="".join(self.reasoning),
            refusal="".join(self.refusal),
            tool_calls=tuple(tool.call() for _, tool in sorted(self.tools.items())),
            logprobs=self.logprobs,
            finish_reason=self.finish_reason or "",
            extra=self.extra,
            beside=self.beside,
            vector=self.vector,
            blocks=tuple(self.blocks),
            items=self.items,
        )


def replay(answer: Answer) -> Iterator[Delta]:
    """The whole answer as events, for a caller who listens to a stream: one for each block, and one for the rest."""
    for choice in answer.choices:
        yield from replay_choice(choice)


def replay_choice(choice: Choice) -> Iterator[Delta]:
    """One whole choice as events. Added up, they are that choice again."""
    left = _Left(choice)
    for block in choice.blocks:
        yield left.take(block)
    yield left.rest()


class _Left:
    """What of a choice has not been told yet."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._text = choice.text or ""
        self._reasoning = choice.reasoning
        self._extra = dict(choice.extra or {})
        self._tools = [
            ToolCallDelta(
                index=index,
                id=tool.id,
                name=tool.name,
                arguments=tool.arguments,
                type=tool.type,
                extra=tool.extra,
                format=tool.format,
            )
            for index, tool in enumerate(choice.tool_calls)
        ]

    def take(self, block: Block) -> Delta:
        index = self._choice.index
        match block.kind:
            case "text":
                text, self._text = self._text[: block.chars], self._text[block.chars :]
                return Delta(choice=index, text=text, extra=self._listed("citations", block.citations), block=block)
            case "thinking":
                thought, self._reasoning = self._reasoning[: block.chars], self._reasoning[block.chars :]
                return Delta(choice=index, reasoning=thought, extra=self._listed("thinking_blocks", 1), block=block)
            case "tool":
                tools, self._tools = self._tools[:1], self._tools[1:]
                return Delta(choice=index, tool_calls=tuple(tools), block=block)
            case "own":
                return Delta(choice=index, extra=self._listed("content_blocks", 1), block=block)

    def rest(self) -> Delta:
        choice = self._choice
        return Delta(
            choice=choice.index,
            text=self._text,
            reasoning=self._reasoning,
            refusal=choice.refusal,
            tool_calls=tuple(self._tools),
            logprobs=choice.logprobs,
            finish_reason=choice.finish_reason,
            extra=self._extra or None,
            beside=choice.beside,
            vector=choice.vector,
            items=choice.items,
        )

    def _listed(self, name: str, count: int) -> dict[str, Any] | None:
        """The next so many of a list in `extra`."""
        listed = self._extra.get(name)
        if not count or not isinstance(listed, list) or not listed:
            return None
        if listed[count:]:
            self._extra[name] = listed[count:]
        else:
            del self._extra[name]
        return {name: listed[:count]}


def is_storable(answer: Answer) -> bool:
    """Whether every choice came to an end of its own, and all that was said of it is in the answer."""
    has_ended = bool(answer.choices) and all(choice.finish_reason in STORABLE_ENDINGS for choice in answer.choices)
    return has_ended and answer.is_whole


def delivered_text(answer: Answer) -> str:
    """All that the model wrote, for counting where the provider did not."""
    pieces: list[str] = []
    for choice in answer.choices:
        pieces += (choice.text or "", choice.reasoning, choice.refusal)
        for tool in choice.tool_calls:
            pieces += (tool.name, tool.arguments)
    return "".join(pieces)


def _joined(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    """Unknown fields of a stream: lists grow, everything else is as it was said last; null takes nothing back.

    A legacy function call and sound come in pieces, too.
    """
    if before is None:
        return dict(after)
    joined = dict(before)
    for name, value in after.items():
        old = joined.get(name)
        if value is None and old is not None:
            continue
        if isinstance(old, list) and isinstance(value, list):
            joined[name] = [*old, *value]
        elif isinstance(old, dict) and isinstance(value, dict):
            joined[name] = {**_joined(old, value), **_grown(old, value, _GROWING.get(name, ()))}
        else:
            joined[name] = value
    return joined


def _grown(before: dict[str, Any], after: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: old + new for name, (old, new) in pairs.items() if isinstance(old, str) and isinstance(new, str)}
