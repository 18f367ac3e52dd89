"""Several worker processes on one listening socket and one ledger file, and the process that minds them."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from service.figures_folder import figures_folder
from service.hangup import holding_hangups, take_hangups

# Which of the workers a process is, counted from 0.
WORKER: Final = "FARTHING_WORKER"
# The folder where each worker keeps what it counts, for all of them to read.
FIGURES: Final = "FARTHING_FIGURES"
RESPAWN_DELAY_S: Final = 1.0
POLL_S: Final = 0.1
# Above the drain: a worker that is still there then is stuck.
KILL_GRACE_S: Final = 10.0

log = logging.getLogger(__name__)


class Workers:
    """Starts workers, starts anew those that die, and passes a stop on to all."""

    def __init__(
        self, count: int, arguments: Sequence[str], environ: Mapping[str, str], listening: socket.socket
    ) -> None:
        self._count = count
        self._arguments = arguments
        self._environ = dict(environ)
        self._listening = listening
        # By number.
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._is_stopping = False
        self._is_forced = False

    def run(self, *, drain_s: float) -> int:
        """Mind the workers until a SIGTERM or SIGINT. Returns the process's exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        with figures_folder() as folder:
            self._environ[FIGURES] = folder
            for index in range(self._count):
                self._start(index)
            take_hangups()
            while not self._is_stopping:
                time.sleep(POLL_S)
                self._replace_dead()
            return self._join(drain_s + KILL_GRACE_S)

    def _start(self, index: int) -> None:
        command = [
            sys.executable,
            "-m",
            "service.worker",
            str(self._listening.fileno()),
            str(os.getpid()),
            *self._arguments,
        ]
        environ = {**self._environ, WORKER: str(index)}
        with holding_hangups():
            worker = subprocess.Popen(command, env=environ, pass_fds=(self._listening.fileno(),))  # noqa: S603
        self._running[index] = worker
        if self._is_stopping:  # When that was said, it was not there to be told.
            self._tell(worker)

    def _replace_dead(self) -> None:
        for index, worker in list(self._running.items()):
            if worker.poll() is not None and not self._is_stopping:
                log.error("worker %d ended with status %d; starting another", worker.pid, worker.returncode)
                time.sleep(RESPAWN_DELAY_S)
                self._start(index)

    def _stop(self, _number: int, _frame: object) -> None:
        """The first signal has them drain; a second one, while they do, is obeyed at once."""
        self._is_forced = self._is_stopping
        self._is_stopping = True
        for worker in self._running.values():
            self._tell(worker)

    def _tell(self, worker: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            worker.send_signal(signal.SIGKILL if self._is_forced else signal.SIGTERM)

    def _pass_on(self, number: int, _frame: object) -> None:
        for worker in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(number)

    def _join(self, within_s: float) -> int:
        ends_at_s = time.monotonic() + within_s
        for worker in self._running.values():
            try:
                worker.wait(max(0.0, ends_at_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        statuses: list[int] = [worker.returncode for worker in self._running.values()]
        if self._is_forced:
            return 1
        # One that was told to stop before it could listen to that has done so, too.
        return max(0 if status == -signal.SIGTERM else abs(status) for status in statuses)
