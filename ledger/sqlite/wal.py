"""How far a database's WAL has come since SQLite last started it over.

Its file says less: started over, it is written from its beginning again, and what was there before stays behind that.
(Cut back each time it would grow again with each commit, and to sync a file that has grown takes a file system with a
journal twice as long.) But each frame bears the salts of its round, which the header has, too.
Source: sqlite.org/fileformat2.html, "The Write-Ahead Log".
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
# Where they are in either.
_PAGE_SIZE: Final = slice(8, 12)
_SALTS_OF_ALL: Final = slice(16, 24)
_SALTS_OF_FRAME: Final = slice(8, 16)


class Wal:
    """The WAL beside this database. To open its file drops none of SQLite's locks, which are not on this one."""

    def __init__(self, database: Path) -> None:
        self._path = str(database.with_name(database.name + "-wal"))

    def reaches(self, size: int) -> bool:
        """Whether it has come to so many bytes."""
        with _opened(self._path) as wal:
            return wal is not None and wal.has_frame(wal.frames_to(size))

    def size(self) -> int:
        """Its bytes; 0: nothing was written to it yet."""
        with _opened(self._path) as wal:
            return 0 if wal is None else wal.size()


class _Opened(msgspec.Struct, frozen=True):
    """frame_bytes: of one with its page. salts: of the present round."""

    file: int
    frame_bytes: int
    salts: bytes

    def frames_to(self, size: int) -> int:
        """How many frames it takes to come to so many bytes."""
        return max(1, -(-(size - _HEADER_BYTES) // self.frame_bytes))

    def has_frame(self, number: int) -> bool:
        """Whether it has come to this frame, counted from 1."""
        begins = _HEADER_BYTES + (number - 1) * self.frame_bytes
        return os.pread(self.file, _FRAME_HEADER_BYTES, begins)[_SALTS_OF_FRAME] == self.salts

    def size(self) -> int:
        # Frames of this round come first, so that half of what is left can be told from one of them.
        reached, beyond = 0, os.fstat(self.file).st_size // self.frame_bytes + 1
        while beyond - reached > 1:
            middle = (reached + beyond) // 2
            if self.has_frame(middle):
                reached = middle
            else:
                beyond = middle
        return _HEADER_BYTES + reached * self.frame_bytes


@contextmanager
def _opened(path: str) -> Iterator[_Opened | None]:
    """None: nothing was written to it yet."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        header = os.pread(file, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES:
            yield None
            return
        page_size = int.from_bytes(header[_PAGE_SIZE], "big")
        yield _Opened(file, _FRAME_HEADER_BYTES + page_size, header[_SALTS_OF_ALL])
    finally:
        os.close(file)
