"""Answers: the published event shapes give the same deltas however they are cut, and garbage gives a Fault only."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.usage import Usage
from router.answer import Answer, Block, Choice, Closing, Delta, ToolCall, ToolCallDelta
from router.assemble import Assembly, is_storable, replay
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.anthropic.reading import MessageReader
from router.providers.anthropic.usage import Counts
from tests.anthropic_scripts import USAGE, encoded, end, start, streamed, text_delta, whole

PROVIDER = Provider(name="anthropic", dialect="anthropic", base_url="http://127.0.0.1:1", api_key="sk-ant-0123456789")


def block(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def grow(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


CITATION = {"type": "char_location", "cited_text": "x"}
GOLDEN = [
    start(),
    block(0, "thinking", thinking="", signature=""),
    grow(0, "thinking_delta", thinking="Let me "),
    {"type": "ping"},
    grow(0, "thinking_delta", thinking="see…"),
    grow(0, "signature_delta", signature="EqQB"),
    stop(0),
    block(1, "redacted_thinking", data="opaque"),
    stop(1),
    block(2, "text", text=""),
    grow(2, "text_delta", text="Höchst "),
    grow(2, "text_delta", text="wahr."),
    grow(2, "citations_delta", citation=CITATION),
    stop(2),
    block(3, "tool_use", id="toolu_1", name="f", input={}, caller={"type": "direct"}),
    grow(3, "input_json_delta", partial_json=""),
    grow(3, "input_json_delta", partial_json='{"a":'),
    grow(3, "input_json_delta", partial_json=" 1}"),
    stop(3),
    block(4, "tool_use", id="toolu_2", name="g", input={}),
    stop(4),
    block(5, "server_tool_use", id="srv", name="web_search", input={}),
    grow(5, "input_json_delta", partial_json='{"q": "x"}'),
    stop(5),
    block(6, "text", text="So."),
    stop(6),
    {"type": "an_event_of_tomorrow", "x": 1},
    end(stop_reason="tool_use", output_tokens=40),
    {"type": "message_stop"},
]
THOUGHTS = [
    {"type": "thinking", "thinking": "Let me see…", "signature": "EqQB"},
    {"type": "redacted_thinking", "data": "opaque"},
]
SEARCH = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"q": "x"}}
ANSWER = Answer(
    choices=(
        Choice(
            text="Höchst wahr.So.",
            reasoning="Let me see…",
            tool_calls=(
                ToolCall(id="toolu_1", name="f", arguments='{"a": 1}', extra={"caller": {"type": "direct"}}),
                ToolCall(id="toolu_2", name="g", arguments="{}"),
            ),
            finish_reason="tool_calls",
            extra={"thinking_blocks": THOUGHTS, "citations": [CITATION], "content_blocks": [SEARCH]},
            blocks=(
                Block(kind="thinking", chars=11),
                Block(kind="thinking"),
                Block(kind="text", chars=12, citations=1),
                Block(kind="tool"),
                Block(kind="tool"),
                Block(kind="own"),
                Block(kind="text", chars=3),
            ),
        ),
    ),
    usage=Usage(input_tokens=9, cached_tokens=4, cache_write_tokens=3, output_tokens=40),
    provider_model="claude-test",
    provider_response_id="msg_1",
    format="messages",
)


def read(*chunks: bytes, keeps_events: bool = False) -> tuple[list[Delta], Closing]:
    reader = MessageReader(PROVIDER, 200, keeps_events=keeps_events)
    deltas = [delta for chunk in chunks for delta in reader.feed(chunk)]
    return [*deltas, *reader.finish()], reader.closing()


def read_whole(body: Any) -> tuple[list[Delta], Closing]:
    reader = MessageReader(PROVIDER, 200)
    deltas = list(reader.whole(body if isinstance(body, bytes) else json.dumps(body).encode()))
    return deltas, reader.closing()


def answer(deltas: list[Delta], closing: Closing) -> Answer:
    assembly = Assembly()
    for delta in deltas:
        assembly.add(delta)
    return assembly.answer(closing)


def fault(*events: dict[str, Any]) -> Fault:
    with pytest.raises(Fault) as raised:
        read(encoded(events))
    return raised.value


def test_a_stored_answer_is_told_again_block_by_block():
    deltas = list(replay(ANSWER))
    assert [delta.block for delta in deltas] == [*ANSWER.choices[0].blocks, None]
    assert [delta.text for delta in deltas if delta.text] == ["Höchst wahr.", "So."]
    assert [delta.extra for delta in deltas[:3]] == [
        {"thinking_blocks": THOUGHTS[:1]}, {"thinking_blocks": THOUGHTS[1:]}, {"citations": [CITATION]}
    ]  # fmt: skip
    assert deltas[-1] == Delta(finish_reason="tool_calls")
    assert answer(deltas, Closing(usage=None)).choices == ANSWER.choices


def test_a_stream_gives_the_same_events_wherever_it_is_cut():
    data = encoded(GOLDEN)
    deltas, closing = read(data)
    assert answer(deltas, closing) == ANSWER
    for cut in range(1, len(data)):
        assert read(data[:cut], data[cut:]) == (deltas, closing)
    assert read(*(data[at : at + 1] for at in range(len(data)))) == (deltas, closing)


def test_deltas_come_with_the_events_that_they_are_of():
    deltas, _ = read(encoded(GOLDEN))
    assert [delta for delta in deltas if delta.is_output][:2] == [Delta(reasoning="Let me "), Delta(reasoning="see…")]
    calls = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert calls == [
        ToolCallDelta(index=0, id="toolu_1", name="f", extra={"caller": {"type": "direct"}}),
        ToolCallDelta(index=0, arguments='{"a":'),
        ToolCallDelta(index=0, arguments=" 1}"),
        ToolCallDelta(index=1, id="toolu_2", name="g"),
        ToolCallDelta(index=1, arguments="{}"),
    ]
    assert deltas[-1] == Delta(finish_reason="tool_calls")


PAGES = [{"type": "web_search_result", "url": f"https://e.com/{n}", "encrypted_content": "e" * 7000} for n in range(10)]
OF_SERVER_TOOLS = [
    start(),
    # Longer than what is kept of keep-alives, and before anything else is told.
    block(0, "web_search_tool_result", tool_use_id="srv_0", content=PAGES),
    stop(0),
    block(1, "text", text=""),
    grow(1, "text_delta", text="Writing."),
    stop(1),
    block(2, "server_tool_use", id="srv_1", name="text_editor_code_execution", input={}),
    *(grow(2, "input_json_delta", partial_json=piece) for piece in ('{"file": "', *["x = 1\\n"] * 1500, '"}')),
    {"type": "ping"},
    stop(2),
    {"type": "an_event_of_tomorrow", "x": "y" * 70_000},
    end(),
    {"type": "message_stop"},
]


def test_events_of_any_number_and_size_go_on_as_they_came():
    deltas, closing = read(encoded(OF_SERVER_TOOLS), keeps_events=True)
    assert b"".join(delta.raw or b"" for delta in deltas) == encoded(OF_SERVER_TOOLS[:-2])
    said = answer(deltas, closing).choices[0].extra or {}
    assert [it["type"] for it in said["content_blocks"]] == ["web_search_tool_result", "server_tool_use"]
    assert said["content_blocks"][1]["input"] == {"file": "x = 1\n" * 1500}


def test_only_keep_alives_are_kept_for_the_next_event_and_few_of_them():
    pings = [{"type": "ping"}] * 10_000
    deltas, _ = read(encoded([*OF_SERVER_TOOLS[:5], *pings, *OF_SERVER_TOOLS[5:]]), keeps_events=True)
    assert max(len(delta.raw or b"") for delta in deltas if b"ping" in (delta.raw or b"")) < 66_000
    without = b"".join(delta.raw or b"" for delta in deltas).replace(encoded([{"type": "ping"}]), b"")
    assert without == encoded([event for event in OF_SERVER_TOOLS[:-2] if event["type"] != "ping"])


@pytest.mark.parametrize("keeps_events", [True, False])
def test_every_event_but_a_keep_alive_is_heard_and_what_a_server_tool_does_is_no_output(keeps_events: bool):
    reader = MessageReader(PROVIDER, 200, keeps_events=keeps_events)
    told: list[Delta] = []
    for event in OF_SERVER_TOOLS[:-1]:
        heard = list(reader.feed(encoded([event])))
        assert len(heard) == (event["type"] != "ping"), event
        told += heard
    assert [delta.text for delta in told if delta.is_output] == ["Writing."]


COMPACTION = {"type": "compaction", "content": "All of it.", "encrypted_content": "EqQB", "signature": "EsIG"}


def test_a_compaction_is_filled_by_its_deltas():
    said = [
        start(),
        block(0, "compaction", content=None),
        grow(0, "compaction_delta", content="All of it.", encrypted_content=None),
        grow(0, "compaction_delta", content=None, encrypted_content="EqQB"),
        grow(0, "signature_delta", signature="EsIG"),
        stop(0),
        end(),
    ]
    streamed_answer = answer(*read(encoded(said)))
    assert streamed_answer.choices[0].extra == {"content_blocks": [COMPACTION]}
    assert is_storable(streamed_answer)


def test_an_answer_with_a_delta_that_nobody_here_knows_is_not_stored():
    said = [start(), block(0, "text", text=""), grow(0, "delta_of_tomorrow", x="?"), stop(0), end()]
    deltas, closing = read(encoded(said))
    assert (deltas[-1].finish_reason, closing.is_whole) == ("stop", False)
    assert not is_storable(answer(deltas, closing))


def test_a_whole_message_is_the_same_answer():
    content = [
        *THOUGHTS,
        {"type": "text", "text": "Höchst wahr.", "citations": [CITATION]},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        SEARCH,
    ]
    body = whole(content, stop_reason="tool_use", usage={**USAGE, "output_tokens": 40})
    said = answer(*read_whole(body))
    calls = said.choices[0].tool_calls
    assert [json.loads(call.arguments) for call in calls] == [{"a": 1}, {}]
    assert said.usage == ANSWER.usage
    assert said.choices[0].extra == ANSWER.choices[0].extra


@pytest.mark.parametrize(
    ("reason", "finish", "is_said_beside"),
    [
        ("end_turn", "stop", False),
        ("stop_sequence", "stop", True),
        ("max_tokens", "length", False),
        ("tool_use", "tool_calls", False),
        ("refusal", "content_filter", True),
        ("pause_turn", "length", True),
        ("model_context_window_exceeded", "length", True),
        ("a_reason_of_tomorrow", "stop", True),
    ],
)
def test_why_it_ended(reason: str, finish: str, is_said_beside: bool):
    for deltas, _ in (read(encoded(streamed("a", stop_reason=reason))), read_whole(whole([], stop_reason=reason))):
        extra = {"stop_reason": reason} if is_said_beside else None
        assert deltas[-1] == Delta(finish_reason=finish, extra=extra)


def test_a_stop_sequence_is_told():
    deltas, _ = read_whole(whole([], stop_reason="stop_sequence", stop_sequence="END", stop_details=None))
    assert deltas == [Delta(finish_reason="stop", extra={"stop_reason": "stop_sequence", "stop_sequence": "END"})]


@pytest.mark.parametrize(
    ("kind", "message", "outcome"),
    [
        ("overloaded_error", "Overloaded", Outcome.UPSTREAM_ERROR),
        ("api_error", "Internal server error", Outcome.UPSTREAM_ERROR),
        ("rate_limit_error", "Too many", Outcome.RATE_LIMITED),
        ("billing_error", "Your credit balance is too low", Outcome.OUT_OF_CREDIT),
        ("an_error_of_tomorrow", "?", Outcome.BAD_ANSWER),
    ],
)
def test_an_error_within_an_answer_is_a_fault_and_never_repeats_the_key(kind: str, message: str, outcome: Outcome):
    error = {"type": "error", "error": {"type": kind, "message": f"{message} {PROVIDER.api_key}"}}
    with pytest.raises(Fault) as raised:
        read_whole(error)
    for one in (fault(error), fault(*GOLDEN[:8], error), raised.value):
        assert (one.outcome, one.code, one.status) == (outcome, kind, 200)
        assert message in one.message
        assert str(PROVIDER.api_key) not in one.message


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ([], Outcome.BAD_ANSWER),
        ([{"type": "message_stop"}], Outcome.BAD_ANSWER),
        ([start(), text_delta("x")], Outcome.BAD_ANSWER),
        ([start(), stop(0)], Outcome.BAD_ANSWER),
        ([start(), {"type": "content_block_start", "index": -1, "content_block": {}}], Outcome.BAD_ANSWER),
        ([start(), {"type": "content_block_start", "index": 0, "content_block": "x"}], Outcome.BAD_ANSWER),
        ([start(), block(0, "text"), grow(0, "text_delta", text=7)], Outcome.BAD_ANSWER),
        ([start(), block(0, "text"), text_delta("Hi")], Outcome.CUT),
    ],
)
def test_what_is_no_answer_is_a_fault(said: list[dict[str, Any]], outcome: Outcome):
    assert fault(*said).outcome == outcome


def test_a_stream_that_said_why_it_ended_is_whole_without_its_last_event():
    deltas, closing = read(encoded(GOLDEN[:-1]))
    assert answer(deltas, closing) == ANSWER


def test_blocks_without_end_are_a_fault():
    assert fault(start(), *(block(0, "text") for _ in range(4097))).outcome == Outcome.BAD_ANSWER


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        (USAGE, None, None),
        ({}, {"output_tokens": 5}, None),
        ({"input_tokens": 9}, {"output_tokens": 5}, Usage(input_tokens=9, output_tokens=5)),
        ({"input_tokens": 0}, {"input_tokens": 9, "output_tokens": 5}, Usage(input_tokens=9, output_tokens=5)),
        ({"input_tokens": 9}, {"input_tokens": None, "output_tokens": 0}, Usage(input_tokens=9)),
        ({"input_tokens": 9}, {"output_tokens": True}, None),
        ({"input_tokens": -1}, {"output_tokens": 1}, None),
        ([], {"output_tokens": 1}, None),
        (
            USAGE,
            {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}},
            Usage(input_tokens=9, cached_tokens=4, cache_write_tokens=3, output_tokens=30, reasoning_tokens=20),
        ),
    ],
)
def test_usage_is_in_disjoint_classes_and_none_where_it_is_not_said(first: Any, last: Any, usage: Usage | None):
    counts = Counts()
    counts.add(first, is_final=False)
    counts.add(last, is_final=True)
    assert counts.usage() == usage


@pytest.mark.parametrize(
    ("steps", "is_of_one_model", "beside"),
    [
        (["message", "compaction", "message"], True, 1),
        (["message", "advisor_message"], False, 1),
        (["message", "fallback_message"], False, 0),
        (["a_step_of_tomorrow"], False, 0),
        ([], True, 0),
    ],
)
def test_of_which_steps_the_price_is_known(steps: list[str], is_of_one_model: bool, beside: int):
    said = [{"type": step, "input_tokens": 100, "output_tokens": 10} for step in steps]
    _, closing = read_whole(whole([], usage={"input_tokens": 9, "output_tokens": 7, "iterations": said}))
    assert closing.usage == Usage(input_tokens=9 + 100 * beside, output_tokens=7 + 10 * beside)
    assert closing.is_of_one_model == is_of_one_model


def test_what_no_list_of_steps_can_be_has_no_known_price():
    for steps in ("x", 7, ["x"], [None], [{"type": ["compaction"]}]):
        _, closing = read_whole(whole([], usage={**USAGE, "iterations": steps}))
        assert not closing.is_of_one_model


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
trees = values | st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2)
KINDS = ("text", "thinking", "tool_use", "redacted_thinking", "x", "text_delta", "input_json_delta", "signature_delta")
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | trees},
    optional=dict.fromkeys(("text", "thinking", "id", "name", "input", "partial_json", "signature"), trees),
)
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from([event["type"] for event in GOLDEN]) | trees},
    optional={
        "index": st.integers(-1, 2) | trees,
        "content_block": PARTS | trees,
        "delta": PARTS | trees,
        "message": st.just(start()["message"]) | trees,
        "usage": trees | st.just(USAGE),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS | st.sampled_from(GOLDEN), max_size=6))
def test_events_of_any_shape_give_deltas_or_a_fault_and_nothing_else(events: list[dict[str, Any]]):
    with suppress(Fault):
        answer(*read(*(f"data: {json.dumps(event)}\n\n".encode() for event in events)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=64) | trees.map(lambda tree: json.dumps(tree).encode()), st.binary(max_size=32))
def test_bytes_of_any_kind_give_deltas_or_a_fault_and_nothing_else(data: bytes, more: bytes):
    for attempt in (
        lambda: read(data, more),
        lambda: read_whole(data),
        lambda: read(b"data: " + data + b"\n\n" + more),
    ):
        with suppress(Fault):
            answer(*attempt())
