"""Audits a ledger file, read-only, on a snapshot: safe while the service writes."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from ledger.database import Database
from ledger.errors import NotALedger
from ledger.operations.lines import (
    CHAIN,
    HOLD,
    PRICE,
    TOKENS,
    LineAudit,
    NoSuchLine,
    first_place,
    last_seq,
    pruned_before,
)
from ledger.operations.spend import spend_by
from ledger.reports import SpendQuery
from ledger.sql import statements
from ledger.sqlite.migrate import check_identity
from ledger.sqlite.proofs import HOURS, REFERENCES, proved
from ledger.verify import Findings, Unreadable, Violation

RULES: Final = statements("sqlite", "verify")
FILE: Final = "the file is sound"
HOUR_DIMENSIONS: Final = ("hour", "model", "route", "key", "team", "basis", "outcome")
LINE_RULES: Final = (CHAIN, HOLD, PRICE, TOKENS)
MOST_ROWS: Final = 20
_CACHE_KIB: Final = 64 * 1024
_SOUND: Final = {"integrity_check": "ok"}

OnRule = Callable[[str], None]


def verify_file(
    path: Path, *, on_rule: OnRule, since: int | None = None, is_still: bool = False, is_unfinished: bool = False
) -> Findings:
    """Check every rule. on_rule is told what is being checked. since: trust lines up to this number.

    The file's own check, the sums and the lines are looked at side by side, each on its own snapshot: every rule holds
    at every commit. is_still: nobody else has the file open; nothing is made beside it. is_unfinished: it
    may be a copy that is not a ledger yet. Raises Unreadable.
    """
    if not path.is_file():
        raise Unreadable(f"there is no ledger at {path}")
    try:
        with _snapshot(path, is_still=is_still) as db, ThreadPoolExecutor(2) as threads:
            if check_identity(db, is_unfinished=is_unfinished) == 0:
                raise Unreadable(f"{path} is empty")
            audit = LineAudit(first_place(db, since))
            file = threads.submit(_check_file, path, on_rule, is_still=is_still)
            rules = threads.submit(_check_rules, path, on_rule, is_still=is_still)
            lines = _check_lines(db, audit, on_rule)
            holds = _count_holds(db)
            violations = (*file.result(), *rules.result(), *lines)
    except (NotALedger, NoSuchLine) as error:
        raise Unreadable(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    return Findings(
        rules=len(RULES) + len(LINE_RULES) + len((FILE, REFERENCES, HOURS)),
        postings=audit.looked_at,
        holds=holds,
        unpriced=audit.unpriced,
        last_seq=audit.place.seq,
        last_digest=audit.place.chain.hex(),
        violations=violations,
    )


@contextmanager
def _snapshot(path: Path, *, is_still: bool) -> Iterator[sqlite3.Connection]:
    uri = f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if is_still else "")
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute("BEGIN")
        yield db


def _check_file(path: Path, on_rule: OnRule, *, is_still: bool) -> list[Violation]:
    with _snapshot(path, is_still=is_still) as db:
        found = _check(db, FILE, "PRAGMA integrity_check", on_rule)
        return [] if found is None else [found]


def _check_rules(path: Path, on_rule: OnRule, *, is_still: bool) -> list[Violation]:
    """What is proved needs no more; of the others, the rows that break them are looked for."""
    with _snapshot(path, is_still=is_still) as db:
        rules = {REFERENCES: "PRAGMA foreign_key_check", **RULES}
        certain = proved(db, on_rule)
        found = [_check(db, rule, rules[rule], on_rule) for rule in rules if rule not in certain]
        if HOURS not in certain:
            found.append(check_hours(db, on_rule))
        return [violation for violation in found if violation is not None]


def _check(db: sqlite3.Connection, rule: str, statement: str, on_rule: OnRule) -> Violation | None:
    on_rule(rule)
    try:
        cursor = db.execute(statement)
        names = [column[0] for column in cursor.description]
        rows = [row for row in (dict(zip(names, values, strict=True)) for values in cursor) if row != _SOUND]
    except sqlite3.DatabaseError as error:
        # A page that cannot be read breaks the rule that needs it: the others may still be told.
        rows = [{"unreadable": str(error)}]
    return Violation(rule=rule, count=len(rows), rows=rows[:MOST_ROWS]) if rows else None


def check_hours(db: Database, on_rule: OnRule) -> Violation | None:
    """Reports read sums kept by the hour: they have to be what detail comes to, wherever there is detail."""
    on_rule(HOURS)
    query = SpendQuery(since_ms=pruned_before(db), group_by=HOUR_DIMENSIONS)
    try:
        kept, detail = spend_by(db, query), spend_by(db, query, by_hour=False)
    except sqlite3.DatabaseError as error:
        return Violation(rule=HOURS, count=1, rows=[{"unreadable": str(error)}])
    rows = []
    for key in sorted({*kept, *detail}):
        if kept.get(key) != detail.get(key):
            place = dict(zip(HOUR_DIMENSIONS, key, strict=True))
            rows.append(place | {"kept": kept.get(key), "detail": detail.get(key)})
    return Violation(rule=HOURS, count=len(rows), rows=rows[:MOST_ROWS]) if rows else None


def _count_holds(db: sqlite3.Connection) -> int:
    try:
        (holds,) = db.execute("SELECT COUNT(*) FROM holds").fetchone()
    except sqlite3.DatabaseError:
        return 0  # Some rule has said so.
    return int(holds)


def _check_lines(db: sqlite3.Connection, audit: LineAudit, on_rule: OnRule) -> list[Violation]:
    try:
        newest = last_seq(db)
        audit.prepare(db)
        for _ in audit.look(db):
            on_rule(f"lines: {audit.place.seq:,} of {newest:,}")
    except sqlite3.DatabaseError as error:
        audit.broken.append((CHAIN, {"after_seq": audit.place.seq, "unreadable": str(error)}))
    return violations_of_lines(audit)


def violations_of_lines(audit: LineAudit) -> list[Violation]:
    """What an audit of lines found, by rule."""
    by_rule = groupby(sorted(audit.broken, key=itemgetter(0)), key=itemgetter(0))
    return [_violation(rule, [row for _, row in broken]) for rule, broken in by_rule]


def _violation(rule: str, rows: list[dict[str, Any]]) -> Violation:
    return Violation(rule=rule, count=len(rows), rows=rows[:MOST_ROWS])
