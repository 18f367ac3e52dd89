"""A server that fails costs one wait a while, and not one for each call."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.valkey.pauses import FIRST_PAUSE_S, LONGEST_PAUSE_S, WELL, Standing, ask, failed


def test_pauses_double_up_to_the_longest():
    standing, now_s, pauses = WELL, 100.0, []
    for _ in range(8):
        standing, may_ask = ask(standing, now_s)
        assert may_ask
        standing = failed(standing, asked_at_s=now_s, now_s=now_s)
        pauses.append(standing.until_s - now_s)
        now_s = standing.until_s
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_after_a_pause_one_is_let_through_until_it_is_known_what_became_of_it():
    standing = failed(WELL, asked_at_s=0.0, now_s=0.25)
    assert not ask(standing, 1.2)[1]
    standing, first = ask(standing, 1.25)
    standing, second = ask(standing, 1.3)
    assert (first, second) == (True, False)
    assert ask(standing, 1.25 + FIRST_PAUSE_S)[1], "also if the first one never came back to say"


def test_those_who_had_asked_already_make_a_pause_no_longer():
    standing = failed(WELL, asked_at_s=0.0, now_s=0.25)
    for _ in range(60):
        standing = failed(standing, asked_at_s=0.01, now_s=0.26)
    assert standing == Standing(1, 0.25)


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_however_it_fails_it_is_asked_once_in_a_pause_and_again_after_the_longest(steps):
    """As many callers as there are steps, each after so long, at a server that is well or not."""
    standing, now_s, failures_at_s = WELL, 0.0, []
    for after_s, is_well in steps:
        now_s += after_s
        standing, may_ask = ask(standing, now_s)
        if not may_ask:
            assert failures_at_s
            assert now_s < failures_at_s[-1] + LONGEST_PAUSE_S
            continue
        if is_well:
            standing = WELL
        else:
            assert not failures_at_s or standing.failures == 0 or now_s >= failures_at_s[-1] + FIRST_PAUSE_S
            standing = failed(standing, asked_at_s=now_s, now_s=now_s)
            failures_at_s.append(now_s)
