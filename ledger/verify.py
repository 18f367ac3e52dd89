"""The audit: what was checked, and what was found broken. Engine apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ledger.errors import LedgerError, NotALedger
from ledger.url import is_on_server, server_of


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that does not hold. rows: those that break it, the first of many; count: how many there are."""

    rule: str
    count: int
    rows: list[dict[str, Any]]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found. No violations: every rule holds. postings and holds: how many were looked at.

    unpriced: lines whose price is not on record, so that their cost could not be checked. last_digest: of line
    last_seq, in hex: who keeps it elsewhere can prove later that no line up to it was changed.
    """

    rules: int
    postings: int
    holds: int
    unpriced: int
    last_seq: int
    last_digest: str
    violations: tuple[Violation, ...]


def verify_ledger(
    url: str, *, on_rule: Callable[[str], None], since: int | None = None, is_unfinished: bool = False
) -> Findings:
    """Audit a ledger, read-only, on a snapshot: safe while a service writes to it.

    on_rule is told what is being checked, on any thread. since: trust the lines up to this number and their digest, and
    look at those after it; sums are checked whole. is_unfinished: it may be a copy that is not a ledger yet. Raises
    Unreadable; or NoSuchLine, if there is no line `since`.
    """
    if is_on_server(url):
        try:
            address = server_of(url)
        except NotALedger as error:
            raise Unreadable(str(error)) from error
        from ledger.postgres.verify import verify_database

        return verify_database(address, on_rule=on_rule, since=since, is_unfinished=is_unfinished)
    from ledger.sqlite.verify import verify_file

    return verify_file(Path(url.partition(":")[2]), on_rule=on_rule, since=since, is_unfinished=is_unfinished)


class Unreadable(LedgerError):
    """The file cannot be read as a ledger: missing, cut short, damaged, or something else."""

    code = "unreadable"


class NoSuchLine(LedgerError):
    """The audit was to trust a line that is not there. Nothing was looked at.

    first_seq, last_seq: the numbers that it may begin after, where no line is missing; 0: the ledger's beginning.
    """

    code = "no_such_line"

    def __init__(self, seq: int, first_seq: int, last_seq: int) -> None:
        # All of it: a process that reads for another one has to be able to pass it on.
        super().__init__(seq, first_seq, last_seq)
        self.seq = seq
        self.first_seq = first_seq
        self.last_seq = last_seq

    def __str__(self) -> str:
        if self.seq > self.last_seq:
            why = f"the newest is {self.last_seq:,}; if there was one, this is an older copy, or newer lines were lost"
        elif self.seq < self.first_seq:
            why = f"those up to {self.first_seq:,} were folded away"
        else:
            why = f"it is missing from those up to {self.last_seq:,}"
        return f"there is no line {self.seq:,} to begin after: {why}"
