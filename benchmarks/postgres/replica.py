"""`python -m benchmarks.postgres.replica URL CLIENTS SECONDS NUMBER KIND SLICES`: one replica, in a process of its own.

It says `ready`, waits for a line, lets its clients work, prints what it measured and stays until its input ends: until
then the server's processor time for it can be seen.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal
from unittest.mock import patch

import msgspec
import uvloop

from benchmarks.ledger import CEILINGS, Pairs, now_ms, pairs_on
from ledger.ledger import open_ledger
from ledger.postgres import store
from ledger.postgres.connection import Session

# Between the numbers of two replicas' first calls.
APART: Final = 10**12
# So long after its start a replica's statements are prepared, its pages read.
WARM_UP_S: Final = 1.0

Kind = Literal["holds", "pairs"]


class Turn(msgspec.Struct, frozen=True):
    """One batch: how many writes, seconds until its turn came, in its turn, and of the thread's processor time."""

    writes: int
    came_s: float
    held_s: float
    cpu_s: float


class Told(msgspec.Struct, frozen=True):
    """What a replica measured."""

    pairs: Pairs
    turns: list[Turn]


async def measure(url: str, *, clients: int, seconds: float, number: int, kind: Kind, slices: int) -> None:
    """Let so many clients work, once somebody says so. slices: `slice_above_per_s`."""
    async with open_ledger(url, clock_ms=now_ms, slice_above_per_s=slices) as ledger:
        if number == 0:
            await ledger.configure_ceilings(CEILINGS)
        settles = kind == "pairs"
        await pairs_on(ledger, clients, WARM_UP_S, first=(2 * number) * APART, settles=settles)
        print("ready", flush=True)
        sys.stdin.readline()
        turns: list[Turn] = []
        with _timed(turns):
            pairs = await pairs_on(ledger, clients, seconds, first=(2 * number + 1) * APART, settles=settles)
        print(msgspec.json.encode(Told(pairs, turns)).decode(), flush=True)
        sys.stdin.read()


@contextmanager
def _timed(turns: list[Turn]) -> Iterator[None]:
    begin_batch, run_batch = store._begin, store.run_batch
    taken_s = 0.0

    def timed_begin(db: Session, begin: str) -> None:
        nonlocal taken_s
        begin_batch(db, begin)
        if begin == store.BEGIN:
            taken_s = time.perf_counter()

    def timed_batch(db: Session, *, works: Iterable[Any], begin: str) -> list[Any]:
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        results = run_batch(db, works=works, begin=begin)
        ended_s = time.perf_counter()
        turns.append(Turn(len(results), taken_s - began_s, ended_s - taken_s, time.thread_time() - cpu_s))
        return results

    with patch.object(store, "_begin", timed_begin), patch.object(store, "run_batch", timed_batch):
        yield


def main() -> None:
    """Measure as asked."""
    url, clients, seconds, number, kind, slices = sys.argv[1:]
    asked = msgspec.convert(kind, Kind)
    work = measure(
        url, clients=int(clients), seconds=float(seconds), number=int(number), kind=asked, slices=int(slices)
    )
    uvloop.run(work)


if __name__ == "__main__":
    main()
