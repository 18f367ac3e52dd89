"""One worker process: `python -m service.worker FD PARENT CONFIG-ARGUMENTS…`, started by `service.workers`."""

import ctypes
import os
import signal
import socket
import sys
from typing import Final

from service.hangup import hold_hangups

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Serve on the inherited socket until told to stop, or until the parent is gone."""
    descriptor, parent, *arguments = sys.argv[1:]
    hold_hangups()  # Its parent did, in whatever way it was started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches its parent, too, which passes it on.
    _die_with(int(parent))
    from service.commands.serve import run_with_arguments

    sys.exit(run_with_arguments(arguments, socket.socket(fileno=int(descriptor))))


def _die_with(parent: int) -> None:
    """A parent that is killed cannot pass a stop on: the kernel does (Linux). Drained like by any other SIGTERM."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    main()
