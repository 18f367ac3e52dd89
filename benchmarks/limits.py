"""`python -m benchmarks.limits`: what others notice of a thousand slow connections, and of prompts of ten megabytes.

One small request after the other, beside nothing and then beside each of them; every figure is how long those took. The
large prompts come from a process that gives way to this one, as the upstream that takes them does. Takes three quarters
of a minute.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.large_prompts import TEXTS, head
from benchmarks.load import Measured, run_load
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
    for column in ("beside", "p50", "p99", "longest"):
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


def _add(table: Table, beside: str, measured: Measured) -> None:
    table.add_row(beside, *(f"{measured.quantile_ms(quantile):.1f}" for quantile in (0.5, 0.99, 1.0)))


async def _small(gateway: Process, *, seconds: float = SECONDS) -> Measured:
    target = gateway.target(path="/health/live")
    return await run_load(target, lambda: b"", connections=1, seconds=seconds, method="GET")


async def _beside_large_prompts(gateway: Process, upstream: Process, text: str) -> tuple[Measured, int]:
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
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(said + (b"\r\n{" if number % 2 else b""))
        opened.append(writer)
    try:
        yield
    finally:
        for writer in opened:
            writer.close()


if __name__ == "__main__":
    main()
