"""What the model is given of a server, and what it then says, where both can be worked out by hand."""

import msgspec
import pytest

from benchmarks.cores.model import Times, limit_per_second, simulate
from benchmarks.ledger import now_ms, pairs_on
from benchmarks.postgres.__main__ import server_times, table
from benchmarks.postgres.replica import Turn, _timed
from tests.ledger.calls import a_ledger

ON_FILE = Times(loop=400.0, write=100.0, shared_write=150.0, commit=300.0, turn=10.0)
# A turn is 2 ms and 100 us for each write, 40 of them the replica's own work.
TURNS = [Turn(writes, 0.001, 0.002 + writes * 100e-6, 0.0005 + writes * 40e-6) for writes in (1, 1, 16, 40, 64)]


def test_a_turn_is_divided_into_what_it_takes_anyway_and_what_each_write_adds():
    ours = server_times(ON_FILE, TURNS)
    assert (ours.loop, ours.write, ours.shared_write) == (400.0, pytest.approx(40.0), pytest.approx(40.0))
    assert (ours.away, ours.commit, ours.turn) == (pytest.approx(60.0), pytest.approx(2000.0), 1000.0)


def test_turns_of_one_size_tell_nothing_of_a_write():
    ours = server_times(ON_FILE, [TURNS[0]] * 3)
    assert (ours.write, ours.away) == (0.0, 0.0)


def test_a_server_does_what_a_replica_does_not_have_to():
    ours = server_times(ON_FILE, TURNS)
    assert limit_per_second(ours, 1) == pytest.approx(1e6 / 480)
    assert limit_per_second(ours, 16) == pytest.approx(1e6 / 200), "its turn is taken by the server's work, too"
    found = simulate(ours, processes=1, connections=1, calls=500, seed=1)
    assert found.per_second == pytest.approx(1e6 / (400 + 2 * (1000 + 40 + 2060)), rel=0.03)


def test_the_table_has_both_engines_for_each_number():
    lines = table(server_times(ON_FILE, TURNS), ON_FILE)
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2", "| 4", "| 8", "| 16", "| 32"]
    assert {line.count("|") for line in lines} == {11}


def test_admissions_beside_the_turn_leave_it_to_settlements():
    ours = msgspec.structs.replace(server_times(ON_FILE, TURNS), beside_turn=True)
    assert limit_per_second(ours, 16) == pytest.approx(1e6 / 100)
    found = simulate(ours, processes=1, connections=1, calls=500, seed=1)
    assert found.per_second == pytest.approx(1e6 / (400 + 40 + 2060 + 1000 + 40 + 2060), rel=0.03)
    many = simulate(ours, processes=16, connections=32, calls=8000, seed=1)
    without = simulate(server_times(ON_FILE, TURNS), processes=16, connections=32, calls=8000, seed=1)
    assert many.per_second > 1.5 * without.per_second


async def test_a_turn_is_timed_with_all_that_shared_it(postgres_home):
    turns = []
    async with a_ledger(postgres_home, clock=now_ms) as ledger:
        with _timed(turns):
            pairs = await pairs_on(ledger, 4, 0.1)
    assert sum(turn.writes for turn in turns) >= 2 * len(pairs.admissions_ms) > 0
    assert all(turn.held_s >= 0 and turn.cpu_s > 0 for turn in turns)
