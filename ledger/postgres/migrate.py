"""Bring a database to the schema of this version, or say why that cannot be."""

from typing import Final

from ledger.errors import NotALedger
from ledger.operations import unfinished
from ledger.postgres.connection import Session
from ledger.postgres.prepare import prepared
from ledger.sql import migrations

OLDEST_SERVER: Final = 130000
# A lease of 15 s that is renewed every 5 s has 10 s to spare, for two replicas that are wrong in opposite ways.
MOST_SKEW_MS: Final = 5000
# Whoever makes or changes the schema holds this lock: the first start has no row yet that could be locked.
_SCHEMA_LOCK: Final = int.from_bytes(b"Ledg")


def migrate(db: Session) -> None:
    """Apply what is missing, all of it in one transaction. Raises NotALedger and changes nothing otherwise."""
    check_server(db)
    version = check_identity(db)
    if version == len(migrations("postgres")):
        return
    with prepared(db, after=version):
        db.run_script("BEGIN; SET LOCAL lock_timeout = '10s'")
        try:
            lock_schema(db)
            make_schema(db, after=check_identity(db))
        except BaseException:
            db.run_script("ROLLBACK")
            raise
        db.run_script("COMMIT")


def lock_schema(db: Session) -> None:
    """Keep all others from making or changing the schema until this transaction is over."""
    db.run_script(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")


def make_schema(db: Session, *, after: int = 0) -> None:
    """Apply all migrations after this one, within the caller's transaction. Raises NotALedger."""
    (may_create,) = db.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')").fetchone() or (False,)
    if not may_create:
        raise NotALedger("this role may not make tables in the database: start once as its owner, or grant it CREATE")
    for number, script in migrations("postgres"):
        if number > after:
            db.run_script(script)
            db.execute("UPDATE ledger_turn SET version = :number WHERE id = 1", {"number": number})


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


def check_identity(db: Session, *, is_unfinished: bool = False) -> int:
    """The schema version of the database, 0 for an empty one. Raises NotALedger for a foreign or a newer one.

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
    (version,) = db.execute("SELECT version FROM ledger_turn WHERE id = 1").fetchone() or (0,)
    newest = len(migrations("postgres"))
    if version > newest:
        raise NotALedger(f"the ledger is at schema {version}, this farthing knows {newest}: install a newer farthing")
    if has_marker and not is_unfinished:
        raise NotALedger(unfinished.WORDS)
    return int(version)
