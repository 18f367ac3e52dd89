"""The folder where worker processes keep what they count, for all of them to read."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# Memory, where the system has a folder of it: a page of a file on a disk may make its writer wait while it is written
# back, and that writer is a worker's event loop.
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108  The folder in it is made for its owner alone.
PREFIX: Final = "farthing-figures-"
# One that was just made may not be locked yet.
LEFT_FOR_S: Final = 60.0


@contextmanager
def figures_folder(memory: Path = MEMORY_FOLDER) -> Iterator[str]:
    """A new one while the block runs. Those that killed services left behind are removed first."""
    place = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # Somebody else's, or removed meanwhile.
            _remove_if_left(folder)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place, ignore_cleanup_errors=True) as made:
        descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield made
        finally:
            os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    """The kernel frees the lock of a process that dies. Raises OSError where it is held."""
    if time.time() - folder.stat().st_mtime < LEFT_FOR_S:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
