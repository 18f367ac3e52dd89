"""JSON texts written in pieces are those that are written whole."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router import json_text as written
from router.cachekey import canonical
from router.json_text import json_pieces
from router.large import LARGE_BYTES

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=40,
)


@pytest.mark.parametrize("chars", [2, 10, 60])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_pieces_add_up_to_what_is_written_in_one_step(monkeypatch: pytest.MonkeyPatch, chars: int, value: Any):
    monkeypatch.setattr(written, "PIECE_CHARS", chars)
    assert b"".join(json_pieces(value)) == msgspec.json.encode(value)
    assert b"".join(json_pieces(value, order="sorted")) == msgspec.json.encode(value, order="sorted")


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": 'He said: "no"\n' * 200_000, "model": "m"},
        {"messages": [{"role": "user", "content": "x" * 300}] * 8000},
        {"input": list(range(400_000))},
        {"deep": [[[["y" * 100_000] * 10]]]},
    ],
)
def test_no_piece_of_a_large_body_is_large_and_its_key_is_what_it_was(value: dict[str, Any]):
    pieces = canonical(value, size=LARGE_BYTES)
    assert max(map(len, pieces)) <= 2 * written.PIECE_CHARS
    assert [b"".join(pieces)] == canonical(value)
