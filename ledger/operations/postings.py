"""Appends lines of money. Nothing else writes to the table of postings."""

from typing import Final

from ledger.chain import GENESIS, Line, hashed, link
from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "postings")


def post(db: Database, line: Line) -> int:
    """Append a line and return its number. A second closing line for one hold is refused by a unique index."""
    last: tuple[int, bytes] | None = db.execute(SQL["last_line"]).fetchone()
    seq, previous = (0, GENESIS) if last is None else last
    row = line.row(seq + 1)
    told = hashed(row)
    append = SQL["append_line_of_all_classes" if len(told) == len(row) else "append_line"]
    db.execute(append, (*told, link(previous, told), line.tokens))
    return seq + 1
