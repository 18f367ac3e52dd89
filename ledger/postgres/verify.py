"""Audits a ledger on PostgreSQL, read-only, on a snapshot: safe while services write."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ledger.database import named
from ledger.errors import NotALedger
from ledger.operations.lines import LineAudit, first_place, last_seq
from ledger.postgres.address import Address
from ledger.postgres.connection import Session, open_connection, run_to_end
from ledger.postgres.failures import ServerFailed
from ledger.postgres.migrate import check_identity
from ledger.sql import statements
from ledger.sqlite.proofs import HOURS, REFERENCES
from ledger.sqlite.verify import LINE_RULES, MOST_ROWS, RULES, check_hours, violations_of_lines
from ledger.verify import Findings, Unreadable, Violation

OnRule = Callable[[str], None]

OWN: Final = statements("postgres", "verify")
# An audit may take as long as it takes. Pages the server looks after by itself.
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0"
SILENCE_S: Final = 3600.0


def verify_database(
    address: Address, *, on_rule: OnRule, since: int | None = None, is_unfinished: bool = False
) -> Findings:
    """Check every rule. on_rule is told which one. since: trust lines up to this number.

    is_unfinished: it may be a copy that is not a ledger yet. Raises Unreadable, or NoSuchLine.
    """

    async def run() -> Findings:
        async with open_connection(address, silence_s=SILENCE_S) as connection:
            return await connection.run(lambda db: _verify(db, on_rule, since, is_unfinished=is_unfinished))

    try:
        return run_to_end(run())
    except ServerFailed as error:
        raise Unreadable(f"{address.shown} cannot be read: {error}") from error
    except NotALedger as error:
        raise Unreadable(str(error)) from error


def _verify(db: Session, on_rule: OnRule, since: int | None, *, is_unfinished: bool) -> Findings:
    db.run_script(SNAPSHOT)
    try:
        if check_identity(db, is_unfinished=is_unfinished) == 0:
            raise Unreadable("there is no ledger in the database yet")
        audit = LineAudit(first_place(db, since))
        rules = {**RULES, REFERENCES: OWN[REFERENCES]}
        found = [_check(db, rule, statement, on_rule) for rule, statement in rules.items()]
        on_rule(HOURS)
        found.append(check_hours(db))
        newest = last_seq(db)
        for _ in audit.look(db):
            on_rule(f"lines: {audit.place.seq:,} of {newest:,}")
        (holds,) = db.execute("SELECT COUNT(*) FROM holds").fetchone() or (0,)
    finally:
        with suppress(ServerFailed):
            db.run_script("ROLLBACK")
    return Findings(
        rules=len(RULES) + len(LINE_RULES) + len((REFERENCES, HOURS)),
        postings=audit.looked_at,
        holds=holds,
        unpriced=audit.unpriced,
        last_seq=audit.place.seq,
        last_digest=audit.place.chain.hex(),
        violations=(*(violation for violation in found if violation is not None), *violations_of_lines([audit])),
    )


def _check(db: Session, rule: str, statement: str, on_rule: OnRule) -> Violation | None:
    on_rule(rule)
    rows = named(db.execute(statement))
    return Violation(rule=rule, count=len(rows), rows=rows[:MOST_ROWS]) if rows else None
