"""Appends lines of money. Nothing else writes to the table of postings."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from ledger.chain import GENESIS, Line, hashed, link
from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "postings")


def post(db: Database, line: Line) -> int:
    """Append a line and return its number. A second closing line for one hold is refused by a unique index."""
    return post_all(db, [line])


def post_all(db: Database, lines: Sequence[Line]) -> int:
    """Append lines, one or more, and return the first one's number; the others' follow it."""
    last: tuple[int, bytes] | None = db.execute(SQL["last_line"]).fetchone()
    seq, previous = (0, GENESIS) if last is None else last
    rows: list[tuple[str, tuple[Any, ...]]] = []
    for number, line in enumerate(lines, seq + 1):
        row = line.row(number)
        told = hashed(row)
        previous = link(previous, told)
        append = SQL["append_line_of_all_classes" if len(told) == len(row) else "append_line"]
        rows.append((append, (*told, previous, line.tokens)))
    for append, appended in groupby(rows, key=lambda row: row[0]):
        db.executemany(append, [values for _, values in appended])
    return seq + 1
