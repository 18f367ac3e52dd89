"""What the model is given, from what was measured."""

from benchmarks.cores.measured import LedgerTimes, ledger_times, times
from benchmarks.measures import Rate


def rate(per_second: float, cpu_us: float) -> Rate:
    return Rate(per_second, cpu_us, 1.0, 100, 0)


def test_a_calls_time_is_divided_between_its_loop_and_its_writes():
    ledger = LedgerTimes(write=100.0, commit=300.0, turn=10.0)
    given = times(ledger, rate(1000, 900.0), rate(1500, 1000.0), direct=rate(20_000, 40.0))
    assert (given.loop, given.write, given.shared_write) == (700.0, 100.0, 150.0)
    assert (given.commit, given.turn, given.beside) == (300.0, 10.0, 50.0)


def test_two_workers_that_cost_less_by_chance_write_no_faster():
    given = times(LedgerTimes(100.0, 300.0, 10.0), rate(1000, 900.0), rate(1500, 800.0), direct=rate(20_000, 40.0))
    assert given.shared_write == given.write


def test_the_ledgers_times_are_those_of_its_turns():
    found = ledger_times(0.1)
    assert 0 < found.write < 1e5
    assert found.commit > 0
    assert found.turn > 0
