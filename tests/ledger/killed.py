"""What child processes of tests do to a ledger until it kills them: functions for `tests.forked`."""

import os
import signal
from pathlib import Path

from ledger.copying import copy_ledger
from ledger.operations import rows
from ledger.sqlite.prune import prune_file
from ledger.upkeep import backup_ledger


def die() -> None:
    """Here and now."""
    os.kill(os.getpid(), signal.SIGKILL)


def back_up(url: str, path: str) -> None:
    """Dies at its first word about the copy, which is after it was written and before it has its name."""
    backup_ledger(url, Path(path), on_step=lambda _: die())


def copy(url: str, there: str, now_ms: int) -> None:
    """Dies when the lines' turn comes, of which it would copy five at once."""
    rows.ROWS_AT_ONCE = 5
    copy_ledger(url, there, now_ms=now_ms, on_step=lambda step: die() if step.what == "copying postings" else None)


def prune(path: str, before_ms: int, now_ms: int) -> None:
    """Dies after its third step."""
    steps = iter((False, False, True))
    prune_file(
        Path(path), before_ms, now_ms=now_ms, dry_run=False, at_once=1, on_step=lambda _: die() if next(steps) else None
    )
