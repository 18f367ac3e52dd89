"""How long an audit takes: `python -m benchmarks.verify [postings]` makes a ledger of so many lines and verifies it.

What is told is processor time as well, of all threads: wall time says as much of who else uses the machine. `--steps`:
when each step was begun. `--file F`: of a ledger that is there, so that two versions can take turns on one.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.history import make_history
from ledger.verify import verify_ledger

POSTINGS = 1_000_000


def main() -> None:
    """Make the ledger, audit it, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify")
    parser.add_argument("postings", type=int, nargs="?", default=POSTINGS)
    parser.add_argument("--steps", action="store_true", help="when each step was begun")
    parser.add_argument("--file", type=Path, help="audit this ledger instead of making one")
    asked = parser.parse_args()
    with _ledger(asked.file, asked.postings) as path:
        print(msgspec.json.encode(figures(path, steps=asked.steps)).decode())


@contextmanager
def _ledger(path: Path | None, postings: int) -> Iterator[Path]:
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "farthing.db"
        asyncio.run(make_history(made, postings))
        yield made


def figures(path: Path, *, steps: bool = False) -> dict[str, float]:
    """Seconds and rates of one audit, which has to find nothing."""
    heard: list[tuple[float, str]] = []
    began_s, began_cpu_s = time.perf_counter(), _cpu_s()
    findings = verify_ledger(f"sqlite:{path}", on_rule=lambda step: heard.append((time.perf_counter(), step)))
    took_s, cpu_s = time.perf_counter() - began_s, _cpu_s() - began_cpu_s
    assert not findings.violations, findings
    if steps:
        for at_s, step in heard:
            print(f"{at_s - began_s:8.2f} s  {step}")
    return {
        "postings": findings.postings,
        "seconds": round(took_s, 2),
        "postings_per_s": round(findings.postings / took_s),
        "cpu_us_per_posting": round(cpu_s / findings.postings * 1e6, 2),
        "file_bytes_per_call": path.stat().st_size // findings.postings,
    }


def _cpu_s() -> float:
    """Processor time of this process and of those that it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
