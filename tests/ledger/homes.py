"""Where a test keeps its ledger: a file or a database, looked at and meddled with in the same words."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from ledger.database import RuleBroken
from ledger.postgres.address import address_of
from ledger.postgres.connection import open_connection

# What meets whoever breaks a rule of the schema, and how each engine says which.
REFUSED = (sqlite3.IntegrityError, RuleBroken)
CHECKED = "CHECK constraint failed|violates check constraint"
UNIQUE = "UNIQUE constraint failed|violates unique constraint"
REFERS = "FOREIGN KEY constraint failed|violates foreign key constraint"


class SqliteHome:
    """A file in a folder of the test's own."""

    engine = "sqlite"

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "farthing.db"
        self.url = f"sqlite:{self.path}"

    @contextmanager
    def database(self, *, ruled=True):
        """A connection beside the ledger's, on which each statement is a transaction. ruled: by the schema."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute(f"PRAGMA foreign_keys = {int(ruled)}")
            triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers if not ruled else ():
                db.execute(f"DROP TRIGGER {name}")
            yield db
            for _, sql in triggers if not ruled else ():
                db.execute(sql)


class PostgresHome:
    """A database on the run's server."""

    engine = "postgresql"

    def __init__(self, server, name):
        self.server = server
        self.name = name
        self.url = server.url(name)
        self.is_altered = False

    @contextmanager
    def database(self, *, ruled=True):
        """As of a SqliteHome. Not on the test's thread, whose loop may run."""
        with ThreadPoolExecutor(1) as thread:
            yield _Meddler(self, thread, "origin" if ruled else "replica")


class _Meddler:
    def __init__(self, home, thread, role):
        self._home = home
        self._thread = thread
        self._role = role

    def execute(self, sql, parameters=()):
        if sql.lstrip().upper().startswith(("DROP", "ALTER", "CREATE")):
            self._home.is_altered = True
        return self._thread.submit(asyncio.run, self._run(lambda db: db.execute(sql, parameters))).result()

    def executemany(self, sql, parameters):
        return self._thread.submit(asyncio.run, self._run(lambda db: db.executemany(sql, parameters))).result()

    async def _run(self, work):
        async with open_connection(address_of(self._home.url)) as connection:
            await connection.run(lambda db: db.run_script(f"SET session_replication_role = {self._role}"))
            return await connection.run(work)
