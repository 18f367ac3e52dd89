"""Short texts of ASCII are counted as tiktoken counts them."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.tokens.encodings import ENCODINGS, load_encoding
from router.tokens.plain import PLAIN_CHARS, plain_tokens

# What patterns cut by: ends of words, cases, digits in threes, signs with what follows them, spaces and line breaks.
CUT_BY = (
    "don't",
    "I'LL",
    "x'D",
    "'s",
    "word",
    "WORDS",
    "wOrD",
    "12345",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "...",
    "//\n",
    "\x1c",
)
TEXTS = st.text(st.sampled_from(string.printable + "\0\x1c\x7f")) | st.lists(st.sampled_from(CUT_BY)).map("".join)


@pytest.fixture(scope="module", params=ENCODINGS)
def encoding(request):
    return load_encoding(request.param)


@given(TEXTS)
@settings(max_examples=150)
def test_short_ascii_has_as_many_tokens_as_tiktoken_finds(encoding, text):
    counted = plain_tokens(encoding, text)
    assert counted == (len(encoding.encode_ordinary(text)) if len(text) <= PLAIN_CHARS else None)


def test_no_other_text_is_counted(encoding):
    assert plain_tokens(encoding, "a farthing, £0.00104") is None
    assert plain_tokens(encoding, "a" * (PLAIN_CHARS + 1)) is None
    assert plain_tokens(encoding, "") == 0
