"""SIGHUP asks for the config to be read again. One that comes before it can be obeyed waits: none is lost or kills."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_HANGUP: Final = frozenset({signal.SIGHUP})


def hold_hangups() -> None:
    """Let them wait, those of this thread and of the threads and processes that it starts, until `take_hangups`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)


def take_hangups() -> None:
    """There is a handler now: it hears of one that has waited, and of all that come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANGUP)


@contextmanager
def holding_hangups() -> Iterator[None]:
    """A process that is started in the block holds them from its first instruction."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
