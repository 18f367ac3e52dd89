"""A real PgBouncer for tests, which lends the run's server's connections by transactions."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

ANSWERS_WITHIN_S = 10
# At a socket: no port has to be free.
PORT = 6432
SETTINGS = """
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
server_reset_query =
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
pidfile = {folder}/pid
"""


class Pooler:
    """A running pooler. url: of a database behind it, for a driver that prepares no statements."""

    def __init__(self, folder, server):
        self._folder = folder
        self._server = server

    def url(self, database):
        return f"postgresql://postgres@/{database}?host={quote(str(self._folder))}&port={PORT}&statement_cache_size=0"


@asynccontextmanager
async def a_pooler(server, *, connections=4):
    """A pooler before this server, which lends so many connections. Skips the test where there is no such program."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("no PgBouncer here: apt-get install pgbouncer")
    with tempfile.TemporaryDirectory(prefix="farthing-pooler-") as name:
        folder = Path(name)
        # It refuses to run as root, and so does the server whose user it can be.
        folder.chmod(0o777)
        settings = folder / "ini"
        settings.write_text(
            SETTINGS.format(server=server.folder, folder=folder, port=PORT, connections=connections), "utf-8"
        )
        user = server.system_user
        process = subprocess.Popen(
            [program, "-q", settings], user=user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                while not (folder / f".s.PGSQL.{PORT}").exists():
                    assert process.poll() is None, (folder / "log").read_text("utf-8")
                    await asyncio.sleep(0.01)
            yield Pooler(folder, server)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
