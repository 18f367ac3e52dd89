"""Proofs that rules hold, all of them from one pass over lines, holds and generations.

A proof says nothing of rows: where one fails, the rule's own statement tells which rows break it, if any do. Sums are
gathered part by part, for a database sorts many short lists faster than a long one.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from operator import add
from typing import Any, Final

import msgspec

from ledger.ceilings import Counts, Span, Window, window_span
from ledger.database import Database
from ledger.operations.lines import pruned_before
from ledger.operations.spend import NAMES as NAMED
from ledger.sql import statements

SQL: Final = statements("sqlite", "proofs")
REFERENCES: Final = "references lead somewhere"
SPENT: Final = "invariant 2: spent is the sum of postings"
CALLED: Final = "invariant 2: spent is the number of calls that are over"
CLOSED: Final = "invariant 3: a closed hold has the closing line of its state"
COUNTED: Final = "invariant 5: a hold is in every window that counts it, or in none"
HOURS: Final = "reports: spend by the hour is what its lines come to"
NAMES: Final = "reports: spend by user, workflow and run is what its lines come to"
# What the proof of REFERENCES looks at: {(table, the one it refers to)}.
REFERENCES_PROVED: Final = frozenset({
    ("postings", "holds"), ("holds", "generations"), ("hold_windows", "holds"), ("hold_windows", "ceiling_windows"),
    ("ceiling_windows", "ceilings"), ("api_key_routes", "api_keys"), ("api_key_ceilings", "api_keys"),
    ("deliveries", "events"),
})  # fmt: skip
# Small enough for SQLite's own check.
_FEW_ROWS: Final = ("api_key_routes", "api_key_ceilings", "deliveries")
PART: Final = 2000
_NO_SUMS: Final = (0,) * 10

Hour = tuple[Any, ...]
Sums = tuple[int, ...]
Place = tuple[str, int]


class Fingerprint:
    """What many rows of sums come to, in a few numbers, however many there are: equal rows come to equal ones.

    Each sum is weighted by its row's hash, which nobody can foresee, for Python seeds it anew in each process: other
    rows come to the same once in 2^61 times. Rows of one key are one row, and a row of zeros is none.
    """

    def __init__(self) -> None:
        self.totals = [0] * len(_NO_SUMS)

    def add(self, key: tuple[str | int, ...], sums: Sums) -> None:
        """Add one row, or a part of one."""
        weight = hash(key)
        for place, amount in enumerate(sums):
            if amount:
                self.totals[place] += weight * amount


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


class WindowRow(msgspec.Struct, frozen=True):
    """A ceiling's window as it is kept. unfolded: what it has spent less what was folded. scope None: no ceiling."""

    ceiling_id: str
    starts_at_ms: int
    ends_at_ms: int | None
    counts: Counts
    unfolded: int
    scope: str | None
    window: Window | None
    active: int | None
    since_ms: int | None


class Gathered:
    """What one pass found. Counts are of lines, holds and links as they were reached from each other.

    since_ms: from when on all detail is there. names: of that, what each user, workflow and run spent.
    """

    def __init__(self, since_ms: int) -> None:
        self._since_ms = since_ms
        self.hours: dict[Hour, Sums] = {}
        self.names = Fingerprint()
        self.holds: Counter[tuple[str, int]] = Counter()
        self.linked: dict[Place, Linked] = {}
        self.rows = 0
        self.whole = 0
        self.holds_seen = 0

    def add_hours(self, row: tuple[Any, ...]) -> None:
        """Add up what belongs to one row of `spend_hours`, and to one of each name that was given."""
        hour, names, sums = row[:7], row[7:10], row[10:20]
        self.hours[hour] = tuple(map(add, self.hours.get(hour, _NO_SUMS), sums))
        for dimension, name in zip(NAMED, names, strict=True):
            if name and hour[0] >= self._since_ms:
                self.names.add((dimension, hour[0], name, *hour[1:]), sums)

    def add_holds(self, row: tuple[Any, ...]) -> None:
        """The same of holds, by their lines or without: each has to be reached once."""
        rows, whole, holds_seen = row[20:]
        self.rows += rows
        self.whole += whole
        self.holds_seen += holds_seen
        if row[6] is not None:
            self.add_hours(row)
        if holds_seen:
            self.holds[row[1], row[0]] += holds_seen

    def add_linked(self, row: tuple[Any, ...]) -> None:
        """Add up what one window counts."""
        part = Linked(*row[2:])
        before = self.linked.get(row[:2])
        if before is None:
            self.linked[row[:2]] = part
        else:
            before.join(part)


def proved(db: Database, on_rule: Callable[[str], None]) -> frozenset[str]:
    """The rules that hold for certain, of those that there is a proof for."""
    try:
        since_ms = pruned_before(db) or 0
        found = _gathered(db, on_rule, since_ms)
        holds, links, closings, _, _ = db.execute(SQL["counts"]).fetchone()
        windows = [WindowRow(*row) for row in db.execute(SQL["windows"])]
        kept = {row[:7]: row[7:] for row in db.execute(SQL["hours_kept"])}
        names = Fingerprint()
        for row in db.execute(SQL["hours_by_name_kept"], {"since_ms": since_ms}):
            names.add(row[:9], row[9:])
    except (sqlite3.DatabaseError, TypeError):
        return frozenset()  # A page that cannot be read, or a NULL where none can be: nothing is certain.
    if not _is_closed(db, found, holds=holds, closings=closings):
        return frozenset()
    proofs = {
        CLOSED: True,
        REFERENCES: _leads_somewhere(found, windows, links=links) and _few_lead_somewhere(db),
        SPENT: _is_spent(found, windows, {"nanousd", "tokens"}),
        CALLED: _is_spent(found, windows, {"calls", "attempts"}),
        COUNTED: _is_counted(found, windows),
        NAMES: found.names.totals == names.totals,
        HOURS: _since(found.hours, since_ms) == _since(kept, since_ms),
    }
    return frozenset(rule for rule, holds_good in proofs.items() if holds_good and proofs[REFERENCES])


def _gathered(db: Database, on_rule: Callable[[str], None], since_ms: int) -> Gathered:
    found = Gathered(since_ms)
    *_, last, first = db.execute(SQL["counts"]).fetchone()
    db.execute(SQL["note_corrected"])
    db.execute(SQL["corrected"])
    for after_seq in range((first or 1) - 1, last or 0, PART):
        on_rule(f"sums: lines {after_seq:,} of {last:,}")
        part = {"after_seq": after_seq, "through_seq": after_seq + PART}
        for row in db.execute(SQL["lines_by_hour"], part):
            found.add_holds(row)
        for row in db.execute(SQL["lines_by_window"], part):
            found.add_linked(row)
    for row in db.execute(SQL["holds_without_line"]):
        found.add_holds(row)
    for row in db.execute(SQL["holds_without_line_by_window"]):
        found.add_linked(row)
    for part in _parts_of_generations(db):
        for row in db.execute(SQL["generations_by_hour"], part):
            found.add_hours(row)
    return found


def _parts_of_generations(db: Database) -> Iterator[dict[str, Any]]:
    (last_id,) = db.execute(SQL["last_generation"]).fetchone()
    after_id = ""
    while last_id is not None and after_id < last_id:
        row = db.execute(SQL["generation_after"], {"after_id": after_id, "most": PART}).fetchone()
        through_id = last_id if row is None else row[0]
        yield {"after_id": after_id, "through_id": through_id}
        after_id = through_id


def _is_closed(db: Database, found: Gathered, *, holds: int, closings: int) -> bool:
    """Each closed hold has one line of its kind, no other hold has any, and so each hold and line was reached once."""
    return found.rows == found.whole and found.holds_seen == holds and closings == holds - _without_line(db)


def _without_line(db: Database) -> int:
    (number,) = db.execute(SQL["number_without_line"]).fetchone()
    return int(number)


def _leads_somewhere(found: Gathered, windows: list[WindowRow], *, links: int) -> bool:
    """Lines and holds were reached whole; so has each link to be, and each window that it leads to."""
    there = {(window.ceiling_id, window.starts_at_ms) for window in windows if window.scope is not None}
    return (
        len(there) == len(windows)
        and found.linked.keys() <= there
        and sum(part.links for part in found.linked.values()) == links
    )


def _few_lead_somewhere(db: Database) -> bool:
    return not any(db.execute(f"PRAGMA foreign_key_check({table})").fetchall() for table in _FEW_ROWS)


def _is_spent(found: Gathered, windows: list[WindowRow], adding_up: set[Counts]) -> bool:
    for window in windows:
        part = found.linked.get((window.ceiling_id, window.starts_at_ms))
        if window.counts in adding_up and window.unfolded != (0 if part is None else getattr(part, window.counts)):
            return False
    return True


def _is_counted(found: Gathered, windows: list[WindowRow]) -> bool:
    """Each window of a ceiling on deployments counts only holds of its scope and time, and as many as there are."""
    in_force = [it for it in windows if it.active and it.scope is not None and _counts_deployments(it.scope)]
    spans: defaultdict[str, list[WindowRow]] = defaultdict(list)
    for window in in_force:
        spans[window.ceiling_id].append(window)
    by_deployment: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for (deployment, hour_ms), holds in found.holds.items():
        by_deployment[deployment].append((hour_ms, holds))
    for of_ceiling in spans.values():
        expected = _holds_by_window(of_ceiling[0], by_deployment)
        if expected is None or not all(_is_whole(found, window, expected) for window in of_ceiling):
            return False
    return True


def _holds_by_window(of: WindowRow, by_deployment: dict[str, list[tuple[int, int]]]) -> Counter[int] | None:
    """{when a window begins: how many holds of the ceiling's scope were taken in it}. None: hours are too coarse."""
    assert of.scope is not None
    assert of.window is not None
    if of.window == "minute":
        return None
    counts: Counter[int] = Counter()
    starts: dict[int, int] = {}
    for deployment, hours in by_deployment.items():
        if _is_in_scope(of.scope, deployment):
            for hour_ms, holds in hours:
                if hour_ms not in starts:
                    starts[hour_ms] = window_span(of.window, hour_ms).starts_at_ms
                counts[starts[hour_ms]] += holds
    return counts


def _is_whole(found: Gathered, window: WindowRow, expected: Counter[int]) -> bool:
    assert window.scope is not None
    assert window.window is not None
    assert window.since_ms is not None
    span = Span(window.starts_at_ms, window.ends_at_ms)
    if span != window_span(window.window, window.starts_at_ms):
        return False
    part = found.linked.get((window.ceiling_id, window.starts_at_ms))
    if part is not None and not (
        part.first_ms >= span.starts_at_ms
        and (span.ends_at_ms is None or part.last_ms < span.ends_at_ms)
        and _is_in_scope(window.scope, part.first_deployment)
        and _is_in_scope(window.scope, part.last_deployment)  # And with both ends each name between them.
    ):
        return False
    if span.ends_at_ms is not None and span.ends_at_ms <= window.since_ms:
        return True  # It was over before the ceiling came into force.
    return expected[span.starts_at_ms] == (0 if part is None else part.links)


def _counts_deployments(scope: str) -> bool:
    return scope == "global" or scope.startswith(("provider:", "model:"))


def _is_in_scope(scope: str, deployment: str) -> bool:
    return scope in {"global", f"model:{deployment}", f"provider:{deployment.partition(':')[0]}"}


def _since(hours: dict[Hour, tuple[int, ...]], since_ms: int) -> dict[Hour, tuple[int, ...]]:
    return {hour: sums for hour, sums in hours.items() if any(sums) and hour[0] >= since_ms}
