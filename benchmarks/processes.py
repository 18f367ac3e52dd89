"""The processes that are measured, each on a core of its own."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from benchmarks.load import CHAT, Target, body
from benchmarks.upstream import Seen

DELAY_MS: Final = 50
GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1
START_WITHIN_S: Final = 180.0
END_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.005

Child = subprocess.Popen[bytes]

CONFIG: Final = """
[server]
auth = "required"
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
    """A process that is measured or measures, with those that it started. headers: what its callers say."""

    pid: int
    port: int
    headers: Mapping[str, str] = {}

    def target(self, model: str = "m", path: str = CHAT) -> Target:
        """Where its calls go."""
        return Target(self.port, path, model, self.headers)

    def cpu_s(self) -> float:
        """Processor time that all of them have used, in seconds: by each one's own clock, for /proc counts in 10 ms."""
        return sum(map(_cpu_ns, self.family())) / 1e9

    def own_cpu_s(self) -> float:
        """What the process itself has used."""
        return _cpu_ns(self.pid) / 1e9

    def rss_mb(self) -> float:
        """Resident memory of all of them, in MB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in self.family())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def family(self) -> list[int]:
        """The process, its children and theirs."""
        found = [self.pid]
        for pid in found:  # Grows as it goes.
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text("ascii").split())
        return found


def _cpu_ns(pid: int) -> int:
    # The clock's number as clock_getcpuclockid(3) makes it; Python has no name for that.
    return time.clock_gettime_ns(~pid << 3 | 2)


def seen_by(upstream: Process) -> Seen:
    """What was asked of the upstream so far."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=5)
    try:
        connection.request("GET", "/seen")
        return msgspec.json.decode(connection.getresponse().read(), type=Seen)
    finally:
        connection.close()


def wait_for_answer(target: Target, within_s: float = START_WITHIN_S) -> float:
    """Ask until a call is answered with 200. Returns when it was, by `time.perf_counter`. Raises TimeoutError."""
    make, ends_at_s, last = body(target.model), time.perf_counter() + within_s, ""
    while time.perf_counter() < ends_at_s:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=5)
        try:
            headers = {"content-type": "application/json", **target.headers}
            connection.request("POST", target.path, make(), headers)
            answer = connection.getresponse()
            last = f"{answer.status} {answer.read()[:300]!r}"
            if answer.status == 200:
                return time.perf_counter()
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        finally:
            connection.close()
        time.sleep(_POLL_S)
    raise TimeoutError(f"no answer within {within_s:.0f} s: {last}")


@contextmanager
def running_upstream() -> Iterator[Process]:
    """The upstream, on the load's core."""
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with running(command, cores={LOAD_CORE}, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield Process(child.pid, int(child.stdout.readline()))


class Prepared(msgspec.Struct, frozen=True):
    """A gateway that is ready to be started."""

    command: list[str]
    headers: dict[str, str]


def prepared_gateway(folder: Path, upstream_port: int, *, tells: bool = True, workers: int = 1) -> Prepared:
    """Farthing, everything on, with its files in this folder, and a key to it.

    tells: its spans and metrics to a collector, too.
    """
    config = folder / "farthing.toml"
    told = CONFIG if tells else CONFIG.replace("otlp_endpoint", "# otlp_endpoint")
    config.write_text(told.format(folder=folder, port=upstream_port, delay=DELAY_MS), "utf-8")
    farthing = str(Path(sys.executable).with_name("farthing"))
    make_key = [farthing, "keys", "create", "--config", str(config), "--name", "bench", "--role", "reader"]
    key = subprocess.run(make_key, check=True, capture_output=True, text=True).stdout.strip()
    command = [farthing, "serve", "--config", str(config), "--port", "0", "--workers", str(workers)]
    return Prepared(command, {"authorization": f"Bearer {key}"})


@contextmanager
def started(prepared: Prepared, cores: Sequence[int] = (GATEWAY_CORE,)) -> Iterator[Process]:
    """That gateway, listening. Its compiled code is kept, as a user's is, whatever the environment says."""
    with _listening(prepared.command, cores, {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}) as gateway:
        yield msgspec.structs.replace(gateway, headers=prepared.headers)


@contextmanager
def running_gateway(folder: Path, upstream_port: int, *, tells: bool = True) -> Iterator[Process]:
    """Farthing as `prepared_gateway` says."""
    with started(prepared_gateway(folder, upstream_port, tells=tells)) as gateway:
        yield gateway


@contextmanager
def running_floor(upstream_port: int) -> Iterator[Process]:
    """The same web stack, making one upstream call and nothing else."""
    url = f"http://127.0.0.1:{upstream_port}/v1/chat/completions"
    with _listening([sys.executable, "-m", "benchmarks.floor", url], (GATEWAY_CORE,)) as floor:
        yield floor


@contextmanager
def running(
    command: Sequence[str],
    *,
    cores: set[int],
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    environ: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Child]:
    """A child on these cores, ended with the block. environ: all that it gets; None is ours."""
    with subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environ, cwd=folder) as child:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(child.pid, cores)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()


def stay_on_load_core() -> None:
    """This process generates the load: keep it, and what it starts, off the gateway's core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {LOAD_CORE})


@contextmanager
def _listening(command: list[str], cores: Sequence[int], environ: dict[str, str] | None = None) -> Iterator[Process]:
    """A server that says on standard error where it listens."""
    with running(command, cores=set(cores), stderr=subprocess.PIPE, environ=environ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if b"http://127.0.0.1:" in line:
                yield Process(child.pid, int(line.split(b"http://127.0.0.1:")[1].split()[0]))
                return
    raise RuntimeError(f"{command[0]} did not start")
