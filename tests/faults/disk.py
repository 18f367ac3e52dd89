"""A disk that is told everything SQLite does to its files, may fail at any of it, and can say what a power cut leaves.

APSW brings the VFS; `Face` gives its connection the face of sqlite3's, so that the ledger's own functions run on it.
"""

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec

from ledger.sqlite.bundled import as_sqlite3
from ledger.sqlite.session import Asking

SECTOR_BYTES = 512


class Change(msgspec.Struct, frozen=True):
    """One write or (data None) truncation of a file: it lives in a cache until the file is synced."""

    at: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.at :]
            return
        content.extend(bytes(max(0, self.at - len(content))))
        content[self.at : self.at + len(self.data)] = self.data

    def torn(self, chance: random.Random) -> Iterator["Change"]:
        """Some of its sectors only."""
        if self.data is None:
            return
        ends = self.at + len(self.data)
        at = self.at
        while at < ends:
            until = min(ends, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
            if chance.random() < 0.5:
                yield Change(at, self.data[at - self.at : until - self.at])
            at = until


class File:
    """What a file holds for certain, and what was done to it since its last sync."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[Change] = []

    def synced(self) -> None:
        for change in self.pending:
            change.apply(self.durable)
        self.pending.clear()

    def after(self, kept: Callable[[Change], Iterator[Change]]) -> bytes:
        content = bytearray(self.durable)
        for change in self.pending:
            for part in kept(change):
                part.apply(content)
        return bytes(content)


State = dict[str, bytes]


class Disk:
    """The files of one folder as a power cut would leave them: names and contents last only once they were synced.

    Stricter than SQLite's own promise: of folders, only syncs that the ledger's code asks for count, and one that is
    SQLite's alone: of a rollback journal's name, with the journal's own sync (os_unix.c, UNIXFILE_DIRSYNC). Without it
    a new file's first page could be torn with nothing there to undo it.
    """

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self._history: dict[str, list[File | None]] = {}
        self.on_change: Callable[[], None] = lambda: None
        self.fault: Callable[[str, str], int | None] = lambda _operation, _name: None

    def open(self, name: str) -> File:
        if name not in self.names:
            self._rename(name, File())
        return self.names[name]

    def delete(self, name: str) -> None:
        if name in self.names:
            self._rename(name, None)

    def change(self, name: str, change: Change) -> None:
        self.names[name].pending.append(change)
        self.on_change()

    def sync(self, name: str) -> None:
        self.names[name].synced()
        self.on_change()

    def lose_unsynced(self, name: str) -> None:
        """What Linux does when a sync fails: the pages count as clean, and are never written again."""
        self.names[name].pending.clear()

    def sync_name(self, name: str) -> None:
        """Of the folder, this name alone."""
        self._history[name] = self._history[name][-1:]
        self.on_change()

    def sync_folder(self) -> None:
        for name, history in self._history.items():
            self._history[name] = history[-1:]
        self.on_change()

    def everything(self) -> State:
        """All that was written, as if it had reached the disk just in time."""
        return self._state(lambda change: iter((change,)), lambda history: history[-1])

    def nothing_more(self) -> State:
        """Only what was synced."""
        return self._state(lambda _change: iter(()), lambda history: history[0])

    def something(self, chance: random.Random) -> State:
        """Any part of what was not synced: some changes, some torn, some names."""
        share = chance.choice((0.1, 0.5, 0.9))

        def kept(change: Change) -> Iterator[Change]:
            if chance.random() < share:
                return iter((change,))
            return change.torn(chance) if chance.random() < 0.3 else iter(())

        return self._state(kept, chance.choice)

    def _state(
        self, kept: Callable[[Change], Iterator[Change]], name_of: Callable[[list[File | None]], File | None]
    ) -> State:
        found = ((name, name_of(history)) for name, history in self._history.items())
        return {name: file.after(kept) for name, file in found if file is not None}

    def _rename(self, name: str, file: File | None) -> None:
        if file is None:
            del self.names[name]
        else:
            self.names[name] = file
        self._history.setdefault(name, [None]).append(file)
        self.on_change()


class RecordingVFS(apsw.VFS):
    """Passes everything on to the real file system and tells the disk."""

    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "")
        self.vfs_name, self.disk = name, disk

    def xOpen(self, name: Any, flags: list[int]) -> "RecordingFile":  # noqa: N802
        return RecordingFile(self.disk, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        self.disk.delete(Path(name).name)
        super().xDelete(name, syncdir)


class RecordingFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._disk, self._name = disk, None if path is None else Path(path).name
        if self._name:
            disk.open(self._name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._may_fail("write")
        super().xWrite(data, offset)
        if self._name:
            self._disk.change(self._name, Change(offset, bytes(data)))

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._may_fail("read")
        return super().xRead(amount, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._may_fail("write")
        super().xTruncate(newsize)
        if self._name:
            self._disk.change(self._name, Change(newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        try:
            self._may_fail("sync")
        except apsw.Error:
            if self._name:
                self._disk.lose_unsynced(self._name)
            raise
        super().xSync(flags)
        if self._name:
            self._disk.sync(self._name)
            if self._name.endswith("-journal"):
                self._disk.sync_name(self._name)

    def _may_fail(self, operation: str) -> None:
        code = self._disk.fault(operation, self._name or "")
        if code is not None:
            raise apsw.exception_for(code)


class Rows:
    """What is left of a finished statement."""

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self._rows, self.rowcount = iter(rows), rowcount

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows


class Face(Asking):
    """An APSW connection with the face of sqlite3's, as far as the writer's functions look at it."""

    def __init__(self, path: Path, vfs: str, busy_timeout_ms: int = 5000) -> None:
        self._db = apsw.Connection(str(path), vfs=vfs)
        self._db.set_busy_timeout(busy_timeout_ms)

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    @property
    def total_changes(self) -> int:
        return self._db.total_changes()

    def execute(self, sql: str, parameters: Any = None) -> Rows:
        try:
            rows = self._db.execute(sql, parameters or None).fetchall()
        except apsw.Error as error:
            raise as_sqlite3(error) from error
        return Rows(rows, self._db.changes())

    def executemany(self, sql: str, many: Any) -> None:
        for parameters in many:
            self.execute(sql, parameters)

    def close(self) -> None:
        # SQLite closes whatever the last checkpoint met; APSW alone passes on what its VFS raised meanwhile.
        with contextlib.suppress(apsw.Error):
            self._db.close()


def recording_fsync(disk: Disk, folder: Path, fsync: Callable[[int], None]) -> Callable[[int], None]:
    """os.fsync for a test: the disk hears when its folder is synced."""

    def told(descriptor: int) -> None:
        fsync(descriptor)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            disk.sync_folder()

    return told
