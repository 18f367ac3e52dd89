"""`make bench`: what Farthing costs beside the direct call, in one run. Takes about a minute and a half."""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import Body, Measured, run_load

SECONDS: Final = 3.0
WARM_UP_S: Final = 1.0
CONNECTIONS: Final = (1, 16, 64)
DELAY_MS: Final = 50
GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1

# Over all loads of a run: a prompt that came before would be a hit.
_SERIAL: Final = itertools.count()
Child = subprocess.Popen[bytes]

CONFIG: Final = """
[ledger]
url = "sqlite:{folder}/bench.db"
[telemetry]
otlp_endpoint = "http://127.0.0.1:{port}"
[[providers]]
name = "bench"
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "bench"
max_concurrency = 10000
[[providers]]
name = "slow"
dialect = "openai"
base_url = "http://127.0.0.1:{port}/delay/{delay}/v1"
max_concurrency = 10000
[[models]]
id = "bench:m"
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
max_output_tokens = 4096
[[models]]
id = "slow:m"
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
max_output_tokens = 4096
[[routes]]
name = "bench"
targets = ["bench:m"]
[[routes]]
name = "slow"
targets = ["slow:m"]
[[ceilings]]
scope = "global"
window = "month"
limit_usd = "1000000"
[[ceilings]]
scope = "provider:bench"
window = "day"
limit_usd = "1000000"
"""


class Process(msgspec.Struct, frozen=True):
    """A process that is measured or measures."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """Processor time it has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory, in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def body(route: str, *, stream: bool = False, equal: bool = False) -> Body:
    """A function that makes request bodies: each unlike all before it, or with `equal` the same one each time."""
    tail = ',"stream":true}' if stream else "}"

    def make() -> bytes:
        prompt = "the same" if equal else f"call {next(_SERIAL)}"
        return f'{{"model":"{route}","messages":[{{"role":"user","content":"{prompt}"}}]{tail}'.encode()

    return make


def main() -> None:
    """Run every load and print the tables."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {LOAD_CORE})
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farthing-bench-"))
        upstream = stack.enter_context(_upstream())
        gateway = stack.enter_context(_gateway(Path(folder), upstream.port))
        floor = stack.enter_context(_floor(upstream.port))
        uvloop.run(_measure(gateway, upstream, floor))


async def _measure(gateway: Process, upstream: Process, floor: Process) -> None:
    console = Console()
    idle_mb = gateway.rss_mb()
    console.print(await _throughput(gateway, upstream, floor))
    console.print(await _added_latency(gateway, upstream))
    console.print(await _streams(gateway, upstream))
    console.print(f"memory: {idle_mb:.0f} MB idle, {gateway.rss_mb():.0f} MB after the loads")


async def _throughput(gateway: Process, upstream: Process, floor: Process) -> Table:
    table = _table(
        "Throughput, requests/s", "connections", "direct", "floor", "proxied", "CPU µs/request", "hits", "CPU µs/hit"
    )
    for connections in CONNECTIONS:
        direct = await _load(upstream, "/v1/chat/completions", body("m"), connections)
        proxied, cpu_us = await _loaded(gateway, body("bench"), connections)
        hits, hit_us = await _loaded(gateway, body("bench", equal=True), connections)
        least = await _load(floor, "/v1/chat/completions", body("m"), connections)
        figures = (direct.per_second, least.per_second, proxied.per_second, cpu_us, hits.per_second, hit_us)
        table.add_row(str(connections), *(f"{figure:,.0f}" for figure in figures))
    return table


async def _added_latency(gateway: Process, upstream: Process) -> Table:
    table = _table(f"Added latency at {DELAY_MS} ms upstream, ms", "connections", "p50", "p99")
    for connections in CONNECTIONS:
        direct = await _load(upstream, f"/delay/{DELAY_MS}/v1/chat/completions", body("m"), connections)
        proxied = await _load(gateway, "/v1/chat/completions", body("slow"), connections)
        added = (proxied.quantile_ms(q) - direct.quantile_ms(q) for q in (0.5, 0.99))
        table.add_row(str(connections), *(f"{figure:.2f}" for figure in added))
    return table


async def _streams(gateway: Process, upstream: Process) -> Table:
    table = _table("Streams of 100 events", "connections", "direct/s", "proxied/s", "first event added p50 ms")
    for connections in CONNECTIONS[:2]:
        direct = await _load(upstream, "/v1/chat/completions", body("m", stream=True), connections)
        proxied = await _load(gateway, "/v1/chat/completions", body("bench", stream=True), connections)
        added_ms = proxied.first_quantile_ms(0.5) - direct.first_quantile_ms(0.5)
        table.add_row(str(connections), f"{direct.per_second:,.0f}", f"{proxied.per_second:,.0f}", f"{added_ms:.2f}")
    return table


async def _loaded(gateway: Process, make: Body, connections: int) -> tuple[Measured, float]:
    """A load on the gateway, and its processor time for each answer in microseconds."""
    before_s = gateway.cpu_s()
    measured = await _load(gateway, "/v1/chat/completions", make, connections, warm_up_s=0)
    return measured, (gateway.cpu_s() - before_s) / max(1, len(measured.latencies_ms)) * 1e6


async def _load(at: Process, path: str, make: Body, connections: int, *, warm_up_s: float = WARM_UP_S) -> Measured:
    if warm_up_s:
        await run_load("127.0.0.1", at.port, path, make, connections=connections, seconds=warm_up_s)
    measured = await run_load("127.0.0.1", at.port, path, make, connections=connections, seconds=SECONDS)
    if measured.failures:
        sys.stderr.write(f"{measured.failures} of {len(measured.latencies_ms)} calls failed\n")
    return measured


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


@contextmanager
def _upstream() -> Iterator[Process]:
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with _running(command, core=LOAD_CORE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield Process(child.pid, int(child.stdout.readline()))


@contextmanager
def _gateway(folder: Path, upstream_port: int) -> Iterator[Process]:
    config = folder / "farthing.toml"
    config.write_text(CONFIG.format(folder=folder, port=upstream_port, delay=DELAY_MS), "utf-8")
    command = [str(Path(sys.executable).with_name("farthing")), "serve", "--config", str(config), "--port", "0"]
    with _listening(command) as gateway:
        yield gateway


@contextmanager
def _floor(upstream_port: int) -> Iterator[Process]:
    url = f"http://127.0.0.1:{upstream_port}/v1/chat/completions"
    with _listening([sys.executable, "-m", "benchmarks.floor", url]) as floor:
        yield floor


@contextmanager
def _listening(command: list[str]) -> Iterator[Process]:
    """A server on the gateway's core that says on standard error where it listens."""
    with _running(command, core=GATEWAY_CORE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if b"http://127.0.0.1:" in line:
                yield Process(child.pid, int(line.split(b"http://127.0.0.1:")[1].split()[0]))
                return
    raise RuntimeError(f"{command[0]} did not start")


@contextmanager
def _running(command: list[str], *, core: int, stdout: int | None = None, stderr: int | None = None) -> Iterator[Child]:
    """A child on a core of its own, ended with the block."""
    with subprocess.Popen(command, stdout=stdout, stderr=stderr) as child:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(child.pid, {core})
        try:
            yield child
        finally:
            child.terminate()


if __name__ == "__main__":
    main()
