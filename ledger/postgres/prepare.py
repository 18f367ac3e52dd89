"""What a migration would take long for is done before its transaction, so that its locks are held for a moment only.

Of a ledger of a million calls the server reads all ids in a second of its time, and holds up nobody; the migration that
puts them in months then has its locks for a tenth of one, as of any other ledger.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from ledger.database import RuleBroken
from ledger.postgres.connection import Session
from ledger.postgres.failures import ServerFailed
from ledger.postgres.patience import LOCK_MS, patiently
from ledger.sql import statements

SQL: Final = statements("postgres", "prepare")
# The migration that puts calls in months has to know that every id there is belongs before one of them.
MONTHS: Final = 4
# Reading all of a ledger once. It would not be cut off by a limit of the server's own.
_READING_S: Final = 4 * 3600.0


@contextmanager
def prepared(db: Session, *, after: int) -> Iterator[None]:
    """Do it for the migration after this number, which the block applies; undo it if the block fails."""
    if after != MONTHS - 1:
        yield
        return
    patiently(partial(_run, db, "promise_months"), "what goes before a migration")
    try:
        _run(db, "prove_months")
        yield
    except BaseException:
        with suppress(ServerFailed, RuleBroken):
            _run(db, "withdraw_months")
        raise


def _run(db: Session, name: str) -> None:
    limits = f"SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = 0"
    try:
        db.run_script(f"BEGIN; {limits}; {SQL[name]}; COMMIT", within_s=_READING_S)
    except (ServerFailed, RuleBroken):
        if db.in_transaction:
            db.run_script("ROLLBACK")
        raise
