"""What a model said, as the content blocks of Anthropic's Messages API. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.answer import Choice, Delta, ToolCallDelta
from router.assemble import replay_choice

Block = dict[str, Any]

# What ends an answer, by its name in chat completions.
_ENDINGS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# Not a set: other vendors say other things there, of any type.
_STOP_REASONS: Final = (*_ENDINGS.values(), "stop_sequence", "pause_turn", "model_context_window_exceeded")


def content_of(choice: Choice) -> list[Block]:
    """A whole choice's blocks, in the order in which they came."""
    return [block for delta in replay_choice(choice) for block in _blocks(delta)]


def ending(choice: Choice) -> dict[str, Any]:
    """`stop_reason`, and the sequence or the details that go with it."""
    extra = choice.extra or {}
    reason, sequence = extra.get("stop_reason"), extra.get("stop_sequence")
    if reason not in _STOP_REASONS and not (choice.blocks and reason):
        # vLLM names the sequence itself there.
        sequence = reason if isinstance(reason, str) and choice.finish_reason == "stop" else sequence
        reason = "stop_sequence" if sequence else _ENDINGS.get(choice.finish_reason, "end_turn")
        if reason == "end_turn" and choice.tool_calls:
            reason = "tool_use"
    said = {"stop_reason": reason, "stop_sequence": sequence}
    return {**said, "stop_details": extra["stop_details"]} if extra.get("stop_details") is not None else said


def listed(delta: Delta, name: str) -> list[Any]:
    """A list among what the delta says beside its words."""
    value = delta.extra.get(name) if delta.extra else None
    return value if isinstance(value, list) else []


def tool_block(call: ToolCallDelta, given: Any) -> Block:
    """A tool call. given: its input, as far as it is told with it."""
    # What others add to a call, Anthropic would refuse.
    extra = call.extra if call.extra and not call.format else {}
    return {"type": "tool_use", **extra, "id": call.id, "name": call.name, "input": given}


def tool_input(arguments: str) -> Any:
    """A tool's input as an object. What a model wrote that is none stands in one, word for word."""
    try:
        given = msgspec.json.decode(arguments or "{}")
    except (ValueError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {"arguments": arguments}


def _blocks(delta: Delta) -> Iterator[Block]:
    thoughts = listed(delta, "thinking_blocks")
    yield from thoughts
    if delta.reasoning and not thoughts:
        yield {"type": "thinking", "thinking": delta.reasoning, "signature": ""}
    if delta.text:
        citations = listed(delta, "citations")
        yield {"type": "text", "text": delta.text, **({"citations": citations} if citations else {})}
    if delta.refusal:
        yield {"type": "text", "text": delta.refusal}
    for call in delta.tool_calls:
        yield tool_block(call, tool_input(call.arguments))
    yield from listed(delta, "content_blocks")
