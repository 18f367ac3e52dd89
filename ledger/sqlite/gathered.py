"""What one pass over lines, holds and generations comes to, gathered part by part and on several connections at once.

Part by part, for a database sorts many short lists faster than a long one.
"""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import add
from typing import Any, Final

import msgspec

from ledger.operations.spend import FAR_MS, NAMES
from ledger.sql import statements

SQL: Final = statements("sqlite", "proofs")
PERIODS: Final = statements("sqlite", "reports")["periods_kept"]
PART: Final = 2000
LINES_AT_ONCE: Final = 10_000
GENERATIONS_AT_ONCE: Final = 10_000
# A prime, written into proofs.sql: remainders of it multiply within 64 bits.
PRIME: Final = 2_147_483_647
# What the sums of a row are multiplied with, and added up to one: less than 2^28, so that ten of them stay in 64 bits.
FACTORS: Final = (
    "cost_nanousd", "saved_nanousd", "generations", "attempts", "cache_hits", "coalesced", "prompt_tokens",
    "completion_tokens", "cached_tokens", "reasoning_tokens",
)  # fmt: skip
MOST_FACTOR: Final = 1 << 28
_SUMS: Final = len(FACTORS)
_NO_SUMS: Final = (0,) * _SUMS
_HOUR: Final = 7
# Where, behind an hour's columns and its sums, names begin, and what is counted of lines and holds.
_NAMES: Final = _HOUR + _SUMS
_COUNTS: Final = _NAMES + len(NAMES)

Hour = tuple[Any, ...]
Sums = tuple[int, ...]
Place = tuple[str, int]
# {a sum: its factor}, drawn anew for each audit.
Factors = Mapping[str, int]


class Linked(msgspec.Struct):
    """The holds that a window counts: what they came to in each thing that it may add up, and how many they are."""

    nanousd: int
    tokens: int
    calls: int
    attempts: int
    links: int
    first_ms: int
    last_ms: int
    first_deployment: str
    last_deployment: str

    def join(self, other: "Linked") -> None:
        """Add the holds of another part."""
        self.nanousd += other.nanousd
        self.tokens += other.tokens
        self.calls += other.calls
        self.attempts += other.attempts
        self.links += other.links
        self.first_ms, self.last_ms = min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms)
        self.first_deployment = min(self.first_deployment, other.first_deployment)
        self.last_deployment = max(self.last_deployment, other.last_deployment)


# Gathers one part, from a connection that is prepared for it.
Gathering = Callable[["Gathered", sqlite3.Connection], None]


class Gathered:
    """What was found. Counts are of lines, holds and links as they were reached from each other.

    since_ms: from when on all detail is there. names: what users, workflows and runs spent from then on by their lines,
    all names and sums in one number, {dimension: it}; names_kept: the same of the sums that are kept. Nobody foresees
    it: each name and each hour is weighted by its hash, which Python seeds anew in each process, and each sum by its
    factor. Of other sums the remainders by PRIME are the same once in PRIME times.
    """

    def __init__(self, since_ms: int, factors: Factors) -> None:
        self._since_ms = since_ms
        self.factors = factors
        self.hours: dict[Hour, Sums] = {}
        self.names: Counter[str] = Counter()
        self.names_kept: Counter[str] = Counter()
        self.holds: Counter[tuple[str, int]] = Counter()
        self.linked: dict[Place, Linked] = {}
        self.rows = 0
        self.whole = 0
        self.holds_seen = 0

    def gather_lines(self, db: sqlite3.Connection, *, after_seq: int, through_seq: int) -> None:
        """The lines after one number and through another. Raises sqlite3.DatabaseError, and TypeError at a NULL."""
        for after in range(after_seq, through_seq, PART):
            part = {"after_seq": after, "through_seq": min(after + PART, through_seq)}
            for row in db.execute(SQL["lines_by_hour"], {**part, **self.factors}):
                self._add_holds(row)
            for row in db.execute(SQL["lines_by_window"], part):
                self._add_linked(row)

    def gather_holds(self, db: sqlite3.Connection) -> None:
        """The holds without a closing line. Raises as above."""
        for row in db.execute(SQL["holds_without_line"], self.factors):
            self._add_holds(row)
        for row in db.execute(SQL["holds_without_line_by_window"]):
            self._add_linked(row)

    def gather_generations(self, db: sqlite3.Connection, *, after_id: str, through_id: str) -> None:
        """The generations after one id and through another. Raises as above."""
        part = {"after_id": after_id, "through_id": through_id}
        for row in db.execute(SQL["generations_by_hour"], {**part, **self.factors}):
            self._add_hour(row)

    def gather_names_kept(self, db: sqlite3.Connection, *, dimension: str, period_ms: int) -> None:
        """What is kept of one dimension in one period. Raises as above."""
        part = {"dimension": dimension, "period_ms": period_ms, "since_ms": self._since_ms}
        (amount,) = db.execute(SQL["names_kept"], {**part, **self.factors}).fetchone()
        self.names_kept[dimension] += amount or 0

    def join(self, other: "Gathered") -> None:
        """Add what was gathered of other parts."""
        for hour, sums in other.hours.items():
            self._add_sums(hour, sums)
        for place, part in other.linked.items():
            self._link(place, part)
        self.names.update(other.names)
        self.names_kept.update(other.names_kept)
        self.holds.update(other.holds)
        self.rows += other.rows
        self.whole += other.whole
        self.holds_seen += other.holds_seen

    def _add_hour(self, row: tuple[Any, ...]) -> None:
        """What belongs to one row of `spend_hours`, and to rows of the names that were given."""
        hour = row[:_HOUR]
        self._add_sums(hour, row[_HOUR:_NAMES])
        if hour[0] >= self._since_ms:
            weight = weigh(*hour)
            for dimension, amount in zip(NAMES, row[_NAMES:_COUNTS], strict=True):
                self.names[dimension] += weight * amount

    def _add_sums(self, hour: Hour, sums: Sums) -> None:
        self.hours[hour] = tuple(map(add, self.hours.get(hour, _NO_SUMS), sums))

    def _add_holds(self, row: tuple[Any, ...]) -> None:
        """The same of holds, by their lines or without: each has to be reached once."""
        rows, whole, holds_seen = row[_COUNTS:]
        self.rows += rows
        self.whole += whole
        self.holds_seen += holds_seen
        if row[_HOUR - 1] is not None:
            self._add_hour(row)
        if holds_seen:
            self.holds[row[1], row[0]] += holds_seen

    def _add_linked(self, row: tuple[Any, ...]) -> None:
        self._link(row[:2], Linked(*row[2:]))

    def _link(self, place: Place, part: Linked) -> None:
        before = self.linked.get(place)
        if before is None:
            self.linked[place] = part
        else:
            before.join(part)


def prepare(db: sqlite3.Connection) -> None:
    """What the statements need of a connection, once. Raises sqlite3.DatabaseError."""
    db.create_function("hash", 1, hash, deterministic=True)
    db.create_function("weight", -1, weigh, deterministic=True)
    if db.execute(SQL["is_corrected_noted"]).fetchone() is None:
        db.execute(SQL["note_corrected"])
        db.execute(SQL["corrected"])


def weigh(*key: object) -> int:
    """The weight of what these stand for together: `weight` in SQL."""
    return hash(key) % PRIME


def new_factors() -> Factors:
    """Factors that nobody could foresee."""
    return {name: 1 + secrets.randbelow(MOST_FACTOR - 1) for name in FACTORS}


def plan(db: sqlite3.Connection, since_ms: int) -> Iterator[Gathering]:
    """All that there is to gather, in parts that may be gathered anywhere. Raises sqlite3.DatabaseError.

    Lines that are not numbered one after the other are left out: nothing that they are part of is proved then.
    """
    lines, first, last = db.execute(SQL["lines"]).fetchone()
    if lines == last - first + 1:
        for after_seq in range(first - 1, last, LINES_AT_ONCE):
            yield partial(Gathered.gather_lines, after_seq=after_seq, through_seq=min(after_seq + LINES_AT_ONCE, last))
    yield Gathered.gather_holds
    (last_id,) = db.execute(SQL["last_generation"]).fetchone()
    after_id = ""
    while last_id is not None and after_id < last_id:
        row = db.execute(SQL["generation_after"], {"after_id": after_id, "most": GENERATIONS_AT_ONCE}).fetchone()
        through_id = last_id if row is None else row[0]
        yield partial(Gathered.gather_generations, after_id=after_id, through_id=through_id)
        after_id = through_id
    for dimension in NAMES:
        place = {"dimension": dimension, "since_ms": since_ms, "until_ms": FAR_MS}
        for (period_ms,) in db.execute(PERIODS, place).fetchall():
            yield partial(Gathered.gather_names_kept, dimension=dimension, period_ms=period_ms)
