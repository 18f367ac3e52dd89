"""Proofs that rules hold, all of them from one pass over lines, holds and generations (`ledger.sqlite.gathered`).

A proof says nothing of rows: where one fails, the rule's own statement tells which rows break it, if any do.
"""

import sqlite3
from typing import Final

from ledger.database import Database
from ledger.operations.lines import pruned_before
from ledger.operations.pairs import pairs_kept
from ledger.sqlite.gathered import SQL, Gathered, gather_all
from ledger.sqlite.links import prove_links
from ledger.sqlite.reading import Connection
from ledger.sqlite.weights import PRIME, draw_seed

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


def proved(db: Connection, found: Gathered | None = None) -> frozenset[str]:
    """The rules that hold for certain, of those that there is a proof for. found: what was gathered, if it was."""
    try:
        since_ms = pruned_before(db) or 0
        if found is None:
            found = gather_all(db, draw_seed(since_ms))
        found.gather_what_is_left(db)
        # Of calls whose detail is gone, nothing could be proved.
        is_paired = pairs_kept(db)[0] >= since_ms and not found.counted["strange_pairs"]
        is_numbered = _is_numbered(db, found)
        if not _is_closed(found):
            return frozenset()
        taken = list(db.execute(SQL["holds_by_hour"], {"since_ms": since_ms}))
        links = prove_links(db, found.seed, found.counted["linked"], links=found.counted["links"], taken=taken)
        is_leading = links.leads_somewhere and _few_lead_somewhere(db)
    except (sqlite3.DatabaseError, TypeError):
        return frozenset()  # A page that cannot be read, or a NULL where none can be: nothing is certain.
    is_weighed = not found.counted["strangers"]
    is_by_hour = is_weighed and _is_same(found, "hours", "hours_kept")
    is_by_name = is_weighed and _is_same(found, "names", "names_kept")
    proofs = {
        CLOSED: True,
        NUMBERED: is_numbered,
        REFERENCES: is_leading,
        SPENT: links.is_spent,
        CALLED: links.is_called,
        # How many holds there are in an hour is read from what is kept of it.
        COUNTED: is_by_hour and links.is_counted,
        HOURS: is_by_hour,
        NAMES: is_by_name,
        # What lines come to by the day is what their hours come to, if those are right.
        DAYS: is_by_name and not found.counted["strange_days"] and _is_same(found, "days", "days_kept"),
        PAIRS: is_weighed and is_paired and _is_same(found, "pairs", "pairs_kept"),
        LATENCY: not found.counted["latency"],
    }
    return frozenset(rule for rule, holds_good in proofs.items() if holds_good and is_leading)


def _is_closed(found: Gathered) -> bool:
    """Each closed hold has one line of its kind, no other hold has any, and so each hold and line was reached once.

    And with them each generation that has ended: with its first attempt, or because it has none.
    """
    counted = found.counted
    return (
        counted["rows"] + counted["without_line"] == counted["whole"]
        and counted["seen"] == counted["closing"] == counted["holds"] - counted["without_line"]
        and counted["called"] == counted["ended"]
    )


def _is_numbered(db: Database, found: Gathered) -> bool:
    first, last, folded = db.execute(SQL["line_numbers"]).fetchone()
    return first is None or (first == folded + 1 and found.counted["rows"] == last - first + 1)


def _is_same(found: Gathered, one: str, other: str) -> bool:
    return (found.counted[one] - found.counted[other]) % PRIME == 0


def _few_lead_somewhere(db: Database) -> bool:
    return not any(db.execute(f"PRAGMA foreign_key_check({table})").fetchall() for table in _FEW_ROWS)
