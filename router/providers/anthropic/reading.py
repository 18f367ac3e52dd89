"""Reads the answers of Anthropic's Messages API, whole or in events.

What we have no field for is kept: thoughts with their signatures in `Delta.extra["thinking_blocks"]` (a caller sends
them back with the message), citations in `citations`, blocks of other kinds in `content_blocks`, an ending that chat
completions have no name for in `stop_reason`.
Source: platform.claude.com/docs, "Streaming Messages", "Handling stop reasons"; anthropic-sdk-python's types.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ledger.usage import Usage
from router.answer import Block, Closing, Delta, ToolCallDelta
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.anthropic.open_block import OpenBlock
from router.providers.anthropic.usage import TOKENS, Counts
from router.providers.client import decode_object, without_key
from router.providers.reading import EventsReading
from router.providers.sse import EventParser, SseEvent, framed

MAX_BLOCKS: Final = 4096
# A message's last word is for us to say, with what it cost.
_OURS: Final = ("message_delta", "message_stop")
# What comes of these is told, or nothing: a keep-alive is silence.
_NOT_HEARD: Final = (*_OURS, "ping")

# A pause leaves the answer unfinished, to be gone on with: that is nearest to its having reached its length.
_ENDINGS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# What the ending's name in chat completions says as well.
_SAID_BY_THE_ENDING: Final = frozenset({"end_turn", "max_tokens", "tool_use"})
_ERRORS: Final = {
    "overloaded_error": Outcome.UPSTREAM_ERROR,
    "api_error": Outcome.UPSTREAM_ERROR,
    "timeout_error": Outcome.UPSTREAM_ERROR,
    "rate_limit_error": Outcome.RATE_LIMITED,
}
_MESSAGE_FIELDS: Final = frozenset(
    {"id", "type", "role", "model", "content", "usage", "stop_reason", "stop_sequence", "stop_details", "delta"}
)


_TOOL_FIELDS: Final = frozenset({"type", "id", "name", "input", "cache_control"})


class MessageReader(EventsReading):
    """What one response has said so far. Feed it events or a whole message; a `Reading` of an event stream."""

    FORMAT = "messages"

    def __init__(self, provider: Provider, status: int, *, keeps_events: bool = False) -> None:
        super().__init__(provider, status, keeps_events=keeps_events)
        self.is_done = False
        self._parser = EventParser()
        self._blocks: dict[int, OpenBlock] = {}
        self._seen = 0
        self._tools = 0
        self._has_begun = False
        self._ending: str | None = None
        self._counts = Counts()

    def whole(self, data: bytes) -> Iterator[Delta]:
        """A message in one piece."""
        data = without_key(data, self._provider)
        said = decode_object(data, status=self.status)
        if said.get("type") == "error" or said.get("error"):
            raise self.error(data)
        content = said.get("content")
        if said.get("type", "message") != "message" or not isinstance(content, list):
            raise self.bad("this is not a message")
        for index, block in enumerate(content):
            yield from self._start(index, block)
            yield from self._stop(index)
        self._note(said)
        self._count(said.get("usage"), is_final=True)
        yield from self._end(said)
        self.is_done = True

    def closing(self) -> Closing:
        """The end of a whole answer. Raises Fault if it is not whole."""
        if not self._has_begun:
            raise self.bad("there is no message in the answer")
        if not self.is_done and self._ending is None:
            raise Fault(Outcome.CUT, "the stream ended before the answer did", status=self.status)
        self.usage, self.is_of_one_model = self._counts.usage(), self._counts.is_of_one_model
        if self.usage is not None and self._counts.has_more:
            # What is charged is not what its caller is to read.
            self.extra.setdefault("usage", {}).update(self._counts.told)
        return super().closing()

    def usage_so_far(self) -> Usage | None:
        """See `router.answer.SaysUsage`: an answer begins with what was read, by its price."""
        return self._counts.so_far()

    def _deltas(self, events: list[SseEvent]) -> Iterator[Delta]:
        """At least one delta for each event but keep-alives: it is no silence, and goes on to who reads such events."""
        for event in events:
            if self.is_done:
                return
            data = without_key(event.data, self._provider)
            said = decode_object(data, status=self.status)
            kind = said.get("type") or event.event.decode("utf-8", "replace")
            if kind == "error":
                raise self.error(data)
            if self.keeps_events and kind not in _OURS:
                self.keep(framed(data, event.event or _name_of(kind)))
            is_heard = kind not in _NOT_HEARD
            for delta in self._take(kind, said):
                is_heard = False
                yield msgspec.structs.replace(delta, raw=self.told()) if self.keeps_events else delta
            if is_heard:
                yield Delta(raw=self.told())

    def _take(self, kind: Any, said: dict[str, Any]) -> Iterator[Delta]:
        match kind:
            case "message_start":
                message = self._object(said, "message")
                self._note(message)
                self._count(message.get("usage"), is_final=False)
            case "content_block_start":
                yield from self._start(self._place(said), said.get("content_block"))
            case "content_block_delta":
                yield from self._grow(self._block(said), self._object(said, "delta"))
            case "content_block_stop":
                yield from self._stop(self._place(said))
            case "message_delta":
                self._count(said.get("usage"), is_final=True)
                delta = self._object(said, "delta")
                self._keep(said)
                self._keep(delta)
                yield from self._end(delta)
            case "message_stop":
                self.is_done = True
            case _:
                # A ping, or an event of a kind that is yet to come: they are to be passed over.
                pass

    def _start(self, index: int, given: Any) -> Iterator[Delta]:
        if not isinstance(given, dict):
            raise self.bad("a content block is not an object")
        self._seen += 1
        if self._seen > MAX_BLOCKS:
            raise self.bad("there are too many content blocks")
        block = self._blocks[index] = OpenBlock(fields=given)
        match given.get("type"):
            case "text":
                block.text.append(self.text(given, "text"))
                yield from _if_any(Delta(text=block.text[0]))
                if citations := self.objects(given.get("citations"), "citations"):
                    block.citations += len(citations)
                    yield Delta(extra={"citations": citations})
            case "thinking":
                block.text.append(self.text(given, "thinking"))
                block.signature = self.text(given, "signature")
                yield from _if_any(Delta(reasoning=block.text[0]))
            case "tool_use":
                block.tool = self._tools
                self._tools += 1
                name, call_id = self.text(given, "name"), self.text(given, "id")
                extra = {it: given[it] for it in given.keys() - _TOOL_FIELDS if given[it] is not None}
                piece = ToolCallDelta(index=block.tool, id=call_id, name=name, extra=extra or None)
                yield Delta(tool_calls=(piece,))

    def _grow(self, block: OpenBlock, delta: dict[str, Any]) -> Iterator[Delta]:
        match delta.get("type"):
            case "text_delta":
                block.text.append(self.text(delta, "text"))
                yield from _if_any(Delta(text=block.text[-1]))
            case "thinking_delta":
                block.text.append(self.text(delta, "thinking"))
                yield from _if_any(Delta(reasoning=block.text[-1]))
            case "signature_delta":
                block.signature += self.text(delta, "signature")
            case "input_json_delta":
                piece = self.text(delta, "partial_json")
                if piece:
                    block.json.append(piece)
                if piece and block.tool >= 0:
                    yield Delta(tool_calls=(ToolCallDelta(index=block.tool, arguments=piece),))
            case "citations_delta":
                block.citations += 1
                yield Delta(extra={"citations": [delta.get("citation")]})
            case "compaction_delta":
                block.fill(delta)
            case _:
                # Of a kind that is yet to come: what it adds to its block, nobody here knows.
                self.is_whole = False

    def _stop(self, index: int) -> Iterator[Delta]:
        block = self._blocks.pop(index, None)
        if block is None:
            raise self.bad("a content block ends that never began")
        match block.fields.get("type"):
            case "text":
                chars = sum(map(len, block.text))
                yield Delta(block=Block(kind="text", chars=chars, citations=block.citations))
            case "tool_use":
                # Whole messages have the input in one piece, as have calls without any.
                pieces = () if block.json else (self._input(block),)
                yield Delta(tool_calls=pieces, block=Block(kind="tool"))
            case "thinking":
                thought = {"type": "thinking", "thinking": "".join(block.text), "signature": block.signature}
                ended = Block(kind="thinking", chars=len(thought["thinking"]))
                yield Delta(extra={"thinking_blocks": [thought]}, block=ended)
            case "redacted_thinking":
                yield Delta(extra={"thinking_blocks": [block.fields]}, block=Block(kind="thinking"))
            case _:
                yield Delta(extra={"content_blocks": [block.whole()]}, block=Block(kind="own"))

    def _end(self, said: dict[str, Any]) -> Iterator[Delta]:
        """Why it ended, if that is said here. A word nobody here knows is an ending all the same."""
        reason = self.text(said, "stop_reason")
        if not reason:
            return
        self._ending = reason
        extra = {} if reason in _SAID_BY_THE_ENDING else {"stop_reason": reason}
        extra |= {name: said[name] for name in ("stop_sequence", "stop_details") if said.get(name) is not None}
        yield Delta(finish_reason=_ENDINGS.get(reason, "stop"), extra=extra or None)

    def _note(self, said: dict[str, Any]) -> None:
        self.note(said, created=None)
        self._has_begun = True
        self._keep(said)

    def _keep(self, said: dict[str, Any]) -> None:
        for name in said.keys() - _MESSAGE_FIELDS:
            if said[name] is not None:
                self.extra[name] = said[name]

    def _count(self, said: Any, *, is_final: bool) -> None:
        """Its tokens are for `closing` to tell; what else it says (how often a tool ran, at which tier) is kept."""
        self._counts.add(said, is_final=is_final)
        for name, value in said.items() if isinstance(said, dict) else ():
            if not name.endswith(TOKENS) and value is not None:
                self.extra.setdefault("usage", {})[name] = value

    def error(self, data: bytes) -> Fault:
        """The fault that an error within an answer is: here its type tells more than the status of the response."""
        fault = super().error(data)
        fault.outcome = _ERRORS.get(fault.code, fault.outcome)
        return fault

    def _block(self, said: dict[str, Any]) -> OpenBlock:
        block = self._blocks.get(self._place(said))
        if block is None:
            raise self.bad("a content block goes on that never began")
        return block

    def _place(self, said: dict[str, Any]) -> int:
        index = said.get("index")
        if type(index) is not int or not 0 <= index < MAX_BLOCKS:
            raise self.bad("an index is not a small number")
        return index

    def _input(self, block: OpenBlock) -> ToolCallDelta:
        try:
            text = msgspec.json.encode(block.fields.get("input") or {}).decode()
            return ToolCallDelta(index=block.tool, arguments=text)
        except (OverflowError, RecursionError) as error:
            raise self.bad("a tool's input cannot be written down") from error

    def _object(self, said: dict[str, Any], name: str) -> dict[str, Any]:
        value = said.get(name)
        if not isinstance(value, dict):
            raise self.bad(f"{name} is not an object")
        return value


def _name_of(kind: Any) -> bytes:
    """The name under which an event of this kind is sent, where its server named none."""
    return kind.encode() if isinstance(kind, str) and kind.isidentifier() else b""


def _if_any(delta: Delta) -> Iterator[Delta]:
    if delta.is_output:
        yield delta
