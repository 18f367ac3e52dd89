"""The table that stands in a copy for as long as it is not whole, and that no ledger has.

Not in `sql/`, for it is in no schema: who makes a copy makes it, and its last transaction takes it away. mark: which
copy of which ledger; taker: who adds to it, of several the last that came.
"""

from typing import Final

from ledger.database import Database

TABLE: Final = "unfinished_copy"
# What anybody is told who would use it as a ledger.
WORDS: Final = "it holds an unfinished copy of another ledger: finish it by the same `farthing copy` again, or empty it"

_MAKE: Final = """
CREATE TABLE unfinished_copy (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    mark TEXT NOT NULL,
    taker TEXT NOT NULL
)
"""


def make(db: Database, *, mark: str, taker: str) -> None:
    """Say that a copy begins."""
    db.execute(_MAKE)
    db.execute("INSERT INTO unfinished_copy (id, mark, taker) VALUES (1, ?, ?)", (mark, taker))


def mark_of(db: Database) -> str:
    """Which copy it is."""
    (mark,) = db.execute("SELECT mark FROM unfinished_copy WHERE id = 1").fetchone()
    return str(mark)


def take_over(db: Database, *, taker: str) -> None:
    """From now on `is_taken_by` is true of this one alone."""
    db.execute("UPDATE unfinished_copy SET taker = ? WHERE id = 1", (taker,))


def is_taken_by(db: Database, *, taker: str) -> bool:
    """Whether nobody else has taken over, nor does until this transaction is over."""
    return db.execute("UPDATE unfinished_copy SET taker = ? WHERE id = 1 AND taker = ?", (taker, taker)).rowcount == 1


def end(db: Database) -> None:
    """The copy is whole: a ledger like any other."""
    db.execute("DROP TABLE unfinished_copy")
