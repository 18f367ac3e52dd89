"""Several replicas at once on one database, and what they come to together."""

import subprocess
import sys
from contextlib import ExitStack
from typing import IO

import msgspec

from benchmarks.postgres.replica import Kind, Told, Turn
from benchmarks.postgres.server import Server
from benchmarks.processes import END_WITHIN_S


class Figures(msgspec.Struct, frozen=True):
    """Of all replicas: operations or pairs a second, admissions' latencies in milliseconds, ascending, and their turns.

    cpu_us, server_cpu_us: processor time of an operation or pair, of the replicas and of the server.
    """

    per_second: float
    admissions_ms: list[float]
    cpu_us: float
    server_cpu_us: float
    turns: list[Turn]

    def quantile_ms(self, q: float) -> float:
        """The latency that a share of q of the admissions did not exceed."""
        return self.admissions_ms[min(len(self.admissions_ms) - 1, int(q * len(self.admissions_ms)))]

    @property
    def writes_a_batch(self) -> float:
        """How many writes shared a commit, on average."""
        return sum(turn.writes for turn in self.turns) / len(self.turns)

    @property
    def held_us(self) -> float:
        """How long a turn was held, on average."""
        return sum(turn.held_s for turn in self.turns) / len(self.turns) * 1e6


def figures(
    server: Server, database: str, *, replicas: int, clients: int, seconds: float, kind: Kind, slices: int = 0
) -> Figures:
    """So many replicas with so many clients each, on a new database of this name. slices: `slice_above_per_s`."""
    url = server.new_database(database)
    with ExitStack() as stack:
        started = []
        for number in range(replicas):
            asked = [url, str(clients), str(seconds), str(number), kind, str(slices)]
            child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.postgres.replica", *asked],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.callback(_end, child)
            started.append(child)
            if number == 0:  # It makes the schema and the ceilings.
                _say(child, "ready")
        for child in started[1:]:
            _say(child, "ready")
        cpu_s = server.process.cpu_s()
        for child in started:
            _pipe(child.stdin).write(b"go\n")
            _pipe(child.stdin).flush()
        told = [msgspec.json.decode(_pipe(child.stdout).readline(), type=Told) for child in started]
        return _together(told, server.process.cpu_s() - cpu_s)


def _together(told: list[Told], server_cpu_s: float) -> Figures:
    done = sum(len(one.pairs.admissions_ms) for one in told)
    return Figures(
        per_second=sum(one.pairs.per_second for one in told),
        admissions_ms=sorted(ms for one in told for ms in one.pairs.admissions_ms),
        cpu_us=sum(one.pairs.cpu_us * len(one.pairs.admissions_ms) for one in told) / done,
        server_cpu_us=server_cpu_s / done * 1e6,
        turns=[turn for one in told for turn in one.turns],
    )


def _say(child: subprocess.Popen[bytes], word: str) -> None:
    line = _pipe(child.stdout).readline().decode()
    assert line.strip() == word, f"a replica said {line!r}"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _end(child: subprocess.Popen[bytes]) -> None:
    with child:
        _pipe(child.stdin).close()
        try:
            child.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
