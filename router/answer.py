"""What comes back: one canonical stream of events, and the whole answer that they add up to.

Events and answers are shaped after chat completions, the widest of the formats we speak. What we have no field for
is kept in `extra` and goes back out as it came, so that an answer replays without loss.
"""

from typing import Any

import msgspec

from ledger.usage import Usage


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of one tool call. id and name come with its first piece, arguments (JSON text) in any number."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    type: str = "function"


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one upstream event added to one choice. Empty fields added nothing.

    vector: of an embedding, as JSON: a list of numbers, or a text that is base64 of little-endian float32.
    """

    choice: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None
    extra: dict[str, Any] | None = None
    vector: bytes = b""

    @property
    def is_output(self) -> bool:
        """True for text, reasoning, refusal, a tool call or a vector; a role or a finish reason alone is not output."""
        return bool(self.text or self.reasoning or self.refusal or self.tool_calls or self.vector)


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's last word on a complete answer. usage None: it did not say."""

    usage: Usage | None
    provider_model: str = ""
    provider_response_id: str = ""
    created_at_s: int = 0
    extra: dict[str, Any] | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One whole tool call; arguments is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str
    type: str = "function"


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One whole choice. vector: as `Delta.vector`; the vectors of an embeddings call are its choices."""

    index: int = 0
    text: str | None = None
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: dict[str, Any] | None = None
    finish_reason: str = "stop"
    extra: dict[str, Any] | None = None
    vector: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole answer, as it is stored and replayed."""

    choices: tuple[Choice, ...]
    usage: Usage | None
    provider_model: str = ""
    provider_response_id: str = ""
    created_at_s: int = 0
    extra: dict[str, Any] | None = None
