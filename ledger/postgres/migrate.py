"""Bring a database to the schema of this version, or say why that cannot be.

Replicas are replaced one by one, so for a while code of two versions runs on one schema, the newer's. An **epoch** is a
version of the schema; code is of the epoch of the newest migration it knows. Each migration says the oldest epoch that
is right beside it (`ledger.sql.oldest_beside`), and the database keeps it: code that the schema has left behind is
refused when it starts, and in the transaction of the first batch after (`guard`), before it can do anything wrong.

Calls go on meanwhile. Each migration is a transaction of its own, in its turn among the batches, and none waits for a
table for longer than LOCK_MS: whatever waits behind it, waits no longer than that. Then it gives way, and comes back.
How long it takes once it has its tables is for its author to see to: less than a second, however large the ledger is.
"""

import logging
from functools import partial
from typing import Final

from ledger.database import RuleBroken
from ledger.errors import NotALedger
from ledger.operations import unfinished
from ledger.postgres.connection import Session
from ledger.postgres.failures import ServerFailed
from ledger.postgres.patience import LOCK_MS, patiently
from ledger.postgres.prepare import prepared
from ledger.sql import Migrations, migrations, oldest_beside

OLDEST_SERVER: Final = 130000
# A lease of 15 s that is renewed every 5 s has 10 s to spare, for two replicas that are wrong in opposite ways.
MOST_SKEW_MS: Final = 5000
# Whoever makes or changes the schema holds this lock: the first start has no row yet that could be locked.
_SCHEMA_LOCK: Final = int.from_bytes(b"Ledg")
# Before a `guard`, for who has no turn: nobody changes the schema until this transaction is over. Many may hold it.
SCHEMA_STAYS: Final = f"SELECT pg_advisory_xact_lock_shared({_SCHEMA_LOCK})"
# Of a schema from before there were epochs, too, which has no such column.
_OLDEST: Final = "version - COALESCE(CAST(to_jsonb(ledger_turn) ->> 'behind' AS bigint), 0)"
_ADMIT: Final = """
UPDATE ledger_turn
   SET version = :number, behind = CAST(:number AS bigint) - GREATEST(version - behind, CAST(:oldest AS bigint))
 WHERE id = 1
"""

log = logging.getLogger(__name__)


def known_here() -> Migrations:
    """The schema that this code knows."""
    return migrations("postgres")


def guard(known: Migrations) -> str:
    """A statement over the turn's row that fails (RuleBroken) where the schema has left this code behind.

    By a division by zero: what else ends a message of many statements wants a function of our own, at every batch.
    """
    return f"SELECT 1 / CAST({_OLDEST} <= {len(known)} AS integer) FROM ledger_turn WHERE id = 1"  # noqa: S608  # A number.


def begin_guarded(db: Session, script: str, *, within_s: float | None = None) -> None:
    """Begin a transaction by a script that has a `guard` in it. Raises ServerFailed; then nothing has begun.

    Raises NotALedger where the schema has left this code behind.
    """
    try:
        db.run_script(script, within_s=within_s)
    except RuleBroken as error:
        db.run_script("ROLLBACK")
        check_identity(db)
        raise ServerFailed("the ledger's schema was changed at this moment") from error


def migrate(db: Session, known: Migrations | None = None) -> None:
    """Apply what is missing. Raises NotALedger, and ServerFailed if it had to give way for too long.

    known: what this code knows, if not what is in `sql/postgres/migrations`.
    """
    known = known_here() if known is None else known
    check_server(db)
    while (version := check_identity(db, known)) < len(known):
        with prepared(db, after=version):
            patiently(partial(_apply_next, db, known), f"migration {version + 1}")
    if version > len(known):
        log.warning(
            "the ledger's schema is %d, newer than this farthing's %d, which may go on beside it", version, len(known)
        )


def _apply_next(db: Session, known: Migrations) -> None:
    db.run_script(f"BEGIN; SET LOCAL lock_timeout = {LOCK_MS}")
    try:
        lock_schema(db)
        after = check_identity(db, known)
        if after:
            db.execute("SELECT version FROM ledger_turn WHERE id = 1 FOR UPDATE")
        make_schema(db, known[after : after + 1])
    except BaseException:
        db.run_script("ROLLBACK")
        raise
    db.run_script("COMMIT")


def lock_schema(db: Session) -> None:
    """Keep all others from making or changing the schema until this transaction is over."""
    db.run_script(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")


def make_schema(db: Session, missing: Migrations) -> None:
    """Apply these migrations, the next ones, within the caller's transaction. Raises NotALedger."""
    (may_create,) = db.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')").fetchone() or (False,)
    if not may_create:
        raise NotALedger("this role may not make tables in the database: start once as its owner, or grant it CREATE")
    for number, script in missing:
        db.run_script(script)
        (has_epochs,) = db.execute(
            "SELECT to_jsonb(ledger_turn) ->> 'behind' IS NOT NULL FROM ledger_turn"
        ).fetchone() or (False,)
        if has_epochs:
            db.execute(_ADMIT, {"number": number, "oldest": oldest_beside(number, script)})
        else:
            db.execute("UPDATE ledger_turn SET version = :number WHERE id = 1", {"number": number})


def check_current(db: Session) -> None:
    """Raise NotALedger unless the schema is this code's own: what reads or folds all of it is right on no other."""
    version, newest = check_identity(db), len(known_here())
    if version > newest:
        raise NotALedger(
            f"the ledger is at schema {version}, this farthing knows {newest}: do it with a newer farthing"
        )
    if version < newest:
        raise NotALedger("there is no ledger in the database, or one of an older farthing: start the service once")


def check_server(db: Session) -> None:
    """Raise NotALedger for a server that no ledger can be written to."""
    row = db.execute(
        "SELECT CAST(current_setting('server_version_num') AS integer), current_setting('server_encoding'), "
        "pg_is_in_recovery(), current_setting('transaction_read_only')"
    ).fetchone()
    assert row is not None
    number, encoding, is_standby, read_only = row
    if number < OLDEST_SERVER:
        raise NotALedger(
            f"the server is PostgreSQL {number // 10000}: a ledger needs {OLDEST_SERVER // 10000} or newer"
        )
    if encoding != "UTF8":
        raise NotALedger(f"the database's encoding is {encoding}: make one with ENCODING 'UTF8'")
    if is_standby:
        raise NotALedger("the server is a read-only standby: give the address of the primary")
    if read_only == "on":
        raise NotALedger("the database takes no writes from this role (default_transaction_read_only is on)")


def check_clock(db: Session, *, now_ms: int) -> None:
    """Raise NotALedger where this machine's clock and the server's are too far apart for leases."""
    row = db.execute("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)").fetchone()
    assert row is not None
    ahead_ms = now_ms - row[0]
    if abs(ahead_ms) > MOST_SKEW_MS:
        way = "ahead of" if ahead_ms > 0 else "behind"
        raise NotALedger(
            f"this machine's clock is {abs(ahead_ms) / 1000:.0f} s {way} the server's, and replicas tell by it who of "
            "them is alive: have both set by NTP"
        )


def check_identity(db: Session, known: Migrations | None = None, *, is_unfinished: bool = False) -> int:
    """The schema version of the database, 0 for an empty one.

    Raises NotALedger for a foreign one, and for one that has left behind what this code knows (known: as of `migrate`).
    is_unfinished: a copy that is not whole passes as well, which is no ledger to anybody else.
    """
    row = db.execute(
        f"SELECT to_regclass('ledger_turn') IS NOT NULL, to_regclass('{unfinished.TABLE}') IS NOT NULL, "  # noqa: S608
        "(SELECT COUNT(*) FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace = "
        "(SELECT oid FROM pg_namespace WHERE nspname = current_schema()))"
    ).fetchone()
    assert row is not None
    is_ledger, has_marker, tables = row
    if not is_ledger and tables:
        raise NotALedger("the database is of something else: make one for the ledger alone")
    if not is_ledger:
        return 0
    if not db.execute(
        "SELECT has_table_privilege('ledger_turn', 'SELECT') AND has_table_privilege('postings', 'INSERT')"
    ).fetchone() == (True,):
        raise NotALedger("this role may not write to the ledger's tables: take the role that made them, or grant it")
    found = db.execute(f"SELECT version, {_OLDEST} FROM ledger_turn WHERE id = 1").fetchone()  # noqa: S608  # A constant.
    version, oldest = found or (0, 0)
    newest = len(known_here() if known is None else known)
    if oldest > newest:
        beside = f", and no older than {oldest} may run on it" if oldest < version else ""
        raise NotALedger(
            f"the ledger is at schema {version}{beside}; this farthing knows {newest}: install a newer farthing"
        )
    if has_marker and not is_unfinished:
        raise NotALedger(unfinished.WORDS)
    return int(version)
