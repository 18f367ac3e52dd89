"""Bring a database file to the schema of this version, or say why that cannot be."""

import sqlite3
from typing import Final

from ledger.database import Database
from ledger.errors import NotALedger
from ledger.operations import unfinished
from ledger.sql import migrations, schema

# Written into the file's header, so that a foreign database is never taken for a ledger.
APPLICATION_ID: Final = int.from_bytes(b"Ledg")


def migrate(db: sqlite3.Connection) -> None:
    """Apply what is missing, all of it in one transaction. Raises NotALedger and changes nothing otherwise."""
    db.execute("BEGIN IMMEDIATE")
    try:
        newest = len(migrations("sqlite"))
        for script in scripts(since=check_identity(db), to=newest):
            run_script(db, script)
        db.execute(f"PRAGMA user_version = {newest}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    except BaseException:
        if db.in_transaction:  # A failing disk has SQLite roll back by itself.
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def scripts(*, since: int, to: int) -> list[str]:
    """What brings a file from one version to another; 0 is an empty file.

    To the newest from nothing it is the schema itself, which takes a quarter of the time of every step that led there.
    """
    numbered = migrations("sqlite")
    if since == 0 and to == len(numbered):
        return [schema("sqlite")]
    return [script for number, script in numbered if since < number <= to]


def check_identity(db: Database, *, is_unfinished: bool = False) -> int:
    """The schema version of the file, 0 for an empty one. Raises NotALedger for a foreign or a newer file.

    is_unfinished: a copy that is not whole passes as well, which is no ledger to anybody else.
    """
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    newest = len(migrations("sqlite"))
    if application_id != APPLICATION_ID and tables:
        raise NotALedger("the file is a database of something else: choose another path for the ledger")
    if version > newest:
        raise NotALedger(f"the ledger is at schema {version}, this farthing knows {newest}: install a newer farthing")
    if unfinished.TABLE in tables and not is_unfinished:
        raise NotALedger(unfinished.WORDS)
    return int(version)


def run_script(db: sqlite3.Connection, script: str) -> None:
    """Statement by statement: executescript() would commit the open transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
    assert not statement.strip() or all(line.startswith("--") for line in statement.strip().splitlines())
