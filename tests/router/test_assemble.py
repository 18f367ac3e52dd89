"""From events to an answer and back: whatever a provider said is given again, whole, however it first came."""

import random
from typing import Any

import pytest

from ledger.usage import Usage
from router.answer import Answer, Block, Closing, Delta, ToolCallDelta
from router.assemble import Assembly, delivered_text, is_storable, replay
from router.stored import decode_stored, encode_stored

WORDS = ("", "a", "two words ", "\n", "été ", "🙂", '{"x":', "1}", "\x00")
KINDS: tuple[Any, ...] = ("text", "thinking", "tool", "own")
EXTRAS: tuple[Any, ...] = (None, 1, 0.5, True, "text", ["a"], {"deep": [1, {"er": "x"}]})


def a_closing(draw: random.Random) -> Closing:
    usage = Usage(input_tokens=draw.randrange(9), output_tokens=draw.randrange(9), reasoning_tokens=draw.randrange(9))
    return Closing(
        usage=draw.choice((None, usage)),
        provider_model=draw.choice(WORDS),
        provider_response_id=draw.choice(WORDS),
        created_at_s=draw.randrange(2**31),
        extra=draw.choice((None, {"system_fingerprint": "fp", "odd": draw.choice(EXTRAS)})),
    )


def a_delta(draw: random.Random) -> Delta:
    tools = tuple(
        ToolCallDelta(
            index=draw.randrange(3),
            id=draw.choice(("", "call_1", "call_2")),
            name=draw.choice(("", "look_up")),
            arguments=draw.choice(WORDS),
            type=draw.choice(("function", "custom")),
            extra=draw.choice((None, None, {"caller": draw.choice(EXTRAS)})),
            format=draw.choice(("", "chat.completions")),
        )
        for _ in range(draw.choice((0, 0, 0, 1, 2)))
    )
    return Delta(
        choice=draw.choice((0, 0, 1, 5)),
        text=draw.choice(WORDS),
        reasoning=draw.choice(("", "", *WORDS)),
        refusal=draw.choice(("", "", "", "I will not")),
        tool_calls=tools,
        logprobs=draw.choice((None, None, {"content": [{"token": "a", "logprob": -0.5}], "refusal": None})),
        finish_reason=draw.choice((None, None, "stop", "length", "tool_calls", "", "odd")),
        extra=draw.choice(
            (None, None, {"odd": draw.choice(EXTRAS), "annotations": [draw.randrange(9)], "citations": [1, 2]})
        ),
        beside=draw.choice(((), (), ("odd",), ("annotations", "odd"))),
        block=draw.choice((None, Block(kind=draw.choice(KINDS), chars=draw.randrange(9), citations=draw.randrange(3)))),
    )


def assembled(deltas: list[Delta], closing: Closing | None) -> Answer:
    assembly = Assembly()
    for delta in deltas:
        assembly.add(delta)
    return assembly.answer(closing)


@pytest.mark.parametrize("seed", range(300))
def test_a_stored_answer_replays_without_loss(seed: int):
    draw = random.Random(seed)
    closing = a_closing(draw)
    answer = assembled([a_delta(draw) for _ in range(draw.randrange(12))], closing)
    body = encode_stored(answer, estimated_prompt_tokens=seed)
    assert body is not None
    stored = decode_stored(body)
    assert stored is not None
    assert (stored.answer, stored.estimated_prompt_tokens) == (answer, seed)
    assert assembled(list(replay(stored.answer)), closing) == answer


@pytest.mark.parametrize("seed", range(100))
def test_texts_and_lists_add_up_to_what_was_said_in_its_order(seed: int):
    draw = random.Random(seed)
    deltas = [a_delta(draw) for _ in range(12)]
    answer = assembled(deltas, None)
    for choice in answer.choices:
        own = [delta for delta in deltas if delta.choice == choice.index]
        assert (choice.text or "") == "".join(delta.text for delta in own)
        assert choice.reasoning == "".join(delta.reasoning for delta in own)
        assert choice.refusal == "".join(delta.refusal for delta in own)
        pieces = [piece for delta in own for piece in delta.tool_calls]
        indexes = sorted({piece.index for piece in pieces})
        assert [tool.arguments for tool in choice.tool_calls] == [
            "".join(piece.arguments for piece in pieces if piece.index == index) for index in indexes
        ]
        noted = [number for delta in own if delta.extra for number in delta.extra["annotations"]]
        assert (choice.extra or {}).get("annotations", []) == noted
        tokens = [token for delta in own if delta.logprobs for token in delta.logprobs["content"]]
        assert (choice.logprobs or {}).get("content", []) == tokens
    assert answer.usage is None


def test_null_takes_nothing_back_that_was_said_before():
    said = {"content": [{"token": "a"}], "refusal": None}
    deltas = [Delta(logprobs=said, extra={"odd": {"x": 1}}), Delta(logprobs={"content": None}, extra={"odd": None})]
    (choice,) = assembled(deltas, None).choices
    assert choice.logprobs == said
    assert choice.extra == {"odd": {"x": 1}}


def test_what_a_provider_adds_to_a_call_in_pieces_is_added_up_in_its_words():
    said = [{"google": {"thought_signature": "s"}}, None, {"google": {"more": 1}, "seen": True}]
    pieces = [ToolCallDelta(index=0, extra=extra, format="chat.completions" if extra else "") for extra in said]
    (call,) = assembled([Delta(tool_calls=(piece,)) for piece in pieces], None).choices[0].tool_calls
    assert call.extra == {"google": {"thought_signature": "s", "more": 1}, "seen": True}
    assert call.format == "chat.completions"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="look_up", arguments="{}"),)), None),
        (Delta(refusal="no"), None),
        (Delta(extra={"audio": {"id": "a1", "data": "UklG"}}), None),
        (Delta(extra={"function_call": {"name": "f", "arguments": "{}"}}), None),
        (Delta(refusal="no", text="Well."), "Well."),
        (Delta(extra={"annotations": []}), ""),
        (Delta(finish_reason="stop"), ""),
    ],
)
def test_a_choice_of_a_call_a_refusal_or_sound_alone_has_no_text_and_any_other_has_some(said: Delta, text: str | None):
    assert assembled([said], None).choices[0].text == text


@pytest.mark.parametrize(
    ("reasons", "kept"),
    [
        (["stop"], True),
        (["tool_calls", "length"], True),
        (["stop", "content_filter"], False),
        (["odd"], False),
        ([None], False),
        ([], False),
    ],
)
def test_an_answer_is_kept_if_every_choice_came_to_an_end_of_its_own(reasons: list[str | None], kept: bool):
    deltas = [Delta(choice=index, text="x", finish_reason=reason) for index, reason in enumerate(reasons)]
    assert is_storable(assembled(deltas, None)) is kept


def test_all_that_the_model_wrote_is_counted():
    tool = ToolCallDelta(index=0, id="not counted", name="look_up", arguments='{"a":1}')
    deltas = [Delta(text="text ", reasoning="thought ", refusal="no ", tool_calls=(tool,)), Delta(choice=1, text="two")]
    assert delivered_text(assembled(deltas, None)) == 'text thought no look_up{"a":1}two'
