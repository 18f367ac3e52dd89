"""Standard output as commands need it, whatever it is: a terminal, a pipe, a full disk, or closed."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC
from typing import Final

# What writing fails with where the disk does: its words say all. A pipe that nobody reads is click's to end.
_DISK_FAILS: Final = frozenset({EDQUOT, EFBIG, EIO, ENOSPC})


@contextmanager
def safe_output() -> Iterator[None]:
    """Have whatever a command prints reach whoever reads it, or the command end with one line and exit 1.

    Characters that standard output has no codes for are told by Unicode's: a name is no reason to tell nothing.
    """
    is_closed = sys.stdout is None
    if is_closed:
        # What is not told is a failure, and no other file is to be taken for it.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except OSError as error:
        is_closed = is_closed and error.errno == EBADF
        if not is_closed and error.errno not in _DISK_FAILS:
            raise
        from service.commands.failing import failing  # It takes its time, which `farthing --help` has not.

        # At the end Python would try once more to write, and complain in its own words.
        sys.stdout = io.StringIO()
        where = "" if error.filename is None else f"{error.filename}: "
        failing("standard output is closed" if is_closed else f"{where}{error.strerror}")
