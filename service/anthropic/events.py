"""An answer as the events of Anthropic's Messages API. Source: platform.claude.com/docs, "Streaming Messages".

Counts at the start are 0, as nobody knows them yet: those of `message_delta` at the end are of the whole answer.
"""

from typing import Any, Final

from router.answer import Choice, Delta, ToolCallDelta
from router.call import Call
from router.reply import Finished, Reply
from service.anthropic.account import EVENT_FORMAT, message_id, own_fields, usage_object
from service.anthropic.blocks import Block, ending, listed, tool_block
from service.anthropic.errors import error_body
from service.errors import Problem
from service.sse import event

_NOTHING_YET: Final = {"input_tokens": 0, "output_tokens": 0}
_PING: Final = event(b"ping", {"type": "ping"})
# Kinds of blocks that grow. Any other is sent in one piece.
_THINKING: Final = "thinking"
_TEXT: Final = "text"


class MessageEvents:
    """`message_start`, each block's start, deltas and stop, then `message_delta` and `message_stop`, or an `error`.

    A provider's own events go out as they came, with its names for answer and model, up to `message_delta`.
    """

    def __init__(self, call: Call, reply: Reply) -> None:
        self._call = call
        self._reply = reply
        self._has_begun = False
        self._passes = False
        self._blocks = 0
        # The kind of the block that is open, or the tool call that it is of. None: no block is.
        self._open: str | int | None = None
        # {place of a tool call: its block's}.
        self._tools: dict[int, int] = {}

    def delta(self, delta: Delta) -> bytes:
        if delta.raw is not None and self._reply.event_format == EVENT_FORMAT:
            self._passes = True
            return delta.raw
        if delta.choice:
            # A message has but one answer.
            return b""
        out = self._begin()
        if delta.reasoning:
            out += self._enter(_THINKING, {"type": "thinking", "thinking": "", "signature": ""})
            out += self._grow({"type": "thinking_delta", "thinking": delta.reasoning})
        for thought in listed(delta, "thinking_blocks"):
            out += self._sign(thought)
        if text := delta.text + delta.refusal:
            out += self._enter(_TEXT, {"type": "text", "text": ""})
            out += self._grow({"type": "text_delta", "text": text})
        if self._open == _TEXT:
            for citation in listed(delta, "citations"):
                out += self._grow({"type": "citations_delta", "citation": citation})
        for piece in delta.tool_calls:
            out += self._tool(piece)
        for block in listed(delta, "content_blocks"):
            out += self._whole(block)
        return out if delta.block is None else out + self._leave()

    def closing(self, finished: Finished) -> bytes:
        choices = finished.answer.choices
        extra = own_fields(finished.answer)
        delta = ending(choices[0] if choices else Choice())
        if "container" in extra:
            delta["container"] = extra.pop("container")
        usage = usage_object(finished)
        last = event(b"message_delta", {**extra, "type": "message_delta", "delta": delta, "usage": usage})
        begun = b"" if self._passes else self._begin() + self._leave()
        return begun + last + event(b"message_stop", {"type": "message_stop"})

    def failure(self, problem: Problem) -> bytes:
        return event(b"error", error_body(problem))

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        message = {
            "id": message_id(self._call),
            "type": "message",
            "role": "assistant",
            # Only now is it settled who answers.
            "model": self._reply.deployment_id.partition(":")[2],
            "content": (),
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _NOTHING_YET,
        }
        return event(b"message_start", {"type": "message_start", "message": message}) + _PING

    def _enter(self, kind: str | int, block: Block) -> bytes:
        """Go on with the open block if it is of this kind, else begin this one."""
        if self._open == kind:
            return b""
        left = self._leave()
        self._open = kind
        start = {"type": "content_block_start", "index": self._blocks, "content_block": block}
        self._blocks += 1
        return left + event(b"content_block_start", start)

    def _grow(self, delta: dict[str, Any], index: int | None = None) -> bytes:
        place = self._blocks - 1 if index is None else index
        return event(b"content_block_delta", {"type": "content_block_delta", "index": place, "delta": delta})

    def _leave(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return event(b"content_block_stop", {"type": "content_block_stop", "index": self._blocks - 1})

    def _sign(self, thought: Block) -> bytes:
        """The end of a thought whose words came before, or one without words that may be read."""
        if thought.get("type") != _THINKING:
            return self._whole(thought)
        out = self._enter(_THINKING, {"type": "thinking", "thinking": "", "signature": ""})
        out += self._grow({"type": "signature_delta", "signature": thought.get("signature") or ""})
        return out + self._leave()

    def _tool(self, piece: ToolCallDelta) -> bytes:
        out = b""
        if piece.index not in self._tools:
            out = self._enter(piece.index, tool_block(piece, {}))
            self._tools[piece.index] = self._blocks - 1
        if piece.arguments:
            # A provider may go on with an earlier call while a later one is open.
            out += self._grow({"type": "input_json_delta", "partial_json": piece.arguments}, self._tools[piece.index])
        return out

    def _whole(self, block: Block) -> bytes:
        """A block of a kind of its own, or one that is only passed on."""
        return self._leave() + self._enter("own", block) + self._leave()
