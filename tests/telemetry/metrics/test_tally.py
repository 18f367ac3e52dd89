"""The block of memory that counts: it outlives its process, others read it, and it never grows past its walls."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.metrics import Reading, Tally, open_metrics
from telemetry.metrics import instruments as its
from telemetry.metrics.page import merged
from telemetry.metrics.tally import CELLS, read_others


def found(readings: list[Reading]) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {(reading.instrument.name, *reading.labels): reading.numbers for reading in readings}


def test_a_worker_counts_on_where_the_one_before_it_ended_but_its_gauges_begin_anew(tmp_path: Path) -> None:
    first = Tally(tmp_path, "1")
    first.count(its.REFUSALS, "overloaded").add(3)
    first.count(its.IN_FLIGHT).set(7)
    first.spread(its.LOOP_LAG).observe(0.002)
    # Not closed: it was killed.
    second = Tally(tmp_path, "1")
    assert found(second.readings()) == found(first.readings()) | {(its.IN_FLIGHT.name,): (0.0,)}
    second.count(its.REFUSALS, "overloaded").add()
    second.count(its.REFUSALS, "forbidden").add()
    assert found(second.readings())[its.REFUSALS.name, "overloaded"] == (4.0,)
    assert second.values_of("code") == {"overloaded", "forbidden"}
    second.close()
    first.close()


def test_workers_read_each_other(tmp_path: Path) -> None:
    own, other = Tally(tmp_path, "0"), Tally(tmp_path, "1")
    other.count(its.KEY_COST, 'a\nname, "in" utf-8: é').add(0.5)
    other.spread(its.COMMIT).observe(0.1)
    own.count(its.WORKERS).set(1)
    [readings] = read_others(tmp_path, but="0")
    assert found(readings) == found(other.readings())
    own.close()
    other.close()


def test_a_name_that_is_not_yet_whole_is_left_for_the_next_reading(tmp_path: Path) -> None:
    tally = Tally(tmp_path, "1")
    tally.count(its.REFUSALS, "overloaded").add()
    tally.close()
    with (tmp_path / "1.series").open("ab") as series:
        series.write(b'["farthing.refusals", "forb')
    [readings] = read_others(tmp_path, but="0")
    assert found(readings) == {(its.REFUSALS.name, "overloaded"): (1.0,)}
    successor = Tally(tmp_path, "1")
    successor.count(its.REFUSALS, "forbidden").add()
    [readings] = read_others(tmp_path, but="0")
    assert found(readings) == found(successor.readings())
    assert len(readings) == 2


def test_beyond_its_walls_nothing_is_kept_and_nothing_breaks(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    most = CELLS // its.COMMIT.width
    wide = its.HTTP_DURATION
    with caplog.at_level(logging.WARNING):
        for number in range(most + 10):
            tally.spread(wide, "GET", f"/{number}", "200").observe(99.0)
    assert len(tally.readings()) == CELLS // wide.width
    assert len(caplog.records) == 1
    assert sum(reading.numbers[-2] for reading in tally.readings()) == len(tally.readings())


def test_where_the_others_cannot_be_told_of_a_series_it_is_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tally = Tally(tmp_path, "1")
    tally.count(its.REFUSALS, "overloaded").add()
    tally.close()
    tally._index = os.open(tmp_path / "1.series", os.O_RDONLY)  # As in a full folder, the next write fails.
    tally.count(its.REFUSALS, "forbidden").add()
    tally.count(its.REFUSALS, "overloaded").add()
    assert found(tally.readings()) == {(its.REFUSALS.name, "overloaded"): (2.0,)}
    [told] = read_others(tmp_path, but="0")
    assert found(told) == found(tally.readings())
    assert len(caplog.records) == 1


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 99), min_size=1), min_size=1))
def test_workers_are_added_up_and_of_an_age_the_greatest_counts(workers: list[dict[str, int]]) -> None:
    readings = [
        [Reading(its.REFUSALS, (code,), (float(count),)) for code, count in worker.items()]
        + [Reading(its.QUEUE_AGE, (), (float(max(worker.values())),))]
        for worker in workers
    ]
    told = found(merged(readings))
    assert told[its.QUEUE_AGE.name,] == (max(max(worker.values()) for worker in workers),)
    for code in {code for worker in workers for code in worker}:
        assert told[its.REFUSALS.name, code] == (sum(worker.get(code, 0) for worker in workers),)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    metrics = open_metrics(tmp_path, "0")
    metrics.recorder.calls_in_flight(1)
    metrics.close()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
