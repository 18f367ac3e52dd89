"""The two ends of a copy that are databases on a server: see `ledger.copying`."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from ledger.copying import CopyRefused
from ledger.database import Database
from ledger.errors import NotALedger
from ledger.operations import unfinished
from ledger.operations.rows import Row, Table
from ledger.postgres.address import Address
from ledger.postgres.connection import Connection, Session, open_blocking_connection
from ledger.postgres.failures import ServerFailed
from ledger.postgres.migrate import check_current, check_identity, check_server, known_here, lock_schema, make_schema
from ledger.postgres.months import SQL as MONTHS
from ledger.postgres.words import storable

Result = TypeVar("Result")

# Tables that were filled a moment ago are ones that the server knows nothing of yet, and it would sort them again for
# every range of their rows: along the index of their key they are in order. Reading may take as long as it takes.
SNAPSHOT: Final = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL enable_sort = off;
SET LOCAL enable_incremental_sort = off;
SET LOCAL jit = off;
"""
BEGIN: Final = """
BEGIN;
SET LOCAL synchronous_commit = on;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '10s';
SET LOCAL jit = off;
"""
SILENCE_S: Final = 3600.0
_TABLES_WITH_RULES: Final = """
SELECT DISTINCT c.relname
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE NOT t.tgisinternal AND NOT c.relispartition
   AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
"""
_COUNTING_COLUMNS: Final = """
SELECT table_name, column_name
  FROM information_schema.columns
 WHERE table_schema = current_schema() AND is_identity = 'YES'
"""


class ServerSource:
    """A ledger's database, read on one snapshot."""

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._address = address

    def read(self, work: Callable[[Database], Result]) -> Result:
        """Run `work` on that moment."""

        def on_snapshot(db: Session) -> Result:
            if not db.in_transaction:
                raise ServerFailed("the server gave the snapshot up")
            return work(db)

        return self._connection.run_blocking(on_snapshot)


@contextmanager
def open_source(address: Address) -> Iterator[ServerSource]:
    """A ledger as it is now. Raises NotALedger."""

    def begin(db: Session) -> None:
        db.run_script(SNAPSHOT)
        check_current(db)

    with open_blocking_connection(address, silence_s=SILENCE_S) as connection:
        _first(connection, begin, address)
        yield ServerSource(connection, address)


class ServerTarget:
    """A database that a copy is made in. Made by `open_target`."""

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._address = address
        self._taker = secrets.token_hex(8)

    def read(self, work: Callable[[Database], Result]) -> Result:
        def in_snapshot(db: Session) -> Result:
            db.run_script(SNAPSHOT)
            try:
                return work(db)
            finally:
                db.run_script("ROLLBACK")

        return self._connection.run_blocking(in_snapshot)

    def begun(self) -> str | None:
        def find(db: Session) -> str | None:
            check_server(db)
            return self._begun(db)

        return _first(self._connection, find, self._address)

    def begin(self, mark: str, copied: tuple[Table, ...], *, now_ms: int) -> None:
        def make(db: Session) -> None:
            lock_schema(db)
            if self._begun(db) is not None:
                raise CopyRefused(f"another copy to {self._address.shown} has just begun")
            make_schema(db, known_here())
            # What came in a month that has no tables of its own by then would never lie in any.
            db.execute(MONTHS["make_months"], {"now_ms": now_ms})
            _set_rules(db, "DISABLE")
            for table in copied:
                db.execute(f'DELETE FROM "{table.name}"')  # noqa: S608  # The schema's own names.
            unfinished.make(db, mark=mark, taker=self._taker)

        self._write(make)

    def take_over(self) -> None:
        def take(db: Session) -> None:
            if check_identity(db, is_unfinished=True) != len(known_here()):
                raise CopyRefused(
                    "the copy was begun by another farthing: drop and create the database, and begin anew"
                )
            unfinished.take_over(db, taker=self._taker)

        self._write(take)

    def storable(self, rows: list[Row]) -> list[Row]:
        return [tuple(map(storable, row)) for row in rows]

    def add(self, table: Table, rows: list[Row]) -> None:
        self._write_ours(lambda db: db.add_rows(table.name, table.columns, rows))

    def add_no_more(self) -> None:
        def settle_down(db: Session) -> None:
            db.execute(MONTHS["follow_newest_line"])
            db.run_script("ANALYZE")

        self._write_ours(settle_down)

    def finish(self) -> None:
        def end(db: Session) -> None:
            _set_rules(db, "ENABLE")
            for table, column in db.execute(_COUNTING_COLUMNS).fetchall():
                _count_on(db, table, column)
            unfinished.end(db)

        self._write_ours(end)

    def _begun(self, db: Session) -> str | None:
        if check_identity(db, is_unfinished=True) == 0:
            return None
        if not _is_unfinished(db):
            raise NotALedger(f"there is a ledger in {self._address.shown}: a copy needs an empty database, make one")
        return unfinished.mark_of(db)

    def _write_ours(self, work: Callable[[Session], object]) -> None:
        def check_and_work(db: Session) -> None:
            if not (_is_unfinished(db) and unfinished.is_taken_by(db, taker=self._taker)):
                raise CopyRefused(f"another copy to {self._address.shown} has begun since: this one ends")
            work(db)

        self._write(check_and_work)

    def _write(self, work: Callable[[Session], object]) -> None:
        def in_transaction(db: Session) -> None:
            db.run_script(BEGIN)
            try:
                work(db)
            except ServerFailed:
                raise  # The server rolls back what it can no longer be asked to.
            except BaseException:
                db.run_script("ROLLBACK")
                raise
            db.run_script("COMMIT")

        self._connection.run_blocking(in_transaction)


@contextmanager
def open_target(address: Address) -> Iterator[ServerTarget]:
    """A database to copy to."""
    with open_blocking_connection(address, silence_s=SILENCE_S) as connection:
        yield ServerTarget(connection, address)


def _first(connection: Connection, work: Callable[[Session], Result], address: Address) -> Result:
    """What is asked of the server first. Raises NotALedger if it does not answer."""
    try:
        return connection.run_blocking(work)
    except ServerFailed as error:
        raise NotALedger(f"{address.shown} cannot be reached: {error}") from error


def _is_unfinished(db: Session) -> bool:
    return db.execute(f"SELECT to_regclass('{unfinished.TABLE}') IS NOT NULL").fetchone() == (True,)


def _set_rules(db: Session, how: str) -> None:
    """Have the triggers sleep or wake, which the owner of a table may do. References and checks never sleep."""
    for (table,) in db.execute(_TABLES_WITH_RULES).fetchall():
        db.run_script(f'ALTER TABLE "{table}" {how} TRIGGER USER')


def _count_on(db: Session, table: str, column: str) -> None:
    """A column that the server numbers by itself goes on after the highest number that was copied."""
    db.execute(
        f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), COALESCE(MAX(\"{column}\"), 1), "  # noqa: S608  # The schema's own names.
        f'MAX("{column}") IS NOT NULL) FROM "{table}"'
    )
