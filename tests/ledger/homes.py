"""Where a test keeps its ledger: a file or a database, looked at and meddled with in the same words."""

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from types import MappingProxyType

from ledger.database import RuleBroken
from ledger.postgres.address import address_of
from ledger.postgres.connection import open_blocking_connection

# What meets whoever breaks a rule of the schema, and how each engine says which.
REFUSED = (sqlite3.IntegrityError, RuleBroken)
CHECKED = "CHECK constraint failed|violates check constraint"
UNIQUE = "UNIQUE constraint failed|violates unique constraint"
REFERS = "FOREIGN KEY constraint failed|violates foreign key constraint"


class Home:
    """Either of them. folder: where a service on it runs. config, environ: what that needs to find it."""

    def rows(self, sql, parameters=()):
        """What is committed."""
        with self.database() as db:
            return db.execute(sql, parameters).fetchall()

    async def until(self, sql, holds, *, within_s):
        """Look at what is committed until this holds of it: on one connection, for each costs more than a look."""
        with self.database() as db:
            async with asyncio.timeout(within_s):
                while not holds(db.execute(sql).fetchall()):
                    await asyncio.sleep(0.02)


class SqliteHome(Home):
    """A file in a folder of the test's own, where a service finds it."""

    engine = "sqlite"
    config = ""
    environ = MappingProxyType({})

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "farthing.db"
        self.url = f"sqlite:{self.path}"

    def anew(self):
        """Forget what was kept here: nobody has it open any more, and the next ledger is made anew."""
        for file in self.folder.glob(f"{self.path.name}*"):
            file.unlink()

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


class PostgresHome(Home):
    """A database on the run's server."""

    engine = "postgresql"
    environ = MappingProxyType({"FARTHING_PEPPER": "a pepper that tests keep to themselves"})

    def __init__(self, server, name, folder=None):
        self.server = server
        self.name = name
        self.folder = folder
        self.url = server.url(name)
        self.config = f'[ledger]\nurl = "{self.url}"\n'
        self.is_altered = False

    def anew(self):
        """As of a SqliteHome."""
        self.server.wipe(self.name)

    @contextmanager
    def database(self, *, ruled=True):
        """As of a SqliteHome. Not on the test's thread, whose loop may run."""
        with open_blocking_connection(address_of(self.url)) as connection:
            role = "origin" if ruled else "replica"
            connection.run_blocking(lambda db: db.run_script(f"SET session_replication_role = {role}"))
            yield _Meddler(self, connection)


class _Meddler:
    def __init__(self, home, connection):
        self._home = home
        self._connection = connection

    def execute(self, sql, parameters=()):
        if sql.lstrip().upper().startswith(("DROP", "ALTER", "CREATE")):
            self._home.is_altered = True
        return self._connection.run_blocking(lambda db: db.execute(sql, parameters))

    def executemany(self, sql, parameters):
        return self._connection.run_blocking(lambda db: db.executemany(sql, parameters))
