"""Large JSON texts, read in pieces, against a reader that takes them whole."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import json_pieces
from service.json_pieces import MAX_KEYS, DuplicateKey, LongKey, Malformed, ManyKeys, decode_in_pieces

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ['"', "\\", '\\"', ",", "],", '{"a":', "\\" * 20, "é" * 20, "😀" * 10, "\\u", "a\ud83d\ude00b" * 3]
).map(lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16"))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    LEAVES.filter(lambda it: it not in {float("inf"), float("-inf")}),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=40,
)
TOKENS = st.lists(
    st.sampled_from(['{"a":', '"b":', "[", "]", "}", ",", ":", '"', "\\", '"x"', "12", " ", "null", "\\u00e9", '"é"']),
    max_size=30,
).map("".join)


@pytest.fixture(params=[16, 23, 40])
def small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces so small that everything is cut somewhere."""
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", request.param)
    size: int = request.param
    return size


def whole(raw: bytes) -> Any:
    """What msgspec makes of it, or that it makes nothing."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "malformed"


def in_pieces(raw: bytes) -> Any:
    try:
        return decode_in_pieces(raw)
    except (Malformed, UnicodeDecodeError):
        return "malformed"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_a_value_is_read_as_it_is_wherever_it_is_cut(small_pieces, value, ascii_only, indent):
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    try:
        assert decode_in_pieces(raw) == msgspec.json.decode(raw)
    except LongKey:
        assert any(len(key) > small_pieces for key in keys_of(value))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TOKENS)
def test_what_is_malformed_is_malformed_in_pieces_too(small_pieces, text):
    raw = text.encode()
    try:
        assert in_pieces(raw) == whole(raw)
    except LongKey:
        assert '":' in text.replace(" ", "")
    except DuplicateKey:
        assert text.count('"a"') + text.count('"b"') + text.count('"x"') > 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, at=st.integers(0), byte=st.integers(0, 255))
def test_a_byte_that_is_wrong_makes_no_difference_to_that(small_pieces, value, at, byte):
    raw = bytearray(json.dumps(value, ensure_ascii=False).encode())
    raw[at % len(raw)] = byte
    try:
        assert in_pieces(bytes(raw)) == whole(bytes(raw))
    except (LongKey, DuplicateKey):
        assert b'"' in raw


def test_an_object_whose_open_member_is_given_twice_is_found_out(small_pieces):
    raw = b'{"a":{"x":1},"b":2,"a":[' + b"1," * 40 + b"2]}"
    try:
        value = decode_in_pieces(raw)
    except DuplicateKey:
        return
    assert len(value) < 3


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {json.dumps(key) for key in value}.union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(
    "value",
    [
        {"model": "m", "messages": [{"role": "user", "content": "x" * 300}] * 8000},
        {"input": list(range(300_000))},
        {"o": [{f"k{number}": number for number in range(20_000)}] * 3},
    ],
)
def test_each_step_of_a_large_text_is_a_piece(value):
    raw = msgspec.json.encode(value)
    reading = json_pieces._Reading(raw)
    while not reading.is_over:
        began = reading._at
        reading.step()
        assert began < reading._at <= began + json_pieces.PIECE_BYTES
    assert reading.value == value


def test_one_object_of_a_large_text_has_so_many_keys_at_most():
    for more in (0, 1):
        raw = json.dumps({f"key number {number}": 1 for number in range(MAX_KEYS + more)}).encode()
        assert len(raw) > json_pieces.PIECE_BYTES
        if more:
            with pytest.raises(ManyKeys):
                decode_in_pieces(raw)
        else:
            assert len(decode_in_pieces(raw)) == MAX_KEYS


def test_a_long_text_is_read_between_its_characters_and_a_long_key_is_refused():
    for said in ("😀" * 90_000, '\ud83d\ude00é\\"\n' * 30_000, "\\" * 600_001, "x" * 600_000):
        text = said.encode("utf-16", "surrogatepass").decode("utf-16")
        for ascii_only in (True, False):
            raw = json.dumps({"a": [1, text, {"b": text}], "c": text}, ensure_ascii=ascii_only).encode()
            for spaces in range(0, 12, 3):
                assert decode_in_pieces(b" " * spaces + raw) == {"a": [1, text, {"b": text}], "c": text}
    with pytest.raises(LongKey):
        decode_in_pieces(b'{"a":1,"%b": 2}' % (b"x" * 600_000))
    with pytest.raises(Malformed):
        decode_in_pieces(b'{"a":"%b' % (b"x" * 600_000))
