"""A connection in a process of its own: it shares neither the interpreter nor SQLite's memory with its neighbours.

It is by a newer SQLite than most systems', and reads the file where the system has mapped it. What a disk cannot read
is a signal then that ends the process, and no error: `run` raises ConnectionLost, and whoever asked can still read it
as an error.
"""

import os
import pickle  # Of our own processes, over their pipes.
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any, Final, TypeVar

from ledger.database import Database
from ledger.sqlite.bundled import connect_mapped
from ledger.sqlite.reading import Connection, begin

Result = TypeVar("Result")
Work = Callable[[Connection], Any]

_SERVE: Final = "from ledger.sqlite.apart import serve; serve()"


class ConnectionLost(Exception):  # As the fact.
    """The process has ended."""


class Apart:
    """Works have to be picklable, and so have their results. `close` ends the process, whatever it does.

    Any thread may close it beneath one that runs a work.
    """

    def __init__(self, path: Path, *, is_still: bool) -> None:
        # Modules are looked for where we found them, and not in whatever folder we were called in.
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", "-c", _SERVE]
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked, self._answers = self._process.stdin, self._process.stdout
        self._using_pipes = Lock()
        with suppress(OSError):  # The first work tells.
            _send(self._asked, (path, is_still))

    def begin(self) -> None:
        """Raises sqlite3.DatabaseError, or ConnectionLost."""
        self.run(begin)

    def roll_back(self) -> None:
        """Raises as above."""
        self.run(roll_back)

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` there. Raises what it raises, or ConnectionLost."""
        with self._using_pipes:
            if self._answers.closed:
                raise ConnectionLost
            try:
                _send(self._asked, work)
                is_done, result = pickle.load(self._answers)  # noqa: S301
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                raise ConnectionLost from error
        if not is_done:
            raise result
        return result  # type: ignore[no-any-return]  # As `work` returned it.

    def close(self) -> None:
        """Idempotent."""
        self._process.kill()
        self._process.wait()
        with self._using_pipes:  # Whoever waited for an answer has found their end.
            self._answers.close()
            with suppress(OSError):  # What it was to be asked.
                self._asked.close()


def roll_back(db: Database) -> None:
    """End the snapshot."""
    db.execute("ROLLBACK")


def serve() -> None:
    """What the process does: work after work, until nobody is there to ask, even in the midst of one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Whoever asks is told to stop, too, and closes us.
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # Nothing but answers goes there.
    works: SimpleQueue[Work] = SimpleQueue()
    with suppress(EOFError, pickle.UnpicklingError):
        path, is_still = pickle.load(asked)  # noqa: S301
        Thread(target=_work_off, args=(path, is_still, works, answers), daemon=True).start()
        while True:
            works.put(pickle.load(asked))  # noqa: S301
    os._exit(0)


def _work_off(path: Path, is_still: bool, works: SimpleQueue[Work], answers: IO[bytes]) -> None:
    db: Connection | None = None
    while True:
        work = works.get()
        answer: tuple[bool, Any]
        try:
            db = db or connect_mapped(path, is_still=is_still)
            answer = True, work(db)
        except Exception as error:  # noqa: BLE001  # It is for whoever asked.
            answer = False, error
        with suppress(BrokenPipeError):
            _send(answers, answer)


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe)
    pipe.flush()
