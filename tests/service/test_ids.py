"""Generation ids."""

import string

from hypothesis import given
from hypothesis import strategies as st

from service.ids import new_generation_id

MOMENTS = st.integers(0, 2**48 - 1)


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_their_millisecond(one_ms, other_ms):
    one, other = new_generation_id(one_ms), new_generation_id(other_ms)
    assert len(one) == len(other) == 30
    if one_ms != other_ms:
        assert (one < other) == (one_ms < other_ms)


def test_ids_of_one_millisecond_differ():
    ids = {new_generation_id(1_795_240_000_000) for _ in range(1000)}
    assert len(ids) == 1000
    assert set("".join(ids)) <= {*string.ascii_lowercase, *string.digits, "_"}
