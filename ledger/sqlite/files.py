"""Whether a file and the place it is in can serve as a ledger, looked at before anything is written."""

import os
import re
import sqlite3
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from ledger.errors import NotALedger
from ledger.sqlite.migrate import check_identity, run_script, scripts

MOUNTS: Final = Path("/proc/self/mountinfo")
# Locks and shared memory of SQLite's WAL do not work across machines. Source: sqlite.org/wal.html, "All processes using
# a database must be on the same host computer".
NETWORK_TYPES: Final = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "glusterfs", "beegfs", "gfs2",
    "ocfs2", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "fuse.davfs",
    "fuse.smbnetfs", "fuse.curlftpfs", "fuse.goofys", "fuse.juicefs", "fuse.moosefs",
})  # fmt: skip
LEAST_FREE_BYTES: Final = 16 << 20
# How long a start may take to look at the pages of a large file; `farthing verify` looks at all of them.
CHECK_S: Final = 1.0
# SQLite 3.40 looks at all pages in one step, which no handler interrupts: a second a gigabyte, or as long as the disk
# takes to read it. Of a file as large as this a start looks at what every admission reads, and stays small.
LARGE_BYTES: Final = 512 << 20
_READ_BY_ALL: Final = (
    "owners",
    "ceilings",
    "ceilings_epoch",
    "ceiling_windows",
    "closings",
    "audit",
    "response_totals",
)
_PROGRESS_STEPS: Final = 20_000
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SAVE_IT: Final = "put a backup in its place (`farthing backup` makes them), or see with `farthing verify` what broke"


def check_file(path: Path, *, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
    """Raise NotALedger, which says what to do, if no ledger can be kept here. Changes nothing."""
    folder = path.resolve().parent
    if not folder.is_dir():
        raise NotALedger(f"there is no folder {folder}: make it, or choose another path for the ledger")
    kind = network_mount(MOUNTS.read_text("utf-8", "replace"), str(folder)) if MOUNTS.exists() else None
    if kind is not None:
        raise NotALedger(f"{folder} is on a network file system ({kind}): keep the ledger on a disk of this machine")
    for place, needed in ((folder, os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        if place.exists() and not os.access(place, needed):
            raise NotALedger(f"{place} may not be written to: change its mode or owner, or choose another path")
    space = os.statvfs(folder)
    if space.f_blocks and space.f_bavail * space.f_frsize < least_free_bytes:
        raise NotALedger(f"{folder} has less than {least_free_bytes >> 20} MiB left: make room, then start again")
    if path.is_dir():
        raise NotALedger(f"{path} is a folder: name a file in it")
    if path.exists() and path.stat().st_size:
        _check_content(path)


def is_damage(error: BaseException | None) -> bool:
    """Whether it says that a file is broken, or no database."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def damaged(path: Path, error: BaseException | None) -> NotALedger:
    """What is said of a file that SQLite cannot read as a database."""
    return NotALedger(f"{path} is damaged or no ledger ({error}): {_SAVE_IT}")


def network_mount(mountinfo: str, folder: str) -> str | None:
    """The type of the file system that a folder is on, if other machines may be on it too; None: it is local.

    mountinfo: the text of /proc/self/mountinfo. Source: proc(5): field 5 is the mount point, octal escapes for blanks;
    after a lone `-` comes the type.
    """
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        holds = folder == point or folder.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one covers the other.
        if holds and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind if kind in NETWORK_TYPES else None


def _check_content(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("BEGIN")
            version = check_identity(db)
            _check_schema(db, version, path)
            _check_pages(db, path)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return  # Somebody is at work on it: whoever opens it to write waits longer than this look.
        raise damaged(path, error) from error


def _check_schema(db: sqlite3.Connection, version: int, path: Path) -> None:
    """A file that says it is a ledger has all that a ledger of its version has, its rules included."""
    missing = sorted(_names_at(version) - _names(db))
    if missing:
        raise NotALedger(f"{path} says that it is a ledger but lacks {' '.join(missing[0])}: {_SAVE_IT}")


@cache
def _names_at(version: int) -> frozenset[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for script in scripts(since=0, to=version):
            run_script(model, script)
        return frozenset(_names(model))


def _names(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return {(kind, name) for kind, name in db.execute("SELECT type, name FROM sqlite_master")}


def _check_pages(db: sqlite3.Connection, path: Path) -> None:
    is_large = path.stat().st_size >= LARGE_BYTES
    # A pragma takes no parameters; these are constants of this file.
    checks = [f"PRAGMA quick_check({table})" for table in _READ_BY_ALL] if is_large else ["PRAGMA quick_check(1)"]
    ends_at_s = time.monotonic() + CHECK_S
    db.set_progress_handler(lambda: time.monotonic() > ends_at_s, _PROGRESS_STEPS)
    try:
        found = [db.execute(check).fetchone()[0] for check in checks]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return
        raise
    finally:
        db.set_progress_handler(None, 0)
    if (damage := next((said for said in found if said != "ok"), None)) is not None:
        raise NotALedger(f"{path} is damaged ({damage}): {_SAVE_IT}")
