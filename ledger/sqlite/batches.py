"""A batch on SQLite: in one transaction, each work whole or not at all, and nothing acknowledged that was not kept."""

import contextlib
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from ledger.sqlite.postpone import MANY, add_up, postponing
from ledger.store.works import BatchLost, Spoilt, Work, run_works

TROUBLE: Final = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
})  # fmt: skip


def run_batch(db: sqlite3.Connection, works: Iterable[Work[Any]]) -> list[Any]:
    """Each work's result, or the exception that undid it. Raises BatchLost if SQLite undid or may have undone all.

    A savepoint for each work costs more than most of its statements, and hardly any work fails after it has written:
    so they run without, and where one does, the batch is given back and run again with. What a work reads and writes is
    in the database alone, so that nothing but time tells that it ran twice. What they spend is then added up work by
    work, too: what is too much for a sum undoes its own work and no other.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        try:
            results = run_works(db, postponing(db, works), _run_bare)
            if len(results) >= MANY:
                _add_up_bare(db)
        except Spoilt:
            db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            results = run_works(db, works, run_work)
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself: then there is nothing to.
            db.execute("ROLLBACK")
        raise BatchLost(unknown=False) from error
    try:
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise BatchLost(unknown=True) from error
    return results


def _run_bare(db: sqlite3.Connection, work: Work[Any]) -> object:
    """As `run_work`, without a savepoint. Raises Spoilt if the work failed after it had written."""
    written = db.total_changes
    try:
        result: object = work(db)
    except Exception as error:
        if _is_trouble(error):
            raise
        _check_open(db, error)
        if db.total_changes != written:
            raise Spoilt from error
        return error
    _check_open(db)
    return result


def _add_up_bare(db: sqlite3.Connection) -> None:
    """Add up what was postponed. Raises Spoilt if one of the works spent more than a sum can hold."""
    try:
        add_up(db)
    except sqlite3.Error as error:
        if _is_trouble(error):
            raise
        _check_open(db, error)
        raise Spoilt from error


def run_work(db: sqlite3.Connection, work: Work[Any]) -> object:
    """Its result, or the exception that undid it. Raises what SQLite failed with, which undoes the batch."""
    db.execute("SAVEPOINT work")
    try:
        result: object = work(db)
    except Exception as error:
        if _is_trouble(error):
            raise
        _check_open(db, error)
        db.execute("ROLLBACK TO work")
        db.execute("RELEASE work")
        return error
    _check_open(db)
    db.execute("RELEASE work")
    return result


def _check_open(db: sqlite3.Connection, error: Exception | None = None) -> None:
    """A full disk rolls back the whole batch, not the one statement: nothing of it may be acknowledged."""
    if not db.in_transaction:
        raise sqlite3.OperationalError(f"the batch was rolled back: {error}") from error


def _is_trouble(error: Exception) -> bool:
    """Whether the database failed, and not one transaction: SQLite's advice is then to give everything back."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return isinstance(error, sqlite3.Error) and code & 0xFF in TROUBLE
