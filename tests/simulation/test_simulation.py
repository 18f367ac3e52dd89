"""Thousands of schedules of the real writer, sweeper and leases, none of them left to chance."""

import logging
import os
import random
import sqlite3
from contextlib import closing

import pytest

from ledger.sqlite.migrate import migrate
from tests.simulation.bugs import BUGS
from tests.simulation.world import World, a_plan

SCHEDULES = 2_000
BLOCKS = 8


def an_empty_ledger(folder, script=""):
    path = folder / "empty.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        migrate(db)
        db.executescript(script)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def empty(tmp_path):
    return an_empty_ledger(tmp_path)


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="ledger")


def run_seeds(seeds, empty):
    for seed in seeds:
        world = World(seed, empty, empty.parent)
        try:
            world.run()
        except BaseException as error:
            error.add_note("\n".join(world.trace))
            error.add_note(f"again: FARTHING_SIM_SEED={seed} pytest tests/simulation -k again")
            raise


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_schedule_breaks_a_promise(block, empty):
    run_seeds(range(block, SCHEDULES, BLOCKS), empty)


@pytest.mark.soak
def test_no_schedule_of_many_more_breaks_a_promise(empty):
    run_seeds(range(SCHEDULES, 20 * SCHEDULES), empty)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug, tmp_path):
    empty = an_empty_ledger(tmp_path, BUGS[bug])
    # Those whose disks fail most come first: some bugs show nowhere else.
    seeds = sorted(range(SCHEDULES), key=lambda seed: -a_plan(random.Random(seed)).fault_rate)
    with bug(), pytest.raises((AssertionError, sqlite3.Error)):
        run_seeds(seeds, empty)


def test_one_schedule_again(empty, capsys):
    seed = int(os.environ.get("FARTHING_SIM_SEED", "1"))
    traces = []
    for _ in range(2):
        world = World(seed, empty, empty.parent)
        steps = world.run()
        traces.append((steps, world.trace))
    assert traces[0] == traces[1], "the same seed gives the same schedule"
    if "FARTHING_SIM_SEED" in os.environ:
        with capsys.disabled():
            print("", *traces[0][1], sep="\n")
