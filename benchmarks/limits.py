"""`python -m benchmarks.limits`: what others notice of a thousand slow connections, and of prompts of ten megabytes.

One small request after the other, beside nothing and then beside each of them; every figure is how long those took.
Takes about half a minute.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import Measured, run_load
from benchmarks.processes import Process, running_gateway, running_upstream, stay_on_load_core

SECONDS: Final = 5.0
SLOW: Final = 1000
LARGE_BYTES: Final = 10_000_000


def main() -> None:
    """Measure and print."""
    stay_on_load_core()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))
        upstream = stack.enter_context(running_upstream())
        gateway = stack.enter_context(running_gateway(Path(folder), upstream.port))
        Console().print(uvloop.run(_measure(gateway)))


async def _measure(gateway: Process) -> Table:
    table = Table(title="Small requests, ms")
    for column in ("beside", "p50", "p99", "longest"):
        table.add_column(column, justify="left" if column == "beside" else "right")
    await _small(gateway, seconds=1.0)
    _add(table, "nothing", await _small(gateway))
    async with _slow_connections(gateway):
        _add(table, f"{SLOW} slow connections", await _small(gateway))
    large = asyncio.create_task(_large_prompts(gateway))
    measured = await _small(gateway)
    large.cancel()
    await asyncio.wait([large])
    _add(table, "prompts of 10 MB, one after the other", measured)
    return table


def _add(table: Table, beside: str, measured: Measured) -> None:
    table.add_row(beside, *(f"{measured.quantile_ms(quantile):.1f}" for quantile in (0.5, 0.99, 1.0)))


async def _small(gateway: Process, *, seconds: float = SECONDS) -> Measured:
    target = gateway.target(path="/health/live")
    return await run_load(target, lambda: b"", connections=1, seconds=seconds, method="GET")


@asynccontextmanager
async def _slow_connections(gateway: Process) -> AsyncIterator[None]:
    """Half of them in the middle of their headers, half of their bodies."""
    opened: list[asyncio.StreamWriter] = []
    for number in range(SLOW):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(_said(gateway, 9) + (b"\r\n{" if number % 2 else b""))
        opened.append(writer)
    try:
        yield
    finally:
        for writer in opened:
            writer.close()


async def _large_prompts(gateway: Process) -> None:
    text = b"The half farthing was the smallest coin. " * (LARGE_BYTES // 41)
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        body = b'{"model":"bench","cache":{"mode":"bypass"},"prompt":"%b"}' % text
        writer.write(_said(gateway, len(body)) + b"connection: close\r\n\r\n" + body)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
        writer.close()


def _said(gateway: Process, length: int) -> bytes:
    """The headers of a call, not yet at their end."""
    own = "".join(f"{name}: {value}\r\n" for name, value in gateway.headers.items())
    line = "POST /generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{line}{own}content-length: {length}\r\n".encode()


if __name__ == "__main__":
    main()
