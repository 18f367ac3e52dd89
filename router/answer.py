"""What comes back: one canonical stream of events, and the whole answer that they add up to.

Events and answers are shaped after chat completions, the widest of the formats we speak. What we have no field for
is kept in `extra` and goes back out as it came, so that an answer replays without loss.
"""

from typing import Any, Final, Literal, Protocol

import msgspec

from ledger.usage import Usage
from router.call import EventFormat

# What a Delta takes beside its texts.
_DELTA_BYTES: Final = 200
# A function call in its legacy form, and sound.
_SAID_IN_EXTRA: Final = frozenset({"function_call", "audio"})


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One block of an answer that came in blocks: how much of what its choice says is this one's.

    text: its next `chars` of text and the next `citations` of `extra["citations"]`. thinking, own: the next of
    `extra["thinking_blocks"]`, of `extra["content_blocks"]`. tool: the next tool call.
    """

    kind: Literal["text", "thinking", "tool", "own"]
    chars: int = 0
    citations: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of one tool call. id and name come with its first piece, arguments (JSON text) in any number.

    extra: what else the provider said of the call. format: in whose words that is; empty: Anthropic's.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    type: str = "function"
    extra: dict[str, Any] | None = None
    format: EventFormat = ""


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one upstream event added to one choice. Empty fields added nothing.

    beside: the names in extra of what its provider says beside the message, of the choice itself.
    block: the block that ended with this event, if the answer comes in blocks.
    vector: of an embedding, as JSON: a list of numbers, or a text that is base64 of little-endian float32.
    event: for callers who know them, the event of OpenAI's `/v1/responses` that this was; beside `raw` only its number,
    and the item that it holds and where. items: see `Choice`.
    raw: the provider's own events that led to it since the delta before, as bytes of an SSE stream, for callers who
    speak the same format. Empty: they went with the delta before. None: they were not kept.
    """

    choice: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None
    extra: dict[str, Any] | None = None
    beside: tuple[str, ...] = ()
    vector: bytes = b""
    block: Block | None = None
    event: dict[str, Any] | None = None
    items: tuple[dict[str, Any], ...] = ()
    raw: bytes | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether it is an event for those who know it, and nothing else."""
        return not (self.is_output or self.logprobs or self.finish_reason is not None or self.extra)

    @property
    def is_output(self) -> bool:
        """True for text, thoughts, a refusal, a call, sound or a vector; a role or an ending alone is not output."""
        if self.text or self.reasoning or self.refusal or self.tool_calls or self.vector:
            return True
        return self.extra is not None and not _SAID_IN_EXTRA.isdisjoint(self.extra)


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's last word on a complete answer. usage None: it did not say. format: in whose words extra is.

    is_whole: whether the answer's deltas add up to all of it. They do not where an event is of a kind not known here.
    is_of_one_model: whether all of its usage is the deployment's own model's, and has its price.
    """

    usage: Usage | None
    provider_model: str = ""
    provider_response_id: str = ""
    created_at_s: int = 0
    extra: dict[str, Any] | None = None
    format: EventFormat = ""
    is_whole: bool = True
    is_of_one_model: bool = True


class SaysUsage(Protocol):
    """Reads an answer, and may be asked before it is whole."""

    def usage_so_far(self) -> Usage | None:
        """What the provider has said that it counted up to here. None: nothing, or nothing that can be."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One whole tool call; arguments is JSON text as the model wrote it. extra, format: as of ToolCallDelta."""

    id: str
    name: str
    arguments: str
    type: str = "function"
    extra: dict[str, Any] | None = None
    format: EventFormat = ""


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One whole choice. vector: as `Delta.vector`; the vectors of an embeddings call are its choices.

    beside: as `Delta.beside`.
    blocks: in which order its words, thoughts and tool calls came. Empty: in that of these fields, each in one piece.
    items: the same once more as the output items of OpenAI's `/v1/responses`, where the answer came in them and its
    caller knows them: in their order, with their ids, sealed thoughts and what hosted tools did.
    """

    index: int = 0
    text: str | None = None
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: dict[str, Any] | None = None
    finish_reason: str = "stop"
    extra: dict[str, Any] | None = None
    beside: tuple[str, ...] = ()
    vector: bytes = b""
    blocks: tuple[Block, ...] = ()
    items: tuple[dict[str, Any], ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole answer, as it is stored and replayed. format, is_whole: as of Closing."""

    choices: tuple[Choice, ...]
    usage: Usage | None
    provider_model: str = ""
    provider_response_id: str = ""
    created_at_s: int = 0
    extra: dict[str, Any] | None = None
    format: EventFormat = ""
    is_whole: bool = True


def size_of(delta: Delta) -> int:
    """About how many bytes it takes; exact where texts are long."""
    size = _DELTA_BYTES + len(delta.text) + len(delta.reasoning) + len(delta.refusal)
    for piece in delta.tool_calls:
        size += len(piece.arguments)
        if piece.extra is not None and delta.raw is None:
            size += len(msgspec.json.encode(piece.extra))
    if delta.raw is not None:
        size += len(delta.raw)
    elif delta.extra is not None:
        size += len(msgspec.json.encode(delta.extra))
    return size
