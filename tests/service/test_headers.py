"""Headers in and out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.headers import NO_WISHES, Wishes, answering_headers, read_wishes
from service.refusals import InvalidRequest


def test_no_headers_are_no_wishes():
    assert read_wishes({b"host": b"localhost"}) is NO_WISHES


def test_wishes_of_the_one_win_over_the_others_and_tags_are_joined():
    one = Wishes(user="a", tags={"x": "1"}, deadline_ms=5)
    other = Wishes(user="b", run="r", tags={"x": "2", "y": "3"}, deadline_ms=9, cache_mode="only", max_cost_nanousd=0)
    both = one.over(other)
    assert both == Wishes(
        user="a", run="r", tags={"x": "1", "y": "3"}, deadline_ms=5, cache_mode="only", max_cost_nanousd=0
    )


@given(st.text(st.characters(codec="utf-8")))
def test_no_model_name_breaks_out_of_its_header(name):
    for _, value in answering_headers(f"p:{name}", "miss", [name], {}):
        assert all(0x20 <= byte < 0x7F for byte in value)


@pytest.mark.parametrize(
    ("name", "value"), [(b"x-farthing-tags", b"team=a,team=b"), (b"x-farthing-deadline-ms", b"9" * 5000)]
)
def test_a_wish_that_contradicts_itself_or_is_beyond_all_numbers_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest) as refused:
        read_wishes({name: value})
    assert refused.value.where == name.decode()
