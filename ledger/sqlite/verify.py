"""Audits a ledger file, read-only, on a snapshot: safe while the service writes."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from ledger.errors import NotALedger
from ledger.sql import statements
from ledger.sqlite.migrate import check_identity
from ledger.verify import Findings, Unreadable, Violation

RULES: Final = statements("sqlite", "verify")
MOST_ROWS: Final = 20


def verify_file(path: Path, *, on_rule: Callable[[str], None]) -> Findings:
    """Check every rule. on_rule is told the name of each before it is checked. Raises Unreadable."""
    if not path.is_file():
        raise Unreadable(f"there is no ledger at {path}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("BEGIN")
            version = check_identity(db)
            if version == 0:
                raise Unreadable(f"{path} is empty")
            return _verify(db, on_rule)
    except NotALedger as error:
        raise Unreadable(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error


def _verify(db: sqlite3.Connection, on_rule: Callable[[str], None]) -> Findings:
    violations: list[Violation] = []
    for rule, pragma in (("the file is sound", "integrity_check"), ("references lead somewhere", "foreign_key_check")):
        on_rule(rule)
        rows = [row for row in _rows(db.execute(f"PRAGMA {pragma}")) if row != {"integrity_check": "ok"}]
        _note(violations, rule, rows)
    for rule, statement in RULES.items():
        on_rule(rule)
        _note(violations, rule, _rows(db.execute(statement)))
    (postings,) = db.execute("SELECT COUNT(*) FROM postings").fetchone()
    (holds,) = db.execute("SELECT COUNT(*) FROM holds").fetchone()
    return Findings(rules=len(RULES) + 2, postings=postings, holds=holds, violations=tuple(violations))


def _note(violations: list[Violation], rule: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        violations.append(Violation(rule=rule, count=len(rows), rows=rows[:MOST_ROWS]))


def _rows(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
