"""Proofs that rules hold, all of them from one pass over lines, holds and generations (`ledger.sqlite.gathered`).

A proof says nothing of rows: where one fails, the rule's own statement tells which rows break it, if any do.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

import msgspec

from ledger.ceilings import Counts, Span, Window, window_span
from ledger.database import Database
from ledger.operations.lines import pruned_before
from ledger.operations.pairs import pairs_kept
from ledger.sqlite.gathered import SQL, Gathered, gather_all
from ledger.sqlite.weights import PRIME

REFERENCES: Final = "references lead somewhere"
SPENT: Final = "invariant 2: spent is the sum of postings"
CALLED: Final = "invariant 2: spent is the number of calls that are over"
CLOSED: Final = "invariant 3: a closed hold has the closing line of its state"
COUNTED: Final = "invariant 5: a hold is in every window that counts it, or in none"
NUMBERED: Final = "invariant 3: postings are numbered without a gap"
HOURS: Final = "reports: spend by the hour is what its lines come to"
NAMES: Final = "reports: spend by user, workflow and run is what its lines come to"
DAYS: Final = "reports: spend by the day of users, workflows and runs is what its hours come to"
PAIRS: Final = "reports: spend by the day of users and workflows together is what its lines come to"
LATENCY: Final = "reports: latency by the day is what its hours come to"
PROVABLE: Final = frozenset({CALLED, CLOSED, COUNTED, DAYS, HOURS, LATENCY, NAMES, NUMBERED, PAIRS, REFERENCES, SPENT})
# What the proof of REFERENCES looks at: {(table, the one it refers to)}.
REFERENCES_PROVED: Final = frozenset({
    ("postings", "holds"), ("holds", "generations"), ("hold_windows", "holds"), ("hold_windows", "ceiling_windows"),
    ("ceiling_windows", "ceilings"), ("api_key_routes", "api_keys"), ("api_key_ceilings", "api_keys"),
    ("deliveries", "events"), ("slices", "ceiling_windows"), ("postponing", "nowhere"),
})  # fmt: skip
# Small enough for SQLite's own check.
_FEW_ROWS: Final = ("api_key_routes", "api_key_ceilings", "deliveries", "slices", "postponing")


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


def proved(db: sqlite3.Connection, on_rule: Callable[[str], None], found: Gathered | None = None) -> frozenset[str]:
    """The rules that hold for certain, of those that there is a proof for. found: what was gathered, if it was."""
    try:
        since_ms = pruned_before(db) or 0
        if found is None:
            found = gather_all(db, since_ms)
        on_rule("sums: compared")
        # Of calls whose detail is gone, nothing could be proved.
        is_paired = pairs_kept(db)[0] >= since_ms and not found.counted["strange_pairs"]
        holds, links = db.execute(SQL["counts"]).fetchone()
        windows = [WindowRow(*row) for row in db.execute(SQL["windows"])]
        taken = list(db.execute(SQL["holds_by_hour"], {"since_ms": since_ms}))
        is_numbered = _is_numbered(db, found)
    except (sqlite3.DatabaseError, TypeError):
        return frozenset()  # A page that cannot be read, or a NULL where none can be: nothing is certain.
    if not _is_closed(found, holds=holds) or not _leads_somewhere(found, windows, links=links):
        return frozenset()
    is_weighed = not found.counted["strangers"]
    is_by_hour = is_weighed and _is_same(found, "hours", "hours_kept")
    proofs = {
        CLOSED: True,
        NUMBERED: is_numbered,
        REFERENCES: _few_lead_somewhere(db),
        SPENT: _is_spent(found, windows, {"nanousd", "tokens"}),
        CALLED: _is_spent(found, windows, {"calls", "attempts"}),
        # How many holds there are in an hour is read from what is kept of it.
        COUNTED: is_by_hour and _is_counted(found, windows, taken),
        HOURS: is_by_hour,
        NAMES: is_weighed and _is_same(found, "names", "names_kept"),
        DAYS: not found.counted["strange_days"] and _is_same(found, "days", "days_kept"),
        PAIRS: is_weighed and is_paired and _is_same(found, "pairs", "pairs_kept"),
        LATENCY: not found.counted["latency"],
    }
    return frozenset(rule for rule, holds_good in proofs.items() if holds_good and proofs[REFERENCES])


def _is_closed(found: Gathered, *, holds: int) -> bool:
    """Each closed hold has one line of its kind, no other hold has any, and so each hold and line was reached once."""
    counted = found.counted
    return (
        counted["rows"] + counted["without_line"] == counted["whole"]
        and counted["seen"] == counted["closing"] == holds - counted["without_line"]
    )


def _is_numbered(db: Database, found: Gathered) -> bool:
    first, last, folded = db.execute(SQL["line_numbers"]).fetchone()
    return first is None or (first == folded + 1 and found.counted["rows"] == last - first + 1)


def _is_same(found: Gathered, one: str, other: str) -> bool:
    return (found.counted[one] - found.counted[other]) % PRIME == 0


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


def _is_counted(found: Gathered, windows: list[WindowRow], taken: list[tuple[str, int, int]]) -> bool:
    """Each window of a ceiling on deployments counts only holds of its scope and time, and as many as there are."""
    in_force = [it for it in windows if it.active and it.scope is not None and _counts_deployments(it.scope)]
    spans: defaultdict[str, list[WindowRow]] = defaultdict(list)
    for window in in_force:
        spans[window.ceiling_id].append(window)
    by_deployment: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for deployment, hour_ms, holds in taken:
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
