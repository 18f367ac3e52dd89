"""What a model said as content blocks, and why it ended, from answers of any dialect."""

from typing import Any

import pytest

from router.answer import Block, Choice, ToolCall
from service.anthropic.blocks import content_of, ending

CALL = ToolCall(id="c", name="f", arguments='{"a": 1}')


@pytest.mark.parametrize(
    ("choice", "reason", "sequence"),
    [
        (Choice(finish_reason="stop"), "end_turn", None),
        (Choice(finish_reason="length"), "max_tokens", None),
        (Choice(finish_reason="content_filter"), "refusal", None),
        (Choice(finish_reason="tool_calls", tool_calls=(CALL,)), "tool_use", None),
        (Choice(finish_reason="stop", tool_calls=(CALL,)), "tool_use", None),
        (Choice(finish_reason="a_reason_of_tomorrow"), "end_turn", None),
        # vLLM says which sequence it was, or the number of a token.
        (Choice(finish_reason="stop", extra={"stop_reason": "END"}), "stop_sequence", "END"),
        (Choice(finish_reason="stop", extra={"stop_reason": 128009}), "end_turn", None),
        (Choice(finish_reason="stop", extra={"stop_reason": ["?"]}), "end_turn", None),
        (Choice(extra={"stop_reason": "stop_sequence", "stop_sequence": "END"}), "stop_sequence", "END"),
        (Choice(extra={"stop_reason": "pause_turn"}, finish_reason="length"), "pause_turn", None),
        # Claude's own, of which this version has not heard.
        (Choice(extra={"stop_reason": "tired"}, blocks=(Block(kind="text"),)), "tired", None),
    ],
)
def test_why_an_answer_ended(choice: Choice, reason: str, sequence: str | None):
    assert ending(choice) == {"stop_reason": reason, "stop_sequence": sequence}


def test_details_of_a_refusal_are_told():
    said = ending(Choice(finish_reason="content_filter", extra={"stop_details": {"category": "x"}}))
    assert said["stop_details"] == {"category": "x"}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [("", {}), ('{"a": 1}', {"a": 1}), ('{"a":', {"arguments": '{"a":'}), ("[1]", {"arguments": "[1]"})],
)
def test_a_tools_input_is_an_object_whatever_the_model_wrote(arguments: str, given: dict[str, Any]):
    call = ToolCall(id="c", name="f", arguments=arguments)
    assert content_of(Choice(tool_calls=(call,))) == [{"type": "tool_use", "id": "c", "name": "f", "input": given}]


def test_only_what_anthropic_itself_adds_to_a_call_is_told():
    # Whoever is sent a call with a field that Anthropic does not know could not send it back there.
    ours = ToolCall(id="c", name="f", arguments="{}", extra={"caller": {"type": "direct"}})
    theirs = ToolCall(id="c", name="f", arguments="{}", extra={"extra_content": {}}, format="chat.completions")
    plain = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    assert content_of(Choice(tool_calls=(ours, theirs))) == [{**plain, "caller": {"type": "direct"}}, plain]


def test_an_answer_of_another_dialect_is_thought_then_words_then_tools():
    choice = Choice(text="Hi", reasoning="hm", refusal="No", tool_calls=(CALL,))
    assert [block["type"] for block in content_of(choice)] == ["thinking", "text", "text", "tool_use"]
    assert content_of(Choice(text="")) == []
