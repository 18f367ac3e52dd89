"""Strict JSON against the standard library as an oracle."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.json_pieces import PIECE_BYTES
from service.refusals import InvalidRequest
from service.strict_json import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES, decode_object, refuse_unknown

TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(['"', "\\", '\\"', ":", '":', '{"a":1}', "\\\\"])
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(TEXTS, VALUES), st.booleans(), st.sampled_from([None, 1]))
def test_an_object_without_duplicates_is_read_as_it_is(value, ascii_only, indent):
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert decode_object(raw) == value


@given(st.lists(st.tuples(TEXTS, VALUES), min_size=1, max_size=6), st.booleans())
def test_a_key_given_twice_is_refused_wherever_it_is(pairs, ascii_only):
    """The object is written by hand, so that it can hold a key twice, and nested one deep."""
    members = (
        f"{json.dumps(key, ensure_ascii=ascii_only)} : {json.dumps(value, ensure_ascii=ascii_only)}"
        for key, value in pairs
    )
    raw = ('{"outer":[0,{' + ",".join(members) + "}]}").encode()
    if len({key for key, _ in pairs}) == len(pairs):
        assert decode_object(raw) == {"outer": [0, dict(pairs)]}
    else:
        with pytest.raises(InvalidRequest, match="given twice"):
            decode_object(raw)


@given(st.binary(max_size=200))
def test_bytes_are_an_object_or_refused(raw):
    with contextlib.suppress(InvalidRequest):
        assert isinstance(decode_object(raw), dict)


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]"), (b'[{"a":', b"}]")])
def test_depth_is_bounded_exactly(opening, closing):
    levels = MAX_DEPTH - 1
    times = levels // (2 if len(closing) == 2 else 1)
    nested = opening * times + b"1" + closing * times
    many = b'{"x":[' + b",".join([b"[]"] * 500) + b'],"y":' + nested + b"}"
    assert decode_object(many)["x"] == [[]] * 500
    deeper = opening * (times + 2) + b"1" + closing * (times + 2)
    with pytest.raises(InvalidRequest, match="nested"):
        decode_object(b'{"y":' + deeper + b"}")


def test_the_nearest_known_name_is_told():
    with pytest.raises(InvalidRequest, match="did you mean workflow") as caught:
        refuse_unknown(["workflw"], ("model", "workflow"), "field")
    assert caught.value.where == "workflw"


@pytest.mark.parametrize("tricky", ['\\\\"', '\\"', '\\\\\\" : ', '","b":"', '":{"', "\\" * 5])
def test_wherever_a_large_text_is_cut_it_is_read_as_a_whole(tricky):
    said = json.dumps({"text": tricky, "c": {"d": [1]}})[1:-1]
    for place in range(PIECE_BYTES - len(said) - 2, PIECE_BYTES + 2):
        raw = ("{" + " " * (place - 1) + said + "," + '"e": "' + "x" * PIECE_BYTES + '"}').encode()
        assert decode_object(raw) == json.loads(raw)
        with pytest.raises(InvalidRequest, match="'c' is given twice"):
            decode_object(raw[:-1] + b',"c":1}')


def test_the_objects_of_a_body_are_counted_whole():
    most = b'{"a":[' + b"{}," * (MAX_CONTAINERS - 3) + b"[]]}"
    assert len(decode_object(most)["a"]) == MAX_CONTAINERS - 2
    for more in (b'{"a":[' + b"{}," * (MAX_CONTAINERS - 2) + b"[]]}", b"[" * 2 * MAX_CONTAINERS * 10):
        with pytest.raises(InvalidRequest, match="objects and lists"):
            decode_object(more)


def test_the_values_of_a_body_are_counted_whole():
    assert len(decode_object(b'{"a":[' + b"1," * (MAX_VALUES - 3) + b"1]}")["a"]) == MAX_VALUES - 2
    with pytest.raises(InvalidRequest, match="values"):
        decode_object(b'{"a":[' + b"1," * (MAX_VALUES - 1) + b"1]}")


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (b"", "given twice"),
        (b"}", "malformed"),
        (b'"', "malformed"),
        (b',"b":"\xff"', "UTF-8"),
        (b',"b":[1', "malformed"),
        (b"".join(b',"%040d":1' % number for number in range(20_001)), "20000 keys"),
    ],
)
def test_what_is_wrong_with_a_large_body_is_said(rest: bytes, said: str):
    raw = b'{"a":"' + b"x" * 5 * PIECE_BYTES + b'","k":1' + rest + (b',"k":2' if not rest else b"") + b"}"
    with pytest.raises(InvalidRequest, match=said):
        decode_object(raw)
