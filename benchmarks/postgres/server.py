"""A PostgreSQL server for measurements, and an empty database on it for each."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from benchmarks.peers import postgres
from benchmarks.processes import Process
from ledger.postgres.connection import run_to_end


class Server(msgspec.Struct, frozen=True):
    """A server that runs. url: of its first database; process: it and all that it started."""

    url: str
    process: Process

    def new_database(self, name: str) -> str:
        """Make one, and return its URL."""
        run_to_end(_execute(self.url, f"CREATE DATABASE {name}"))
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server with its data in this folder and its settings as it comes, fsync included."""
    with postgres.running(folder, python=sys.executable) as url:
        pid = int((folder / "postmaster.pid").read_text("utf-8").split()[0])
        yield Server(url, Process(pid, 0))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
