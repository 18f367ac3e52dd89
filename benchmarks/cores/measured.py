"""The model's service times, as they are here: of the ledger by itself, and of the whole service with its workers."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from unittest.mock import patch

import msgspec
import uvloop

from benchmarks import measures
from benchmarks.cores.model import WRITES_AFTER, Times
from benchmarks.ledger import run_pairs
from benchmarks.measures import Contender, Rate
from benchmarks.processes import GATEWAY_CORE, LOAD_CORE, Process, prepared_gateway, started, wait_for_answer
from ledger.sqlite.turns import Turns

CONNECTIONS: Final = 16
WRITES: Final = len(WRITES_AFTER)


class Turn(msgspec.Struct, frozen=True):
    """One turn at the file, in seconds: until it came, how long it was held, and the processor time meanwhile."""

    came_s: float
    held_s: float
    cpu_s: float


class LedgerTimes(msgspec.Struct, frozen=True):
    """Microseconds: processor time of a write under the turn, what a commit waits, what an uncontended turn costs."""

    write: float
    commit: float
    turn: float


def ledger_times(seconds: float) -> LedgerTimes:
    """The ledger alone, on one core. A write: among sixteen clients; a commit: with one, when nothing else runs."""
    with tempfile.TemporaryDirectory(prefix="farthing-bench-") as folder:
        busy, pairs = _turns(Path(folder), CONNECTIONS, seconds)
        quiet, _ = _turns(Path(folder), 1, seconds)
    return LedgerTimes(
        write=sum(turn.cpu_s for turn in busy) / (pairs * WRITES) * 1e6,
        commit=median(turn.held_s - turn.cpu_s for turn in quiet) * 1e6,
        turn=median(turn.came_s for turn in quiet) * 1e6,
    )


def workers_rate(upstream: Process, workers: int, seconds: float) -> Rate:
    """The whole service with so many workers, on a core each; the second is also the load's and the upstream's."""
    cores = (GATEWAY_CORE, LOAD_CORE)[:workers]
    with tempfile.TemporaryDirectory(prefix="farthing-bench-") as folder:
        prepared = prepared_gateway(Path(folder), upstream.port, workers=workers)
        with started(prepared, cores) as process:
            wait_for_answer(process.target("bench"))
            contender = Contender(f"{workers} workers", process, process.target("bench"))
            return uvloop.run(measures.rate(contender, CONNECTIONS * workers, seconds))


def times(ledger: LedgerTimes, one: Rate, two: Rate, *, direct: Rate) -> Times:
    """What the model is given. one, two: with so many workers; direct: the load's own cost, without a gateway. Pure.

    What a call costs more with two workers than with one is what its writes cost more where others write, too.
    """
    return Times(
        loop=max(0.0, one.cpu_us - WRITES * ledger.write),
        write=ledger.write,
        shared_write=ledger.write + max(0.0, two.cpu_us - one.cpu_us) / WRITES,
        commit=ledger.commit,
        turn=ledger.turn,
        beside=1e6 / direct.per_second,
    )


def _turns(folder: Path, clients: int, seconds: float) -> tuple[list[Turn], int]:
    """All turns that so many clients took, and how many pairs of writes they made."""
    found: list[Turn] = []
    with _on_gateway_core(), _timed(found):
        pairs = uvloop.run(run_pairs(folder, clients, seconds))
    return found, len(pairs.latencies_ms) // WRITES


@contextmanager
def _on_gateway_core() -> Iterator[None]:
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {GATEWAY_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _timed(found: list[Turn]) -> Iterator[None]:
    take = Turns.take

    @contextmanager
    def timed(turns: Turns) -> Iterator[None]:
        asked_s = time.perf_counter()
        with take(turns):
            began_s, cpu_s = time.perf_counter(), time.thread_time()
            yield
            held_s, spent_s = time.perf_counter() - began_s, time.thread_time() - cpu_s
        found.append(Turn(began_s - asked_s, held_s, spent_s))

    with patch.object(Turns, "take", timed):
        yield
