"""Long texts put together in pieces are those that are put together in one step."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from service.long_text import joined

WIDTHS = ("abc", "é", "Ā字", "😀")
PIECES = st.lists(st.text(st.sampled_from("".join(WIDTHS)), max_size=5) | st.text(max_size=5), max_size=6)


@given(pieces=PIECES)
def test_it_is_the_text_that_join_makes_down_to_how_wide_it_is_kept(pieces):
    text, expected = joined(pieces), "".join(pieces)
    assert text == expected
    assert hash(text) == hash(expected)
    # All texts of one letter of Latin-1 are one, which may bear its UTF-8 as well, for others that asked for that.
    if len(text) > 1:
        assert sys.getsizeof(text) == sys.getsizeof(expected)


def test_one_that_a_debugger_holds_on_to_is_made_all_the_same():
    seen = []

    def look(frame, event, _):
        seen.append((event, frame.f_locals.get("text")))
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        text = joined(["ab", "字"])
    finally:
        sys.settrace(before)
    assert text == "ab字"
    assert any(held is not None for _, held in seen)
