"""The processes that are measured, each on a core of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

DELAY_MS: Final = 50
GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1

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


@contextmanager
def running_upstream() -> Iterator[Process]:
    """The upstream, on the load's core."""
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with _running(command, core=LOAD_CORE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield Process(child.pid, int(child.stdout.readline()))


@contextmanager
def running_gateway(folder: Path, upstream_port: int, *, tells: bool = True) -> Iterator[Process]:
    """Farthing, everything on, with its files in this folder. tells: its spans and metrics to a collector, too."""
    config = folder / "farthing.toml"
    told = CONFIG if tells else CONFIG.replace("otlp_endpoint", "# otlp_endpoint")
    config.write_text(told.format(folder=folder, port=upstream_port, delay=DELAY_MS), "utf-8")
    command = [str(Path(sys.executable).with_name("farthing")), "serve", "--config", str(config), "--port", "0"]
    with _listening(command) as gateway:
        yield gateway


@contextmanager
def running_floor(upstream_port: int) -> Iterator[Process]:
    """The same web stack, making one upstream call and nothing else."""
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
