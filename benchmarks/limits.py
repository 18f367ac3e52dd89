"""`python -m benchmarks.limits`: what others notice of a thousand slow connections, and of prompts of ten megabytes.

One small request after the other, beside nothing and then beside each of them; every figure is how long those took, and
the last one how much processor time the gateway used while it owed one its answer, at most. That is as long as anything
in it can have held a request up: what took longer waited for the machine, which has others to serve, among them whoever
sends the prompts. The large prompts come from a process that gives way to this one, as the upstream that takes them
does. Takes three quarters of a minute.
"""

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.large_prompts import TEXTS, head
from benchmarks.processes import (
    LOAD_CORE,
    Process,
    running,
    running_gateway,
    running_upstream,
    seen_by,
    stay_on_load_core,
)

SECONDS: Final = 5.0
SLOW: Final = 1000
PATIENT: Final = 19
POLL_S: Final = 0.05
HOST: Final = "127.0.0.1"
_SMALL: Final = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


class Small(msgspec.Struct, frozen=True):
    """How long a small request took, and how much processor time the gateway used meanwhile."""

    took_ms: float
    worked_ms: float


def main() -> None:
    """Measure and print."""
    stay_on_load_core()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))
        upstream = stack.enter_context(running_upstream())
        os.setpriority(os.PRIO_PROCESS, upstream.pid, PATIENT)
        gateway = stack.enter_context(running_gateway(Path(folder), upstream.port))
        Console().print(uvloop.run(_measure(gateway, upstream)))


async def _measure(gateway: Process, upstream: Process) -> Table:
    table = Table(title="Small requests, ms")
    for column in ("beside", "p50", "p99", "longest", "of the gateway, at most"):
        table.add_column(column, justify="left" if column == "beside" else "right")
    await _small(gateway, seconds=1.0)
    _add(table, "nothing", await _small(gateway))
    async with _slow_connections(gateway):
        _add(table, f"{SLOW} slow connections", await _small(gateway))
    for text in TEXTS:
        measured, count = await _beside_large_prompts(gateway, upstream, text)
        _add(table, f"prompts of 10 MB one after the other, {count}: {text}", measured)
    _add(table, "nothing again", await _small(gateway))
    return table


def _add(table: Table, beside: str, small: list[Small]) -> None:
    took_ms = sorted(each.took_ms for each in small)
    quantiles = (took_ms[min(len(took_ms) - 1, int(share * len(took_ms)))] for share in (0.5, 0.99, 1.0))
    table.add_row(beside, *(f"{ms:.1f}" for ms in (*quantiles, max(each.worked_ms for each in small))))


async def _small(gateway: Process, *, seconds: float = SECONDS) -> list[Small]:
    reader, writer = await asyncio.open_connection(HOST, gateway.port)
    try:
        found = []
        ends_s = time.perf_counter() + seconds
        while time.perf_counter() < ends_s:
            began_s, worked_s = time.perf_counter(), gateway.own_cpu_s()
            writer.write(_SMALL)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert length is not None
            await reader.readexactly(int(length[1]))
            worked_ms = (gateway.own_cpu_s() - worked_s) * 1000
            found.append(Small((time.perf_counter() - began_s) * 1000, worked_ms))
        return found
    finally:
        writer.close()


async def _beside_large_prompts(gateway: Process, upstream: Process, text: str) -> tuple[list[Small], int]:
    """And how many of them were answered meanwhile. The first one is none of them."""
    headers = msgspec.json.encode(gateway.headers).decode()
    command = [sys.executable, "-m", "benchmarks.large_prompts", str(gateway.port), text, headers]
    began = seen_by(upstream).calls
    with running(command, cores={LOAD_CORE}) as child:
        while (before := seen_by(upstream).calls) == began:
            assert child.poll() is None
            await asyncio.sleep(POLL_S)
        measured = await _small(gateway)
        return measured, seen_by(upstream).calls - before


@asynccontextmanager
async def _slow_connections(gateway: Process) -> AsyncIterator[None]:
    """Half of them in the middle of their headers, half of their bodies."""
    opened: list[asyncio.StreamWriter] = []
    said = head(dict(gateway.headers), 9)
    for number in range(SLOW):
        _, writer = await asyncio.open_connection(HOST, gateway.port)
        writer.write(said + (b"\r\n{" if number % 2 else b""))
        opened.append(writer)
    try:
        yield
    finally:
        for writer in opened:
            writer.close()


if __name__ == "__main__":
    main()
