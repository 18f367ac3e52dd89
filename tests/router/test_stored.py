"""Stored answers: given back whole, or not at all. That they replay without loss is proved in test_assemble.py."""

from typing import Any

import msgspec
import pytest

from ledger.chain import FURTHER_CLASSES
from ledger.usage import Usage
from router.answer import Answer, Choice
from router.stored import Stored, decode_stored, encode_stored

ANSWER = Answer(choices=(Choice(text="whole"),), usage=None)


def nested(depth: int) -> dict[str, Any]:
    """As deep as JSON may come in."""
    inside: dict[str, Any] = {}
    for _ in range(depth):
        inside = {"x": inside}
    return inside


@pytest.mark.parametrize("extra", [{"odd": 2**64}, {"odd": -(2**63) - 1}, nested(5000)])
def test_what_cannot_be_kept_whole_is_not_kept(extra: dict[str, Any]):
    assert encode_stored(msgspec.structs.replace(ANSWER, extra=extra), estimated_prompt_tokens=1) is None


def test_an_answer_that_was_stored_before_its_usage_had_all_classes_has_none_of_them():
    answer = msgspec.structs.replace(ANSWER, usage=Usage(input_tokens=3, cached_tokens=2, output_tokens=1))
    body = encode_stored(answer, estimated_prompt_tokens=1)
    assert body is not None
    before = msgspec.msgpack.decode(body)
    for name in FURTHER_CLASSES:
        del before["answer"]["usage"][name]
    stored = decode_stored(msgspec.msgpack.encode(before))
    assert stored is not None
    assert stored.answer == answer


def test_an_answer_that_was_stored_before_it_said_what_was_not_sent_is_still_read():
    body = encode_stored(ANSWER, estimated_prompt_tokens=1, dropped_params=("seed",))
    assert body is not None
    before = msgspec.msgpack.decode(body)
    assert before.pop("dropped_params") == ["seed"]
    assert decode_stored(msgspec.msgpack.encode(before)) == Stored(answer=ANSWER, estimated_prompt_tokens=1)


def test_bytes_of_another_format_or_cut_short_are_a_miss_at_every_length():
    body = encode_stored(ANSWER, estimated_prompt_tokens=1)
    assert body is not None
    assert [decode_stored(body[:length]) for length in range(len(body))] == [None] * len(body)
    newer = msgspec.msgpack.encode(Stored(format=2, answer=ANSWER, estimated_prompt_tokens=1))
    assert decode_stored(newer) is None
    assert decode_stored(msgspec.msgpack.encode({"format": 1, "answer": {"choices": "none"}})) is None
    assert decode_stored(b"\x81" * 100_000) is None
