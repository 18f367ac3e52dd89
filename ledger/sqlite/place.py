"""That a ledger's name still leads to the file that is open.

SQLite with a WAL goes on writing to a file that was moved away, removed, or had another one put in its place, and what
is acknowledged from then on is gone with the process: nobody who opens the ledger by its name will find it.
"""

import os
from pathlib import Path

from ledger.errors import NotALedger


class Place:
    """Where a ledger was found when it was first opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None

    def found(self) -> None:
        """The file is open: from now on its name has to lead to it."""
        if self._file is None:
            self._file = self._named()

    def check(self) -> None:
        """Raise FileNotFoundError while the file is gone, which may pass, and NotALedger if another one is there."""
        if self._file is None:
            return
        try:
            named = self._named()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self._path} is gone: put it back, or start the service again to begin a new ledger"
            ) from error
        if named != self._file:
            raise NotALedger(
                f"{self._path} is another file than the one that was opened: stop the service, put the ledger to keep "
                "there, remove the -wal and -shm beside it if they are the other one's, and start it again"
            )

    def _named(self) -> tuple[int, int]:
        found = os.stat(self._path)  # noqa: PTH116  # At every commit: a Path's own takes three times as long.
        return found.st_dev, found.st_ino
