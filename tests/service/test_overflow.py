"""How many callers the descriptors of a process do for."""

from hypothesis import given
from hypothesis import strategies as st

from service.overflow import OWN_DESCRIPTORS, connections_within, descriptors_for


def test_the_defaults_fit_into_what_systems_usually_allow():
    assert connections_within(20_000, 10_000, 2_000) == 10_000
    assert descriptors_for(10_000, 2_000) == 14_512


def test_a_small_limit_leaves_each_caller_its_call():
    assert connections_within(1024, 10_000, 2_000) == (1024 - OWN_DESCRIPTORS) // 3
    assert connections_within(8_000, 10_000, 2_000) == 8_000 - OWN_DESCRIPTORS - 4_000
    assert connections_within(10, 10_000, 2_000) == 1


@given(st.integers(1, 100_000), st.integers(1, 20_000), st.integers(1, 5_000))
def test_as_many_as_fit_and_no_more(descriptors: int, wanted: int, max_in_flight: int):
    found = connections_within(descriptors, wanted, max_in_flight)

    assert 1 <= found <= wanted
    assert found == 1 or descriptors_for(found, max_in_flight) <= descriptors
    assert found == wanted or descriptors_for(found + 1, max_in_flight) > descriptors
