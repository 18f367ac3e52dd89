"""`python -m benchmarks.ledger`: what durable money costs. Admissions and settlements through the real writer, on FULL.

On one core, beside the same work with a commit for each operation. Takes about half a minute.
"""

import asyncio
import hashlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest.mock import patch

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from ledger.ceilings import Ceiling
from ledger.ledger import Ledger, open_ledger
from ledger.sqlite import batches, writer
from ledger.sqlite.writer import SqliteWriter
from ledger.usage import Usage
from ledger.values import (
    AdmitRequest,
    AttemptResult,
    Bid,
    Ending,
    GenerationFacts,
    Lead,
    Lookup,
    Settlement,
    StoredResponse,
    Storing,
)

CORE: Final = 0
SECONDS: Final = 3.0
CLIENTS: Final = (1, 16, 64)
SLOW_CLIENTS: Final = (64, 256)
SLOW_FSYNC_S: Final = 0.004
DAYS_A_YEAR: Final = 365
CALLS_A_SECOND: Final = 10
CEILINGS: Final = (
    Ceiling(scope="global", window="month", limit=10**16),
    Ceiling(scope="provider:bench", window="day", limit=10**16),
)
BODY: Final = b"x" * 400


class Pairs(msgspec.Struct, frozen=True):
    """Admissions that were settled, and how long each operation took, in milliseconds, ascending.

    admissions_ms: of them the admissions alone. bytes_each: of the file; 0: nobody looked.
    """

    per_second: float
    latencies_ms: list[float]
    admissions_ms: list[float]
    cpu_us: float
    bytes_each: float = 0.0

    def quantile_ms(self, q: float) -> float:
        """The latency that a share of q of the operations did not exceed."""
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(q * len(self.latencies_ms)))]


async def run_pairs(folder: Path, clients: int, seconds: float) -> Pairs:
    """Let so many clients admit and settle, one after the other each, for so long."""
    path = folder / f"pairs{time.monotonic_ns()}.db"
    async with open_ledger(f"sqlite:{path}", clock_ms=now_ms) as ledger:
        await ledger.configure_ceilings(CEILINGS)
        pairs = await pairs_on(ledger, clients, seconds)
    return msgspec.structs.replace(pairs, bytes_each=path.stat().st_size / len(pairs.admissions_ms))


async def pairs_on(ledger: Ledger, clients: int, seconds: float, *, first: int = 0, settles: bool = True) -> Pairs:
    """The same on a ledger that is open. first: no two runs on one ledger share it. settles: else holds are all."""
    numbers, latencies_ms, admissions_ms = itertools.count(first), list[float](), list[float]()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    ends_at_s = began_s + seconds
    await asyncio.gather(
        *(
            _client(ledger, numbers, ends_at_s, latencies_ms, admissions_ms=admissions_ms, settles=settles)
            for _ in range(clients)
        )
    )
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    pairs = len(admissions_ms)
    return Pairs(pairs / took_s, sorted(latencies_ms), sorted(admissions_ms), cpu_s / pairs * 1e6)


async def _client(
    ledger: Ledger,
    numbers: Iterator[int],
    ends_at_s: float,
    latencies_ms: list[float],
    *,
    admissions_ms: list[float] | None = None,
    settles: bool = True,
) -> None:
    while (admitted_at_s := time.perf_counter()) < ends_at_s:
        request = _request(next(numbers))
        lead = await ledger.admit(request)
        assert isinstance(lead, Lead)
        settled_from_s = time.perf_counter()
        latencies_ms.append((settled_from_s - admitted_at_s) * 1000)
        if admissions_ms is not None:
            admissions_ms.append(latencies_ms[-1])
        if settles:
            await ledger.settle(_settlement(request, lead))
            latencies_ms.append((time.perf_counter() - settled_from_s) * 1000)


def _request(number: int) -> AdmitRequest:
    at_ms = now_ms()
    facts = GenerationFacts(
        generation_id=f"gen_{number:026}",
        created_at_ms=at_ms,
        route="chat",
        stream=False,
        trace_id=f"{number:032x}",
        attribution={"key": "", "team": "", "user": "u1", "workflow": "bench", "run": ""},
    )
    key = hashlib.sha256(str(number).encode()).digest()
    return AdmitRequest(
        facts=facts,
        lookup=Lookup(cache_key=key, reads=True, joins=True),
        bids=(Bid(deployment="bench:m", held_nanousd=1_000_000, price_version="v"),),
        now_ms=at_ms,
    )


def _settlement(request: AdmitRequest, lead: Lead) -> Settlement:
    generation_id, at_ms = request.facts.generation_id, now_ms()
    assert request.lookup is not None
    result = AttemptResult(
        hold_id=lead.hold_id,
        outcome="ok",
        cost_nanousd=400_000,
        cost_basis="priced_usage",
        usage=Usage(input_tokens=30, output_tokens=20),
        price_version="v",
        status=200,
        latency_us=812_000,
    )
    ending = Ending(
        generation_id=generation_id,
        outcome="ok",
        deployment="bench:m",
        cost_basis="priced_usage",
        finished_at_ms=at_ms,
        latency_us=815_000,
    )
    response = StoredResponse(
        body=BODY, deployment="bench:m", cost_basis="priced_usage", cost_nanousd=400_000, generation_id=generation_id
    )
    storing = Storing(cache_key=request.lookup.cache_key, response=response, expires_at_ms=at_ms + 300_000)
    return Settlement(attempts=(result,), ending=ending, flight=request.lookup.cache_key, storing=storing)


def now_ms() -> int:
    """Wall time, milliseconds UTC."""
    return time.time_ns() // 1_000_000


@contextmanager
def slow_fsync(batch_limit: int) -> Iterator[None]:
    """Commits that each wait for a slow disk, with at most so many operations in one."""
    commit: Callable[..., list[object]] = batches.run_batch

    def commit_slowly(*batch: object) -> list[object]:
        results = commit(*batch)
        time.sleep(SLOW_FSYNC_S)
        return results

    with patch.object(writer, "run_batch", commit_slowly), patch.object(SqliteWriter, "batch_limit", batch_limit):
        yield


def main() -> None:
    """Run everything and print the tables."""
    os.sched_setaffinity(0, {CORE})
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = Table("clients", "pairs/s", "CPU µs/pair", "p50 ms", "p99 ms", title="Admit + settle on FULL, one core")
        for clients in CLIENTS:
            pairs = uvloop.run(run_pairs(folder, clients, SECONDS))
            figures = (f"{pairs.per_second:,.0f}", f"{pairs.cpu_us:,.0f}")
            table.add_row(f"{clients}", *figures, f"{pairs.quantile_ms(0.5):.2f}", f"{pairs.quantile_ms(0.99):.2f}")
        console.print(table)
        year = pairs.bytes_each * CALLS_A_SECOND * DAYS_A_YEAR * 86_400 / 1e9
        console.print(
            f"{pairs.bytes_each:,.0f} bytes a call, its stored answer of {len(BODY)} bytes included: "
            f"{year:,.0f} GB a year at {CALLS_A_SECOND} calls/s"
        )
        for clients in SLOW_CLIENTS:
            rates = []
            for batch_limit in (SqliteWriter.batch_limit, 1):
                with slow_fsync(batch_limit):
                    rates.append(uvloop.run(run_pairs(folder, clients, SECONDS)).per_second)
            console.print(
                f"with a 4 ms fsync, {clients} clients: {rates[0]:,.0f} pairs/s, and {rates[1]:,.0f} with a commit for "
                f"each operation: {rates[0] / rates[1]:.0f} times"
            )


if __name__ == "__main__":
    main()
