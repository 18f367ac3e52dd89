"""Messages as spans tell them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import messages_json

TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}


def told(*messages: dict[str, Any], within: int = 4096) -> list[dict[str, Any]]:
    text = messages_json(messages, within)
    assert len(text.encode()) <= within
    return json.loads(text)


def words(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "content": text}]


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"role": "user", "content": "hello"}, words("hello")),
        ({"role": "user", "content": [{"type": "text", "text": "hello"}]}, words("hello")),
        ({"role": "assistant", "content": None}, []),
        ({"role": "assistant", "refusal": "no"}, words("no")),
        (
            {"role": "assistant", "reasoning": "hm", "content": "yes"},
            [{"type": "reasoning", "content": "hm"}, *words("yes")],
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
            [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": '{"city":"Paris"}'}],
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            [{"type": "tool_call_response", "id": "c1", "response": "rain"}],
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]},
            [{"type": "uri", "modality": "image", "uri": "https://x.example/a.png"}],
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            words("[image_url, 26 characters]"),
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]},
            words("[input_audio]"),
        ),
    ],
)
def test_messages_are_told_in_the_conventions_parts(message: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    assert told(message) == [{"role": message["role"], "parts": parts}]


def test_an_answer_says_why_it_ended_in_the_conventions_word() -> None:
    assert told({"role": "assistant", "content": "x", "finish_reason": "tool_calls"})[0]["finish_reason"] == "tool_call"


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    [message] = told({"role": "user", "content": "x" * 10_000}, within=1000)
    kept, _, note = message["parts"][0]["content"].partition("…")
    assert note == f" [{10_000 - len(kept)} more characters]"
    assert len(kept) > 700


def test_the_oldest_messages_are_left_out_first() -> None:
    messages = [{"role": "user", "content": f"{number}" * 200} for number in range(9)]
    first, *rest = told(*messages, within=1200)
    assert rest[-1]["parts"][0]["content"] == "8" * 200
    assert first == {"role": "system", "parts": words(f"[{9 - len(rest)} earlier messages left out]")}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={
            "content": st.text(max_size=900) | st.none() | st.lists(ANYTHING, max_size=3),
            "name": st.text(max_size=9),
            "tool_calls": st.just([TOOL_CALL]),
        },
    ),
    max_size=12,
)


@settings(max_examples=150)
@given(messages=MESSAGES, within=st.integers(300, 3000))
def test_whatever_is_said_is_told_as_json_of_messages_within_the_bound(
    messages: list[dict[str, Any]], within: int
) -> None:
    for message in told(*messages, within=within):
        assert set(message) <= {"role", "parts", "name"}
        assert all(isinstance(part["type"], str) for part in message["parts"])
