"""Chunks on their way to a caller of the same format: as they came, less what is ours to say, and none lost."""

import json
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.answer import Answer, Delta
from router.assemble import Assembly
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.openai_passing import together
from router.providers.openai_reading import EventStream
from router.providers.openai_responses_reading import ResponseStream
from router.providers.reading import UNTOLD_BYTES

KEY = "sk-test-0123456789"
PROVIDER = Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1/v1", api_key=KEY)
ROLE = b'{"id":"c", "choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}'
HELLO = b'{"id":"c", "odd": 1.50, "choices":[{"index":0,"delta":{"content":"Hell\\u00f6"}, "finish_reason":null}]}'
STOP = b'{"id":"c", "choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


def told(*events: bytes, keeps_events: bool = True) -> list[Delta]:
    """The deltas of a stream of these payloads."""
    stream = EventStream(PROVIDER, 200, keeps_events=keeps_events)
    data = b"".join(b"data: %b\n\n" % event.replace(b"\n", b"\ndata: ") for event in events)
    return [*stream.feed(data + b"data: [DONE]\n\n")]


def raw_of(deltas: list[Delta]) -> bytes:
    return b"".join(delta.raw or b"" for delta in deltas)


def changed(raw: bytes) -> dict:
    return json.loads(raw.removeprefix(b"data: "))


def added_up(deltas: list[Delta]) -> Answer:
    assembly = Assembly()
    for delta in deltas:
        assembly.add(delta)
    return assembly.answer(None)


def test_content_in_parts_passes_as_it_came():
    parts = (
        b'{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}}]}'
    )
    thought, said, _ = told(ROLE, parts, HELLO, STOP)
    assert thought == Delta(reasoning="hm", raw=b"data: %b\n\ndata: %b\n\n" % (ROLE, parts))
    assert said.text == "Hell\u00f6"


PIECES = st.builds(
    Delta,
    choice=st.integers(0, 1),
    text=st.sampled_from(["", "a", "ö "]),
    reasoning=st.sampled_from(["", "", "hm"]),
    finish_reason=st.sampled_from([None, None, "stop"]),
    extra=st.sampled_from([None, None, {"mood": "good"}]),
    raw=st.sampled_from([b"", b"data: 1\n\n", b"data: 2\n\n"]),
)


@given(st.lists(PIECES, max_size=12))
def test_texts_that_came_in_one_piece_are_told_as_one_and_say_the_same_in_the_same_bytes(deltas):
    one = list(together(iter(deltas)))
    assert raw_of(one) == raw_of(deltas)
    assert added_up(one) == added_up(deltas)
    assert all(later.choice != delta.choice or not (plain(delta) and plain(later)) for delta, later in pairwise(one))


def plain(delta: Delta) -> bool:
    return delta == Delta(choice=delta.choice, text=delta.text, raw=delta.raw) and delta.text != ""


def test_what_came_before_a_fault_is_told_before_it():
    def broken():
        yield Delta(text="a", raw=b"1")
        yield Delta(text="b", raw=b"2")
        raise Fault(Outcome.CUT, "it broke off")

    deltas = together(broken())
    assert next(deltas) == Delta(text="ab", raw=b"12")
    with pytest.raises(Fault):
        next(deltas)


def test_a_chunk_goes_out_byte_for_byte_with_those_that_said_nothing_before_it():
    role_and_hello, stop = told(ROLE, HELLO, STOP)
    assert role_and_hello.text == "Hellö"
    assert role_and_hello.raw == b"data: %b\n\ndata: %b\n\n" % (ROLE, HELLO)
    assert stop.raw == b"data: %b\n\n" % STOP


def test_nothing_is_kept_for_callers_of_another_format():
    assert {delta.raw for delta in told(ROLE, HELLO, STOP, keeps_events=False)} == {None}


def test_two_choices_in_one_chunk_take_it_along_once():
    both = b'{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}'
    assert [delta.raw for delta in told(both, STOP)] == [b"data: %b\n\n" % both, b"", b"data: %b\n\n" % STOP]


def test_what_spans_lines_stays_one_event():
    pretty = HELLO.replace(b",", b",\n")
    (delta,) = told(pretty)
    assert delta.raw == b"data: %b\n\n" % pretty.replace(b"\n", b"\ndata: ")


def test_usage_is_left_to_us_wherever_it_stands():
    deltas = told(HELLO, json.dumps({"choices": [], "usage": USAGE}).encode(), STOP)
    assert raw_of(deltas) == b"data: %b\n\ndata: %b\n\n" % (HELLO, STOP)
    within = {**json.loads(STOP), "usage": USAGE}
    (delta,) = told(json.dumps(within).encode())
    assert changed(delta.raw) == {**within, "usage": None}


def test_reasoning_goes_by_one_name():
    (delta,) = told(b'{"choices":[{"index":0,"delta":{"reasoning":"hm","x":1}}]}')
    assert changed(delta.raw)["choices"] == [{"index": 0, "delta": {"reasoning_content": "hm", "x": 1}}]
    both = b'{"choices":[{"index":0,"delta":{"reasoning":"hm","reasoning_content":"hm"}}]}'
    assert raw_of(told(both)) == b"data: %b\n\n" % both


def test_a_providers_key_does_not_pass():
    (delta,) = told(HELLO.replace(b"Hell", KEY.encode()))
    assert delta.text == "[key]ö"
    assert KEY.encode() not in delta.raw


def test_a_providers_key_passes_in_no_event_of_a_response_either():
    stream = ResponseStream(PROVIDER, 200, keeps_items=True, keeps_events=True)
    said = {"type": "response.output_text.delta", "delta": f"{KEY}!", "sequence_number": 4}
    (passed,) = stream.feed(b"data: %b\n\n" % json.dumps(said).encode())
    (written,) = stream.feed(b"data: %b\n\n" % json.dumps({**said, "sequence_number": None}).encode())
    assert passed.text == written.text == written.event["delta"] == "[key]!"
    assert KEY.encode() not in passed.raw
    assert written.raw is None


def test_chunks_that_say_nothing_are_not_hoarded():
    padding = [ROLE.replace(b'"odd"', b'"x"')] * (3 * UNTOLD_BYTES // len(ROLE))
    (delta,) = told(*padding, HELLO)
    assert delta.raw.endswith(HELLO + b"\n\n")
    assert len(delta.raw) <= UNTOLD_BYTES


def test_what_is_just_not_too_deep_to_be_read_can_be_written_again():
    outcomes = set()
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit()):
        deep = b"[" * depth + b"]" * depth
        try:
            told(b'{"choices":[{"delta":{"content":"a"}}],"usage":{"a":1},"deep":%b}' % deep)
        except Fault as fault:
            outcomes.add(fault.message)
    assert outcomes == {"the answer is not valid JSON"}
