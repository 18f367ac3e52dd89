"""What one pass over lines, holds and generations comes to, gathered in parts and on several connections at once."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from ledger.operations.spend import FAR_MS
from ledger.operations.spend_sources import NAMES
from ledger.sql import statements
from ledger.sqlite.links import lay_out_windows
from ledger.sqlite.reading import Connection
from ledger.sqlite.weights import Seed, factors, lay_out

SQL: Final = statements("sqlite", "proofs")
PERIODS: Final = statements("sqlite", "reports")["periods_kept"]
LINES_AT_ONCE: Final = 10_000
# The generations of so many lines are one part.
GENERATIONS_AT_ONCE: Final = 10_000
# What the rows of each weighing come to, and generations that are weighed after them: how many, and which.
_WEIGHED: Final = ("hours", "names", "days", "pairs")
_CALLS: Final = ("elsewhere", "calls")


class Gathered:
    """What was found. `counted` has numbers by name, so that parts are joined by adding them up.

    Of sums, each times its weight (`ledger.sqlite.weights`): `hours`, `names` and `days`, by lines, holds and
    generations; `hours_kept`, `names_kept` and `days_kept`, by what is kept. Where detail is gone there are `days` by
    the hours that are kept by name. `pairs`, by lines, holds and generations that are added up by pair, and
    `pairs_kept`.
    `strangers`, `strange_days` and `strange_pairs`: rows that have no weight, so that the former say nothing of them.
    `rows`: lines; `closing`: closing ones among them; `seen`: those that close their hold as its state says;
    `without_line`: holds that have no such line; `whole`: of all these, how many have a hold and a generation.
    `ended`: generations that have ended; `called`: how many of them were weighed.
    `linked`: what lines and holds come to in their windows (`ledger.sqlite.links`); `links`: how many there are.
    `holds`: how many there are. `latency`: days whose latency is not what its hours come to.
    """

    def __init__(self, seed: Seed) -> None:
        self.seed = seed
        self.counted: Counter[str] = Counter()

    def gather_lines(self, db: Connection, *, after_seq: int, through_seq: int) -> None:
        """The lines after one number and through another. Raises sqlite3.DatabaseError, and TypeError at a NULL."""
        names = ("linked", "rows", "whole", "seen", "closing", "strangers", "called")
        self._count(db, "weigh_lines", (*_WEIGHED, *names, *_CALLS), after_seq=after_seq, through_seq=through_seq)

    def gather_holds(self, db: Connection) -> None:
        """The holds without a closing line. Raises as above."""
        names = ("linked", "without_line", "whole", "strangers")
        self._count(db, "weigh_holds", (*_WEIGHED, *names, *_CALLS))

    def gather_counts(self, db: Connection) -> None:
        """How many holds, links and generations there are. Raises as above."""
        self._count(db, "counts", ("holds", "links"))
        self._count(db, "ended_generations", ("ended",))

    def gather_generations(self, db: Connection, *, after_id: str, through_id: str, is_shared: bool = True) -> None:
        """The generations after one id and through another that have no attempt. Raises as above."""
        self._count(db, "generations_apart", _CALLS, after_id=after_id, through_id=through_id, is_shared=is_shared)

    def gather_what_is_left(self, db: Connection) -> None:
        """Generations without an attempt though no other call answered them, if there are any. Raises as above.

        On whatever connection, for it is known once all parts are together.
        """
        if self.counted["called"] < self.counted["ended"]:
            prepare(db, self.seed)
            (last_id,) = db.execute(SQL["last_generation"]).fetchone()
            self.gather_generations(db, after_id="", through_id=last_id, is_shared=False)

    def gather_hours_kept(self, db: Connection) -> None:
        """What is kept by the hour. Raises as above."""
        self._count(db, "weigh_hours_kept", ("hours_kept",))

    def gather_names_kept(self, db: Connection, *, dimension: str, period_ms: int) -> None:
        """What is kept of one dimension in one period. Raises as above."""
        names = ("names_kept", "days", "strange_days")
        self._count(db, "weigh_names_kept", names, dimension=dimension, period_ms=period_ms)

    def gather_days_kept(self, db: Connection, *, dimension: str) -> None:
        """What is kept of one dimension by the day. Raises as above."""
        self._count(db, "weigh_days_kept", ("days_kept", "strange_days"), dimension=dimension)

    def gather_pairs_kept(self, db: Connection) -> None:
        """What is kept of users and workflows together. Raises as above."""
        self._count(db, "weigh_pairs_kept", ("pairs_kept", "strange_pairs"))

    def gather_latency(self, db: Connection) -> None:
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

    def _count(self, db: Connection, statement: str, names: tuple[str, ...], **part: str | int) -> None:
        """Add the numbers of the one row that a statement comes to, by these names."""
        given = {**part, **factors(db, self.seed)}
        found = dict(zip(names, db.execute(SQL[statement], given).fetchone(), strict=True))
        calls, there_are = found.pop("calls", None), found.pop("elsewhere", 0)
        for name, number in found.items():
            self.counted[name] += number or 0
        if there_are:
            self._count(db, "weigh_generations", (*_WEIGHED, "strangers", "called"), ids=calls)


# Gathers one part, on a connection that is prepared for it.
Gathering = Callable[[Gathered, Connection], None]


def prepare(db: Connection, seed: Seed) -> None:
    """What the statements need of a connection, once. Raises sqlite3.DatabaseError."""
    if db.execute(SQL["is_corrected_noted"]).fetchone() is None:
        lay_out(db, seed)
        lay_out_windows(db, seed)
        db.execute(SQL["note_corrected"])
        db.execute(SQL["corrected"])


def gather_all(db: Connection, seed: Seed) -> Gathered:
    """All that there is, on one connection. Raises as `Gathered` does."""
    found = Gathered(seed)
    prepare(db, seed)
    for gather in plan(db):
        gather(found, db)
    return found


def plan(db: Connection) -> Iterator[Gathering]:
    """All that there is to gather, in parts that may be gathered anywhere. Raises sqlite3.DatabaseError.

    Lines that are not numbered one after the other are left out: nothing that they are part of is proved then.
    """
    lines, first, last = db.execute(SQL["lines"]).fetchone()
    # Large parts go first, so that none is left when all else is done.
    yield Gathered.gather_latency
    yield Gathered.gather_holds
    for dimension in NAMES:
        yield partial(Gathered.gather_days_kept, dimension=dimension)
        periods = {"dimension": dimension, "since_ms": -FAR_MS, "until_ms": FAR_MS}
        for (period_ms,) in db.execute(PERIODS, periods).fetchall():
            yield partial(Gathered.gather_names_kept, dimension=dimension, period_ms=period_ms)
    yield Gathered.gather_pairs_kept
    yield Gathered.gather_hours_kept
    yield Gathered.gather_counts
    through = last if lines == last - first + 1 else first - 1
    for after_seq in range(first - 1, through, LINES_AT_ONCE):
        yield partial(Gathered.gather_lines, after_seq=after_seq, through_seq=min(after_seq + LINES_AT_ONCE, last))
    ids = _some_ids(db, range(first + GENERATIONS_AT_ONCE, through, GENERATIONS_AT_ONCE))
    for after_id, through_id in zip(("", *ids), ids, strict=False):
        yield partial(Gathered.gather_generations, after_id=after_id, through_id=through_id)


def _some_ids(db: Connection, seqs: range) -> list[str]:
    """Generations in their order: those of these lines, and the last of all."""
    (last_id,) = db.execute(SQL["last_generation"]).fetchone()
    if last_id is None:
        return []
    rows = (db.execute(SQL["generation_of_line"], {"seq": seq}).fetchone() for seq in seqs)
    return [*sorted({row[0] for row in rows if row is not None and row[0] < last_id}), last_id]
