"""Answers: the published event shapes give the same deltas however they are cut, and garbage gives a Fault only."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.usage import Usage
from router.answer import Answer, Choice, Closing, Delta, ToolCall
from router.assemble import Assembly, is_storable
from router.deployments import Provider
from router.faults import Fault, Outcome
from router.providers.gemini.reading import GeminiReader
from router.providers.gemini.usage import Counts
from tests.gemini_scripts import USAGE, encoded, error, said

PROVIDER = Provider(name="gemini", dialect="gemini", base_url="http://127.0.0.1:1", api_key="AIza-0123456789")
CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
SIGNED_CALL = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "sig1"}
PARTS = [
    {"text": "Let me see…", "thought": True},
    {"text": "Höchst wahr."},
    CODE,
    SIGNED_CALL,
    {"functionCall": {"name": "g", "id": "own"}},
]
LAST_USAGE = {
    "promptTokenCount": 13,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 30,
    "totalTokenCount": 63,
}
GOLDEN = [
    said({"text": "Let me ", "thought": True}, usage={"promptTokenCount": 13, "totalTokenCount": 13}),
    said({"text": "see…", "thought": True}, finishReason="FINISH_REASON_UNSPECIFIED"),
    said({"text": "Höchst "}, usage=None),
    said({"text": "wahr."}, CODE, citationMetadata={"citationSources": [{"uri": "u1"}]}),
    said(SIGNED_CALL, {"functionCall": {"name": "g", "id": "own"}}),
    said({"text": ""}, reason="STOP", usage=LAST_USAGE, safetyRatings=[]),
]
CALLS = (
    ToolCall(id="call_r1_0_0", name="f", arguments='{"a":1}'),
    ToolCall(id="own", name="g", arguments="{}"),
)
ANSWER = Answer(
    choices=(
        Choice(
            text="Höchst wahr.",
            reasoning="Let me see…",
            tool_calls=CALLS,
            finish_reason="tool_calls",
            extra={
                "content_parts": [CODE],
                "citationMetadata": {"citationSources": [{"uri": "u1"}]},
                "thought_signatures": [{"tool_call_id": "call_r1_0_0", "signature": "sig1"}],
            },
        ),
    ),
    usage=Usage(input_tokens=9, cached_tokens=4, output_tokens=20, reasoning_tokens=30),
    provider_model="gemini-test",
    provider_response_id="r1",
)


def read(*chunks: bytes) -> tuple[list[Delta], Closing]:
    reader = GeminiReader(PROVIDER, 200)
    deltas = [delta for chunk in chunks for delta in reader.feed(chunk)]
    return [*deltas, *reader.finish()], reader.closing()


def read_whole(body: Any) -> tuple[list[Delta], Closing]:
    reader = GeminiReader(PROVIDER, 200)
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


def test_a_stream_gives_the_same_events_wherever_it_is_cut():
    data = encoded(GOLDEN)
    deltas, closing = read(data)
    assert answer(deltas, closing) == ANSWER
    for cut in range(1, len(data)):
        assert read(data[:cut], data[cut:]) == (deltas, closing)
    assert read(*(data[at : at + 1] for at in range(len(data)))) == (deltas, closing)


def test_a_whole_answer_is_the_same_answer():
    citations = {"citationSources": [{"uri": "u1"}]}
    body = said(*PARTS, reason="STOP", usage=LAST_USAGE, citationMetadata=citations)
    assert answer(*read_whole(body)) == ANSWER


def test_each_candidate_is_a_choice_and_all_must_end():
    first, second = said({"text": "a"}, reason="STOP"), said({"text": "b"}, reason="MAX_TOKENS", index=1)
    both = answer(*read(encoded([first, second])))
    assert [(choice.text, choice.finish_reason) for choice in both.choices] == [("a", "stop"), ("b", "length")]
    assert fault(first, said({"text": "b"}, index=1)).outcome == Outcome.CUT


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "content_filter"),
        ("A_REASON_OF_TOMORROW", "content_filter"),
    ],
)
def test_why_it_ended_and_only_an_answer_as_asked_is_kept(reason: str, finish: str):
    whole = answer(*read_whole(said({"text": "a"}, reason=reason)))
    assert whole.choices[0].finish_reason == finish
    assert is_storable(whole) == (finish != "content_filter")
    assert whole.choices[0].extra == ({"stop_reason": reason} if finish == "content_filter" else None)


def test_a_blocked_prompt_is_an_answer_without_words():
    feedback = {"blockReason": "PROHIBITED_CONTENT"}
    body = {"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 5}, "modelVersion": "m"}
    for deltas, closing in (read_whole(body), read(encoded([body]))):
        assert deltas == [Delta(finish_reason="content_filter", extra={"prompt_feedback": feedback})]
        assert closing.usage == Usage(input_tokens=5)


@pytest.mark.parametrize(
    ("said_error", "outcome", "code"),
    [
        (error(503, "UNAVAILABLE"), Outcome.UPSTREAM_ERROR, "UNAVAILABLE"),
        (error(500, "INTERNAL"), Outcome.UPSTREAM_ERROR, "INTERNAL"),
        (error(429, "RESOURCE_EXHAUSTED"), Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
        (error(418, "OF_TOMORROW"), Outcome.BAD_ANSWER, "OF_TOMORROW"),
        ({"error": "?"}, Outcome.BAD_ANSWER, ""),
    ],
)
def test_an_error_within_an_answer_is_a_fault(said_error: dict[str, Any], outcome: Outcome, code: str):
    with pytest.raises(Fault) as raised:
        read_whole(said_error)
    for one in (fault(said_error), fault(*GOLDEN[:3], said_error), raised.value):
        assert (one.outcome, one.code, one.status) == (outcome, code, 200)


def test_an_error_never_repeats_the_key():
    found = fault(error(500, "INTERNAL", f"bad {PROVIDER.api_key}"))
    assert found.message.startswith("bad ")
    assert str(PROVIDER.api_key) not in found.message


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([], Outcome.BAD_ANSWER),
        ([{}], Outcome.BAD_ANSWER),
        ([{"candidates": []}], Outcome.BAD_ANSWER),
        ([{"candidates": "x"}], Outcome.BAD_ANSWER),
        ([{"candidates": [{"content": "x"}]}], Outcome.BAD_ANSWER),
        ([{"candidates": [{"index": -1}]}], Outcome.BAD_ANSWER),
        ([said({"text": 7})], Outcome.BAD_ANSWER),
        ([said({"functionCall": "x"})], Outcome.BAD_ANSWER),
        ([said(*({"functionCall": {"name": "f"}} for _ in range(1025)))], Outcome.BAD_ANSWER),
        (GOLDEN[:-1], Outcome.CUT),
    ],
)
def test_what_is_no_whole_answer_is_a_fault(events: list[dict[str, Any]], outcome: Outcome):
    assert fault(*events).outcome == outcome


@pytest.mark.parametrize(
    ("said_usage", "usage"),
    [
        ([], None),
        ([None], None),
        ([{"promptTokenCount": 9}], Usage(input_tokens=9)),
        ([USAGE], Usage(input_tokens=9, cached_tokens=4, output_tokens=7)),
        ([{"promptTokenCount": 9}, {"candidatesTokenCount": 5}], Usage(input_tokens=9, output_tokens=5)),
        ([LAST_USAGE], ANSWER.usage),
        # Thoughts that were counted among the candidates' words, as the total shows.
        (
            [{"promptTokenCount": 9, "candidatesTokenCount": 50, "thoughtsTokenCount": 30, "totalTokenCount": 59}],
            Usage(input_tokens=9, output_tokens=20, reasoning_tokens=30),
        ),
        ([{"promptTokenCount": 9, "toolUsePromptTokenCount": 3}], Usage(input_tokens=12)),
        ([{"promptTokenCount": 3, "cachedContentTokenCount": 4}], None),
        ([{"promptTokenCount": True}], None),
        ([{"promptTokenCount": 9, "candidatesTokenCount": -1}], None),
        (["x", USAGE], None),
    ],
)
def test_usage_is_in_disjoint_classes_and_none_where_it_is_not_said(said_usage: list[Any], usage: Usage | None):
    counts = Counts()
    for one in said_usage:
        counts.add(one)
    assert counts.usage() == usage


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
trees = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
SOME_PARTS = st.sampled_from(PARTS) | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("text", "thought", "functionCall", "thoughtSignature", "inlineData"), trees)
)
CANDIDATES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 2) | trees,
        "content": st.fixed_dictionaries({"parts": st.lists(SOME_PARTS, max_size=2) | trees}) | trees,
        "finishReason": st.sampled_from(["STOP", "SAFETY"]) | trees,
    },
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(CANDIDATES, max_size=1) | trees,
        "usageMetadata": trees | st.just(USAGE),
        "promptFeedback": trees,
        "error": trees,
        "responseId": trees,
    },
)


@settings(max_examples=60)
@given(st.lists(EVENTS | st.sampled_from(GOLDEN), max_size=3))
def test_events_of_any_shape_give_deltas_or_a_fault_and_nothing_else(events: list[dict[str, Any]]):
    with suppress(Fault):
        answer(*read(*(f"data: {json.dumps(event)}\n\n".encode() for event in events)))


@given(st.binary(max_size=64) | trees.map(lambda tree: json.dumps(tree).encode()), st.binary(max_size=32))
def test_bytes_of_any_kind_give_deltas_or_a_fault_and_nothing_else(data: bytes, more: bytes):
    for attempt in (
        lambda: read(data, more),
        lambda: read_whole(data),
        lambda: read(b"data: " + data + b"\n\n" + more),
    ):
        with suppress(Fault):
            answer(*attempt())


LOGPROBS = {
    "topCandidates": [
        {"candidates": [{"token": "Hö", "tokenId": 1, "logProbability": -0.1}, {"token": "A", "logProbability": -2}]}
    ],
    "chosenCandidates": [{"token": "Hö", "tokenId": 1, "logProbability": -0.1}, {"token": "chst", "logProbability": 0}],
}


def test_log_probabilities_are_a_chat_completions() -> None:
    first = {"token": "Hö", "logprob": -0.1, "bytes": [72, 195, 182]}
    other = {"token": "A", "logprob": -2, "bytes": [65]}
    last = {"token": "chst", "logprob": 0, "bytes": [99, 104, 115, 116], "top_logprobs": []}
    reader = GeminiReader(PROVIDER, 200)
    event = said({"text": "Höchst"}, reason="STOP", logprobsResult=LOGPROBS, avgLogprobs=-0.05)
    deltas = list(reader.whole(json.dumps(event).encode()))
    assert [delta.logprobs for delta in deltas if delta.logprobs] == [
        {"content": [{**first, "top_logprobs": [first, other]}, last]}
    ]
    assert deltas[-1].extra == {"avgLogprobs": -0.05}


@pytest.mark.parametrize(
    "wrong",
    [
        1,
        [],
        {"chosenCandidates": 1},
        {"chosenCandidates": [{"token": 1}]},
        {"chosenCandidates": [{"token": "a", "logProbability": "0"}]},
        {"chosenCandidates": [{"token": "a"}], "topCandidates": [{"candidates": [1]}]},
    ],
)
def test_log_probabilities_of_another_shape_are_no_answer(wrong: Any) -> None:
    with pytest.raises(Fault) as caught:
        list(GeminiReader(PROVIDER, 200).whole(json.dumps(said({"text": "a"}, logprobsResult=wrong)).encode()))
    assert caught.value.outcome == Outcome.BAD_ANSWER
