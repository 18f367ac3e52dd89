"""Only what this service made has its grammar, and nothing else is ever looked up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.presented import presented
from service.auth.secret import new_secret, parse_secret
from service.refusals import Unauthenticated, WhyNot


def test_a_new_secret_is_read_back_and_no_two_are_the_same():
    made = [new_secret() for _ in range(200)]
    assert [parse_secret(secret.text) for secret in made] == made
    assert len({secret.key_id for secret in made}) == len({secret.text for secret in made}) == 200
    assert {len(secret.text) for secret in made} == {63}


@given(st.data())
def test_one_wrong_character_is_noticed(data):
    text = new_secret().text
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    assert parse_secret(text[:place] + bytes([other]) + text[place + 1 :]) is None


@given(st.binary(max_size=80) | st.text().map(lambda text: b"fk_" + text.encode()))
def test_anything_else_is_none(text):
    assert parse_secret(text) is None


def test_not_even_nearly():
    nearly = new_secret().text
    for text in (b"fk_' OR '1'='1", b"fk_", b"", nearly + b"\n", nearly[:-1]):
        assert parse_secret(text) is None, text


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, None),
        ({"authorization": "Bearer fk_1"}, b"fk_1"),
        ({"authorization": "bearer   fk_1 "}, b"fk_1"),
        ({"x-api-key": "fk_1"}, b"fk_1"),
        ({"authorization": "Bearer fk_1", "x-api-key": "fk_1"}, b"fk_1"),
        ({"authorization": "Bearer sk-1", "x-api-key": "sk-ant-1"}, None),
        ({"authorization": "Basic fk_1"}, None),
        ({"authorization": "Basic bWU6", "x-api-key": "fk_1"}, b"fk_1"),
        ({"authorization": "Bearer sk-1", "x-api-key": "fk_1"}, WhyNot.TWO),
        ({"authorization": "Bearer fk_1", "x-api-key": "fk_2"}, WhyNot.TWO),
    ],
)
def test_the_key_that_is_shown(headers, shown):
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    if isinstance(shown, WhyNot):
        with pytest.raises(Unauthenticated) as refused:
            presented(raw)
        assert refused.value.why is shown
    else:
        assert presented(raw) == shown
