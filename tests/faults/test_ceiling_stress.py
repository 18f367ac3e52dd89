"""Two processes of 64 tasks each spend at random under overlapping ceilings, and somebody watches every commit."""

import asyncio
import sqlite3
import time
from contextlib import closing
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from ledger.ceilings import Ceiling
from ledger.sqlite.verify import verify_file
from tests.faults.stress import Told, run_stress
from tests.forked import fork_context
from tests.ledger.calls import a_ledger

TASKS = 64
U0_CALLS = 40
# What watches is on a thread, which a test's deadline does not end.
WATCHES_FOR_S = 110
# Tight in turn: some are used up on the way, all of them hold somebody out.
CEILINGS = (
    Ceiling(scope="global", window="day", limit=600_000),
    Ceiling(scope="global", window="total", limit=900_000),
    Ceiling(scope="provider:p", window="hour", limit=450_000),
    Ceiling(scope="model:p:a", window="month", limit=200_000),
    Ceiling(scope="user:*", window="day", limit=170_000),
    Ceiling(scope="workflow:w1", window="minute", limit=120_000),
    Ceiling(scope="workflow:w2", window="minute", unit="tokens", limit=9_000),
    Ceiling(scope="model:*", window="total", unit="calls", limit=300),
    Ceiling(scope="user:u0", window="total", unit="calls", limit=U0_CALLS),
)
# Sees every statement that takes room, whatever else the schema says about it.
WATCHER = """
CREATE TABLE watched (ceiling_id TEXT, held INTEGER, spent INTEGER, bound INTEGER);
CREATE TRIGGER somebody_watches AFTER UPDATE ON ceiling_windows
WHEN new.held_amount > old.held_amount AND new.held_amount + new.spent_amount > new.limit_amount
BEGIN
    INSERT INTO watched VALUES (new.ceiling_id, new.held_amount, new.spent_amount, new.limit_amount);
END;
"""
# A ledger without the guard is not opened; one whose guard never speaks is.
NO_GUARD = """
DROP TRIGGER a_new_hold_fits_under_its_ceiling;
CREATE TRIGGER a_new_hold_fits_under_its_ceiling BEFORE UPDATE OF held_amount ON ceiling_windows WHEN 0
BEGIN
    SELECT 1;
END;
"""
# At any commit: room that is taken beyond the limit was spent by an overrun, of money or tokens; calls have none.
BEYOND = """
SELECT w.ceiling_id, w.held_amount, w.spent_amount, w.limit_amount FROM ceiling_windows AS w
 WHERE w.held_amount + w.spent_amount > w.limit_amount + (
       SELECT COALESCE(SUM(CASE w.counts WHEN 'nanousd' THEN p.overrun_nanousd
                                         WHEN 'tokens' THEN MAX(0, p.tokens - h.held_tokens) ELSE 0 END), 0)
         FROM hold_windows AS link JOIN postings AS p USING (hold_id) JOIN holds AS h USING (hold_id)
        WHERE link.ceiling_id = w.ceiling_id AND link.starts_at_ms = w.starts_at_ms)
    OR w.held_amount <> (
       SELECT COALESCE(SUM(CASE w.counts WHEN 'nanousd' THEN h.held_nanousd WHEN 'tokens' THEN h.held_tokens
                                         ELSE 1 END), 0)
         FROM holds AS h
         JOIN hold_windows AS link USING (hold_id)
        WHERE h.state = 'held' AND link.ceiling_id = w.ceiling_id AND link.starts_at_ms = w.starts_at_ms)
"""


async def spend(folder: Path, calls: int, *, is_planted: bool = False) -> tuple[list[Told], int]:
    """Both processes to their end: what each was told, and how many commits were looked at."""
    context, told = fork_context(), []
    for seed in (1, 2):
        reading, writing = Pipe(duplex=False)
        arguments = (str(folder), CEILINGS, seed, TASKS, calls, writing)
        process = context.Process(target=run_stress, args=arguments, kwargs={"is_planted": is_planted}, daemon=True)
        process.start()
        writing.close()
        told.append((process, reading))
    looked = await asyncio.to_thread(watch, folder, [process for process, _ in told], is_planted=is_planted)
    results = []
    for process, reading in told:
        process.join(0)
        assert process.exitcode == 0
        results.append(reading.recv())
        reading.close()
        process.close()
    return results, looked


def watch(folder: Path, processes: list[Any], *, is_planted: bool) -> int:
    """Look at every commit that can be seen while the processes run. Returns how many those were."""
    version = looked = 0
    ends_at_s = time.monotonic() + WATCHES_FOR_S
    with closing(sqlite3.connect(f"file:{folder}/farthing.db?mode=ro", uri=True, isolation_level=None)) as db:
        while any(process.is_alive() for process in processes):
            assert time.monotonic() < ends_at_s, "they do not end"
            (seen,) = db.execute("PRAGMA data_version").fetchone()
            if seen != version:
                version, looked = seen, looked + 1
                assert is_planted or db.execute(BEYOND).fetchall() == []
            processes[0].join(0.005)
    return looked


async def prepare(folder: Path, *, also: str = "") -> None:
    """A ledger with a watcher in it."""
    async with a_ledger(folder, ceilings=CEILINGS):
        pass
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        db.executescript(WATCHER + also)


def rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        return db.execute(sql).fetchall()


@pytest.mark.parametrize("calls", [25, pytest.param(400, marks=pytest.mark.soak)])
async def test_ceilings_hold_under_two_processes_of_sixty_four_tasks(tmp_path: Path, calls: int):
    await prepare(tmp_path)
    told, looked = await spend(tmp_path, calls)
    assert looked > 20, "commits were watched"
    assert rows(tmp_path, "SELECT * FROM watched") == []
    assert min(process.admitted for process in told) > 50
    assert min(process.refused for process in told) > 50
    spent = dict(rows(tmp_path, "SELECT ceiling_id, spent_amount FROM ceiling_windows"))
    assert spent == {name: told[0].charged[name] + told[1].charged[name] for name in spent}
    assert spent["calls/total user:u0"] == U0_CALLS, "exactly as many as may"
    assert rows(tmp_path, "SELECT COUNT(*) FROM ceiling_windows WHERE held_amount <> 0") == [(0,)]
    assert rows(tmp_path, "SELECT COUNT(*) FROM holds") == [(sum(process.admitted for process in told),)]
    assert rows(tmp_path, BEYOND) == []
    assert verify_file(tmp_path / "farthing.db", on_rule=lambda _: None).violations == ()


async def test_the_guard_refuses_what_does_not_fit_whoever_writes_it(tmp_path: Path):
    await prepare(tmp_path)
    await spend(tmp_path, 2)
    with closing(sqlite3.connect(tmp_path / "farthing.db")) as db:
        with pytest.raises(sqlite3.IntegrityError, match="a new hold does not fit under its ceiling"):
            db.execute("UPDATE ceiling_windows SET held_amount = limit_amount - spent_amount + 1")
        db.execute("UPDATE ceiling_windows SET held_amount = limit_amount - spent_amount")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            db.execute("UPDATE ceiling_windows SET held_amount = -1")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            db.execute("UPDATE ceiling_windows SET spent_amount = -1")


async def test_without_the_guard_a_planted_check_then_act_is_seen_to_overspend(tmp_path: Path):
    await prepare(tmp_path, also=NO_GUARD)
    await spend(tmp_path, 10, is_planted=True)
    assert rows(tmp_path, "SELECT COUNT(*) FROM watched")[0][0] > 0
    broken = verify_file(tmp_path / "farthing.db", on_rule=lambda _: None).violations
    assert any("under the limit" in violation.rule for violation in broken)
