"""`python -m benchmarks.failover`: what a failover adds to a call, after a 5xx and after a refused connection.

The whole router over a durable ledger, beside the same call to a healthy deployment, one after the other in turns. Its
upstreams are in the same process, so that their work is in every figure alike. Takes about ten seconds.
"""

import asyncio
import secrets
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final, cast

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.upstream import Upstream
from router.call import Attribution, CacheWish, Call, Trace
from router.reply import Gateway
from service.assembly import open_parts
from service.config.load import load_config

# Fewer faults than those that block a deployment, which would then be skipped at no cost.
CALLS_EACH: Final = 4
DEPLOYMENTS: Final = 40
FAILURE: Final = (
    b"HTTP/1.1 500 Failed\r\ncontent-type: application/json\r\ncontent-length: 48\r\n\r\n"
    b'{"error": {"message": "down", "type": "server"}}'
)
HEAD: Final = """
[ledger]
url = "sqlite:{folder}/bench.db"
[router]
breaker_threshold = 1000000
"""
PROVIDER: Final = """
[[providers]]
name = "{name}"
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
[[models]]
id = "{name}:m"
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
max_output_tokens = 4096
"""
ROUTE: Final = """
[[routes]]
name = "{name}"
targets = {targets}
"""


class Failing(asyncio.Protocol):
    """Answers every request with a 500."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name.

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self._transport.write(FAILURE)


def config(folder: str, ports: dict[str, int]) -> str:
    """Route `healthy`, and for each kind of failure routes whose first target fails so."""
    parts = [HEAD.format(folder=folder), PROVIDER.format(name="healthy", port=ports["healthy"])]
    parts.append(ROUTE.format(name="healthy", targets='["healthy:m"]'))
    for kind in ("failing", "refused"):
        for number in range(DEPLOYMENTS):
            name = f"{kind}{number}"
            parts.append(PROVIDER.format(name=name, port=ports[kind]))
            parts.append(ROUTE.format(name=name, targets=f'["{name}:m", "healthy:m"]'))
    return "\n".join(parts)


@contextmanager
def refused_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody will: it stays taken."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@asynccontextmanager
async def upstreams() -> AsyncIterator[dict[str, int]]:
    """{kind: the port where it is}."""
    loop = asyncio.get_running_loop()
    servers = {kind: await loop.create_server(made, "127.0.0.1", 0) for kind, made in _SERVERS.items()}
    with refused_port() as refused:
        try:
            yield {kind: server.sockets[0].getsockname()[1] for kind, server in servers.items()} | {"refused": refused}
        finally:
            for server in servers.values():
                server.close()


_SERVERS: Final = {"healthy": Upstream, "failing": Failing}


async def call_ms(gateway: Gateway, route: str, attempts: int) -> float:
    """How long one call took, which went to so many deployments."""
    began_s = time.perf_counter()
    reply = await gateway.generate(a_call(route))
    try:
        finished = await reply.finished()
    finally:
        await reply.aclose()
    assert len(finished.receipt.attempts) == attempts, finished.receipt
    return (time.perf_counter() - began_s) * 1000


def a_call(route: str) -> Call:
    """A call that no other is equal to."""
    name = secrets.token_hex(16)
    return Call(
        generation_id=f"gen_{name}",
        model=route,
        body={"messages": [{"role": "user", "content": name}], "max_tokens": 50},
        stream=False,
        received_at_ms=time.time_ns() // 1_000_000,
        deadline_s=30.0,
        attribution=Attribution(),
        cache=CacheWish(),
        trace=Trace(trace_id=name, server_span_id="1" * 16, chat_span_id="2" * 16),
    )


async def measure() -> dict[str, list[float]]:
    """{kind: how long its calls took, in milliseconds}."""
    took_ms: dict[str, list[float]] = {"healthy": [], "failing": [], "refused": []}
    with tempfile.TemporaryDirectory() as folder:
        async with upstreams() as ports:
            path = Path(folder) / "farthing.toml"
            path.write_text(config(folder, ports), "utf-8")
            async with open_parts(load_config(str(path), {}), {}) as parts:
                for number in range(DEPLOYMENTS):
                    for _ in range(CALLS_EACH):
                        for kind, took in took_ms.items():
                            route = kind if kind == "healthy" else f"{kind}{number}"
                            took.append(await call_ms(parts.gateway, route, 1 if kind == "healthy" else 2))
    return took_ms


def main() -> None:
    took_ms = uvloop.run(measure())
    table = Table("", "calls", "median ms", "p95 ms", "added, median ms", "added, p95 ms", box=None)
    usual = took_ms["healthy"]
    for kind, took in took_ms.items():
        middle, late = statistics.median(took), statistics.quantiles(took, n=20)[-1]
        added = middle - statistics.median(usual), late - statistics.quantiles(usual, n=20)[-1]
        table.add_row(kind, str(len(took)), *(f"{figure:.2f}" for figure in (middle, late, *added)))
    Console().print(table)


if __name__ == "__main__":
    main()
