"""The audit: what was checked, and what was found broken. Engine apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ledger.errors import LedgerError


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that does not hold. rows: those that break it, at most MOST_ROWS; count: how many there are."""

    rule: str
    count: int
    rows: list[dict[str, Any]]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found. No violations: every rule holds. postings and holds: how many were looked at."""

    rules: int
    postings: int
    holds: int
    violations: tuple[Violation, ...]


def verify_ledger(url: str, *, on_rule: Callable[[str], None]) -> Findings:
    """Audit a ledger, read-only, on a snapshot: safe while a service writes to it.

    on_rule is told the name of each rule before it is checked. Raises Unreadable.
    """
    from ledger.sqlite.verify import verify_file

    return verify_file(Path(url.partition(":")[2]), on_rule=on_rule)


class Unreadable(LedgerError):
    """The file cannot be read as a ledger: missing, cut short, damaged, or something else."""

    code = "unreadable"
