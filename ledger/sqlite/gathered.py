"""What one pass over lines, holds and generations comes to, gathered in parts and on several connections at once."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from ledger.operations.spend import FAR_MS
from ledger.operations.spend_sources import NAMES
from ledger.sql import statements
from ledger.sqlite.weights import Weights, draw_weights, lay_out

SQL: Final = statements("sqlite", "proofs")
PERIODS: Final = statements("sqlite", "reports")["periods_kept"]
# Sorted together: a database sorts many short lists faster than a long one.
PART: Final = 2000
LINES_AT_ONCE: Final = 10_000
# The generations of so many lines are one part.
GENERATIONS_AT_ONCE: Final = 10_000

Place = tuple[str, int]


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


class Gathered:
    """What was found. `counted` has numbers by name, so that parts are joined by adding them up.

    Of sums, each times its weight (`ledger.sqlite.weights`): `hours` and `names`, by lines, holds and generations;
    `hours_kept` and `names_kept`, by what is kept; `days`, by the hours that are kept by name, and `days_kept`;
    `pairs`, by the lines, holds and generations that are added up by pair, and `pairs_kept`.
    `strangers`, `strange_days` and `strange_pairs`: rows that have no weight, so that the former say nothing of them.
    `rows`: lines; `closing`: closing ones among them; `seen`: those that close their hold as its state says;
    `without_line`: holds that have no such line; `whole`: of all these, how many have a hold and a generation.
    `latency`: days whose latency is not what its hours come to. linked: by window.
    """

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.linked: dict[Place, Linked] = {}

    def gather_lines(self, db: sqlite3.Connection, weights: Weights, *, after_seq: int, through_seq: int) -> None:
        """The lines after one number and through another. Raises sqlite3.DatabaseError, and TypeError at a NULL."""
        lines = {"after_seq": after_seq, "through_seq": through_seq}
        names = ("hours", "names", "pairs", "rows", "whole", "seen", "closing", "strangers")
        self._count(db, weights, "weigh_lines", names, lines)
        for after in range(after_seq, through_seq, PART):
            part = {"after_seq": after, "through_seq": min(after + PART, through_seq)}
            for row in db.execute(SQL["lines_by_window"], part):
                self._link(row[:2], Linked(*row[2:]))

    def gather_holds(self, db: sqlite3.Connection, weights: Weights) -> None:
        """The holds without a closing line. Raises as above."""
        names = ("hours", "names", "pairs", "without_line", "whole", "strangers")
        self._count(db, weights, "weigh_holds", names, {})
        for row in db.execute(SQL["holds_without_line_by_window"]):
            self._link(row[:2], Linked(*row[2:]))

    def gather_generations(self, db: sqlite3.Connection, weights: Weights, *, after_id: str, through_id: str) -> None:
        """The generations after one id and through another. Raises as above."""
        part = {"after_id": after_id, "through_id": through_id}
        self._count(db, weights, "weigh_generations", ("hours", "names", "pairs", "strangers"), part)

    def gather_hours_kept(self, db: sqlite3.Connection, weights: Weights) -> None:
        """What is kept by the hour. Raises as above."""
        self._count(db, weights, "weigh_hours_kept", ("hours_kept",), {})

    def gather_names_kept(self, db: sqlite3.Connection, weights: Weights, *, dimension: str, period_ms: int) -> None:
        """What is kept of one dimension in one period. Raises as above."""
        part = {"dimension": dimension, "period_ms": period_ms}
        self._count(db, weights, "weigh_names_kept", ("names_kept", "days", "strange_days"), part)

    def gather_days_kept(self, db: sqlite3.Connection, weights: Weights, *, dimension: str) -> None:
        """What is kept of one dimension by the day. Raises as above."""
        part = {"dimension": dimension}
        self._count(db, weights, "weigh_days_kept", ("days_kept", "strange_days"), part)

    def gather_pairs_kept(self, db: sqlite3.Connection, weights: Weights) -> None:
        """What is kept of users and workflows together. Raises as above."""
        self._count(db, weights, "weigh_pairs_kept", ("pairs_kept", "strange_pairs"), {})

    def gather_latency(self, db: sqlite3.Connection, _: Weights) -> None:
        """Latency by the day, beside that by the hour. Raises as above."""
        (rows,) = db.execute(SQL["latency_rows"]).fetchone()
        for (day_ms,) in db.execute(SQL["latency_days"]).fetchall():
            hours = db.execute(SQL["latency_by_hour"], {"day_ms": day_ms}).fetchall()
            rows -= sum(row[-1] for row in hours)
            days = db.execute(SQL["latency_by_day"], {"day_ms": day_ms}).fetchall()
            self.counted["latency"] += [row[:-1] for row in hours] != days
        self.counted["latency"] += abs(rows)

    def join(self, other: "Gathered") -> None:
        """Add what was gathered of other parts."""
        self.counted.update(other.counted)
        for place, part in other.linked.items():
            self._link(place, part)

    def _count(
        self, db: sqlite3.Connection, weights: Weights, statement: str, names: tuple[str, ...], part: dict[str, Any]
    ) -> None:
        """Add the numbers of the one row that a statement comes to, by these names."""
        spans = {name: getattr(weights, name) for name in ("since_ms", "paired_since_ms", "paired_until_ms")}
        given = {**part, **weights.factors, **spans}
        for name, number in zip(names, db.execute(SQL[statement], given).fetchone(), strict=True):
            self.counted[name] += number or 0

    def _link(self, place: Place, part: Linked) -> None:
        before = self.linked.get(place)
        if before is None:
            self.linked[place] = part
        else:
            before.join(part)


# Gathers one part, on a connection that is prepared for it.
Gathering = Callable[[Gathered, sqlite3.Connection, Weights], None]


def prepare(db: sqlite3.Connection, weights: Weights) -> None:
    """What the statements need of a connection, once. Raises sqlite3.DatabaseError."""
    if db.execute(SQL["is_corrected_noted"]).fetchone() is None:
        lay_out(db, weights)
        db.execute(SQL["note_corrected"])
        db.execute(SQL["corrected"])


def gather_all(db: sqlite3.Connection, since_ms: int) -> Gathered:
    """All that there is, on one connection. since_ms: from when on all detail is there. Raises as `Gathered` does."""
    found, weights = Gathered(), draw_weights(db, since_ms)
    prepare(db, weights)
    for gather in plan(db):
        gather(found, db, weights)
    return found


def plan(db: sqlite3.Connection) -> Iterator[Gathering]:
    """All that there is to gather, in parts that may be gathered anywhere. Raises sqlite3.DatabaseError.

    Lines that are not numbered one after the other are left out: nothing that they are part of is proved then.
    """
    lines, first, last = db.execute(SQL["lines"]).fetchone()
    through = last if lines == last - first + 1 else first - 1
    for after_seq in range(first - 1, through, LINES_AT_ONCE):
        yield partial(Gathered.gather_lines, after_seq=after_seq, through_seq=min(after_seq + LINES_AT_ONCE, last))
    yield Gathered.gather_holds
    yield Gathered.gather_latency
    for dimension in NAMES:
        yield partial(Gathered.gather_days_kept, dimension=dimension)
        periods = {"dimension": dimension, "since_ms": -FAR_MS, "until_ms": FAR_MS}
        for (period_ms,) in db.execute(PERIODS, periods).fetchall():
            yield partial(Gathered.gather_names_kept, dimension=dimension, period_ms=period_ms)
    yield Gathered.gather_pairs_kept
    yield Gathered.gather_hours_kept
    ids = _some_ids(db, range(first + GENERATIONS_AT_ONCE, through, GENERATIONS_AT_ONCE))
    for after_id, through_id in zip(("", *ids), ids, strict=False):
        yield partial(Gathered.gather_generations, after_id=after_id, through_id=through_id)


def _some_ids(db: sqlite3.Connection, seqs: range) -> list[str]:
    """Generations in their order: those of these lines, and the last of all."""
    (last_id,) = db.execute(SQL["last_generation"]).fetchone()
    if last_id is None:
        return []
    rows = (db.execute(SQL["generation_of_line"], {"seq": seq}).fetchone() for seq in seqs)
    return [*sorted({row[0] for row in rows if row is not None and row[0] < last_id}), last_id]
