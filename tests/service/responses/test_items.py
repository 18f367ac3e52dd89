"""What a model says as the items of a response, and the events that they come in."""

import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from router.answer import Closing, Delta, ToolCallDelta
from router.assemble import Assembly
from router.responses import opened_thoughts
from service.responses.answer import DEFAULTS
from service.responses.items import ItemWriter, is_complete, items_of
from service.responses.told import whole_item_events

EVENT = TypeAdapter(ResponseStreamEvent)
BLOCK = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
SOURCE = {"type": "url_citation", "url_citation": {"url": "http://h", "title": "t", "start_index": 0, "end_index": 2}}


def told(deltas, *, is_whole=True):
    """(the events as they would be sent, the items in the end)."""
    writer = ItemWriter("x")
    events = [msgspec.json.encode(event) for delta in deltas for event in writer.add(delta)]
    events += [msgspec.json.encode(event) for event in writer.end(is_whole=is_whole)]
    return [msgspec.json.decode(event) for event in events], writer.items


def as_an_sdk_reads(events, items):
    """What the official package makes of these events, each of which it must know."""
    empty = {**DEFAULTS, "id": "resp_x", "object": "response", "created_at": 1, "model": "m", "output": []}
    whole = {**empty, "status": "completed", "output": items}
    all_events = [
        {"type": "response.created", "response": {**empty, "status": "in_progress"}},
        *events,
        {"type": "response.completed", "response": whole},
    ]
    state = ResponseStreamState(input_tools=[], text_format=openai.omit)
    for number, event in enumerate(all_events):
        state.handle_event(EVENT.validate_python({**event, "sequence_number": number}))
    assert state._completed_response is not None
    return state._completed_response


def kinds(events):
    return [event["type"].removeprefix("response.") for event in events]


def test_words_come_in_one_part_of_one_message():
    events, items = told([Delta(text="Hello "), Delta(text="there."), Delta(finish_reason="stop")])
    assert kinds(events) == [
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
    ]
    assert items == [
        {
            "id": "msg_x_0",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello there.", "annotations": [], "logprobs": []}],
        }
    ]
    assert events[0]["item"] == {**items[0], "status": "in_progress", "content": []}
    assert events[1]["part"] == {**items[0]["content"][0], "text": ""}


def test_thoughts_come_before_what_they_were_about_and_carry_what_is_to_be_sent_back():
    events, items = told(
        [
            Delta(reasoning="Hm."),
            Delta(extra={"thinking_blocks": [BLOCK]}),
            Delta(tool_calls=(ToolCallDelta(index=0, id="c1", name="f"),)),
            Delta(tool_calls=(ToolCallDelta(index=1, id="c2", name="g", type="custom", arguments="ra"),)),
            Delta(tool_calls=(ToolCallDelta(index=0, arguments="{}"),)),
            Delta(tool_calls=(ToolCallDelta(index=1, type="custom", arguments="w"),)),
        ]
    )
    thought, call, custom = items
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert opened_thoughts(thought) == {"thinking_blocks": [BLOCK]}
    assert call == {
        "id": "fc_x_1",
        "type": "function_call",
        "call_id": "c1",
        "name": "f",
        "arguments": "{}",
        "status": "completed",
    }
    assert custom == {"id": "ctc_x_2", "type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "raw"}
    assert kinds(events)[:6] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]
    assert as_an_sdk_reads(events, items).output[1].arguments == "{}"


def test_what_interleaves_stays_in_its_order():
    call = ToolCallDelta(index=0, id="c1", name="f", arguments="{}")
    _, items = told(
        [Delta(text="a"), Delta(reasoning="b"), Delta(text="c"), Delta(tool_calls=(call,)), Delta(text="d")]
    )
    assert [item["type"] for item in items] == ["message", "reasoning", "message", "function_call", "message"]


def test_refusals_sources_logprobs_and_fields_of_other_formats_have_their_places():
    token = {"token": "So", "bytes": [83], "logprob": -0.1, "top_logprobs": []}
    events, items = told(
        [
            Delta(text="So", logprobs={"content": [token]}),
            Delta(extra={"annotations": [SOURCE], "citations": [1]}),
            Delta(refusal="No", extra={"citations": [2]}),
        ]
    )
    (message,) = items
    said, refusal = message["content"]
    assert said["logprobs"] == [token]
    assert said["annotations"] == [{"type": "url_citation", **SOURCE["url_citation"]}]
    assert refusal == {"type": "refusal", "refusal": "No"}
    assert message["citations"] == [1, 2]
    assert {"output_text.annotation.added", "refusal.delta", "refusal.done"} < set(kinds(events))
    as_an_sdk_reads(events, items)


def test_an_answer_that_broke_off_leaves_its_last_item_incomplete():
    call = ToolCallDelta(index=0, id="c1", name="f", arguments='{"a')
    _, items = told([Delta(text="a"), Delta(tool_calls=(call,), finish_reason="length")], is_whole=False)
    assert [item["status"] for item in items] == ["completed", "incomplete"]
    _, items = told([Delta(text="a")], is_whole=False)
    assert [item["status"] for item in items] == ["incomplete"]


@pytest.mark.parametrize(("reason", "is_whole"), [("stop", True), ("tool_calls", True), ("length", False), ("", False)])
def test_how_an_answer_ended_says_whether_it_is_whole(reason, is_whole):
    assert is_complete(reason) is is_whole


TEXT = st.text("ab", max_size=3)
KINDS = ("function", "function", "custom")
CALLS = st.tuples(st.integers(0, 2), TEXT).map(
    lambda it: ToolCallDelta(index=it[0], id=f"c{it[0]}", name="f", arguments=it[1], type=KINDS[it[0]])
)
DELTAS = st.lists(
    st.builds(
        Delta,
        text=TEXT,
        reasoning=TEXT,
        refusal=TEXT,
        tool_calls=st.lists(CALLS, max_size=2).map(tuple),
        extra=st.sampled_from([None, {"thinking_blocks": [BLOCK]}, {"annotations": [SOURCE]}, {"other": [1]}]),
    ),
    max_size=8,
)


@settings(max_examples=25)
@given(DELTAS)
def test_whatever_is_said_an_sdk_reads_all_of_it_in_events_and_whole(deltas):
    events, items = told(deltas)
    read = as_an_sdk_reads(events, items)
    assembly = Assembly()
    for delta in deltas:
        assembly.add(delta)
    answer = assembly.answer(Closing(usage=None))
    if not answer.choices:
        return
    (choice,) = answer.choices
    assert read.output_text == (choice.text or "")
    at_once = items_of(choice, "x")
    Response.model_validate(
        {**DEFAULTS, "id": "r", "object": "response", "created_at": 1, "model": "m", "output": at_once}
    )
    for all_items in (items, at_once):
        text = "".join(part.get("text", "") for item in all_items for part in item.get("content", ()))
        assert text == (choice.text or "")
        calls = {item["call_id"]: item.get("arguments", item.get("input")) for item in all_items if "call_id" in item}
        assert calls == {tool.id: tool.arguments for tool in choice.tool_calls}
        thoughts = "".join(part["text"] for item in all_items for part in item.get("summary", ()))
        assert thoughts == choice.reasoning
    told_at_once = [event for index, item in enumerate(at_once) for event in whole_item_events(item, index)]
    assert as_an_sdk_reads(told_at_once, at_once).output_text == (choice.text or "")
