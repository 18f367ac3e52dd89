"""What is told of memory."""

import pytest

from benchmarks.memory import slope_bytes


def test_a_slope_is_in_bytes_a_call():
    assert slope_bytes([(0, 100.0), (1000, 101.0), (2000, 102.0)]) == pytest.approx(1000)
    assert slope_bytes([(1000, 200.0), (2000, 200.4), (3000, 200.0)]) == pytest.approx(0)
    assert slope_bytes([(5, 200.0)]) == 0
