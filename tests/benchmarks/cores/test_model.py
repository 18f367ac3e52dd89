"""The model of machines with more cores, where the answer can be worked out by hand, and within what is possible."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cores.model import WARM_UP_SHARE, Times, limit_per_second, simulate


def of(**changes: float) -> Times:
    usual = {"loop": 400.0, "write": 100.0, "shared_write": 100.0, "commit": 100.0, "turn": 10.0}
    return Times(**(usual | changes))


def rate(times: Times, processes: int = 1, connections: int = 16) -> float:
    return simulate(times, processes=processes, connections=connections, calls=1000 * processes, seed=1).per_second


def test_one_core_is_busy_with_calls_alone():
    assert rate(of()) == pytest.approx(1e6 / 600, rel=0.03)


def test_what_else_the_cores_do_takes_their_time():
    assert rate(of(beside=400.0)) == pytest.approx(1e6 / 1000, rel=0.03)


def test_a_call_alone_waits_for_both_commits_and_its_upstream():
    took_us = 400 + 2 * (100 + 100 + 10) + 500
    assert rate(of(upstream=500.0), connections=1) == pytest.approx(1e6 / took_us, rel=0.03)


def test_many_cores_stop_where_the_turn_is_always_taken():
    found = simulate(of(), processes=16, connections=32, calls=8000, seed=1)
    assert found.turn_share > 0.98
    # Two writes, and their share of a batch's commit and turn.
    assert found.per_second == pytest.approx(1e6 / (2 * (100 + 110 / found.batch)), rel=0.05)


def test_a_write_among_others_costs_what_it_costs_among_others():
    assert rate(of(shared_write=400.0), 1) == rate(of(), 1)
    assert rate(of(shared_write=400.0), 4) < 0.7 * rate(of(), 4)


@settings(max_examples=25)
@given(
    loop=st.floats(50, 3000), write=st.floats(10, 500), more=st.floats(1, 2), commit=st.floats(0, 4000),
    processes=st.integers(1, 8), connections=st.integers(1, 32), seed=st.integers(0, 9),
)  # fmt: skip
def test_no_arrangement_exceeds_what_its_parts_allow(loop, write, more, commit, processes, connections, seed):
    times = of(loop=loop, write=write, shared_write=write * more, commit=commit)
    in_flight = processes * connections
    calls = max(300, 10 * in_flight)
    found, again = (
        simulate(times, processes=processes, connections=connections, calls=calls, seed=seed) for _ in range(2)
    )
    assert found == again
    # Of those that are counted some began while it warmed up; and so few calls vary.
    begun_before = in_flight / ((1 - WARM_UP_SHARE) * calls)
    assert 0 < found.per_second <= limit_per_second(times, processes) * 1.15 * (1 + begun_before)
    assert 0 <= found.turn_share <= 1.0 + 1e-9
    assert 1 <= found.batch <= processes * connections
