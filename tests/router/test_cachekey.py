"""Equal calls share a key; calls that differ anywhere that matters do not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cachekey import NOT_IN_KEY, cache_key
from router.providers.anthropic.native import OWN, Own
from router.responses import AS_SENT, AsSent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(max_size=6).filter(lambda name: name not in NOT_IN_KEY), JSON, max_size=4)


def key(**changes):
    parts = {
        "kind": "chat",
        "scope": "",
        "route": "chat",
        "workflow": "",
        "body": {"messages": []},
        "headers": {},
    } | changes
    return cache_key(**parts)


def test_it_has_256_bits():
    assert len(key()) == 32


def test_the_order_of_keys_does_not_count():
    assert key(body={"a": 1, "b": {"c": 2, "d": 3}}) == key(body={"b": {"d": 3, "c": 2}, "a": 1})


def test_no_answer_is_one_to_another_kind_of_call():
    assert key(kind="embeddings") != key()


def test_who_asked_does_not_count():
    assert key(body={"messages": [], "user": "u1"}) == key(body={"messages": [], "user": "u2"})


@given(BODIES, BODIES)
def test_bodies_share_a_key_only_if_they_are_the_same(one, other):
    def types(value):
        if isinstance(value, dict):
            return {name: types(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [types(inner) for inner in value]
        return (type(value), value)

    assert (key(body=one) == key(body=other)) == (types(one) == types(other))


@given(st.tuples(*[st.text(max_size=6)] * 3), st.tuples(*[st.text(max_size=6)] * 3))
def test_no_content_moves_from_one_part_into_its_neighbour(one, other):
    names = ("scope", "route", "workflow")
    keys = [key(**dict(zip(names, parts, strict=True))) for parts in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_forwarded_headers_count():
    assert key(headers={"OpenAI-Beta": "x"}) != key()


@pytest.mark.parametrize(("name", "kept"), [(OWN, Own(fields={"speed": "fast"})), (AS_SENT, AsSent(gone=("a",)))])
def test_what_is_kept_beside_a_body_is_nothing_that_json_could_say(name, kept):
    said = msgspec.json.decode(msgspec.json.encode(kept))
    assert key(body={name: kept}) != key(body={name: said})
    assert key(body={name: kept}) != key(body={})
