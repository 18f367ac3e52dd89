"""What users, workflows and runs spend in one batch is added up once for all of it, at its end: right at every commit.

The schema does it: while a row says so, its triggers put down what each line and each ended call adds to those sums,
and add it up by groups when that row goes. Without the row they add up line by line, which is cheaper where there are
few; and with it SQLite commits nothing.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ledger.sql import statements
from ledger.store.works import Work

SQL: Final = statements("sqlite", "postpone")
# From this work of a batch on: to group fewer than these would be dearer than to add up each.
MANY: Final = 8


def postponing(db: sqlite3.Connection, works: Iterable[Work[Any]]) -> Iterator[Work[Any]]:
    """These works. From the one on that makes them MANY, what they spend is postponed until `add_up`."""
    for number, work in enumerate(works, 1):
        if number == MANY:
            db.execute(SQL["postpone_sums"])
        yield work


def add_up(db: sqlite3.Connection) -> None:
    """Add to the sums what was postponed."""
    db.execute(SQL["add_up"])
