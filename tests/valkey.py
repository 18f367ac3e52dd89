"""A real cache server for tests: Valkey's or Redis' own program, on a socket in a folder of its own."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from ledger.valkey.address import cache_server_of

PROGRAMS = ("valkey-server", "redis-server")
ANSWERS_WITHIN_S = 10


class Server:
    """A server that may be stopped, killed and started again. run: does one thing on it, beside the service."""

    def __init__(self, program, folder, settings, password, certificate):
        self._command = [program, "--port", "0", "--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
        self._command += [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        self._command += ["--requirepass", password] if password else []
        self._password = password
        self._socket = folder / "s"
        self._process = None
        self.tls_url = ""
        if certificate is not None:
            key, certificate = map(str, certificate)
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            self._command += ["--tls-port", str(port), "--tls-key-file", key, "--tls-cert-file", certificate]
            self._command += ["--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"]
            self.tls_url = f"rediss://127.0.0.1:{port}"

    @property
    def url(self):
        return f"unix://{f':{self._password}@' if self._password else ''}{self._socket}"

    async def start(self):
        # What a killed one left would be taken for this one's.
        self._socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            while not await self._listens():
                assert self._process.poll() is None, "it did not start"
                await asyncio.sleep(0.005)

    async def _listens(self):
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        writer.close()
        return True

    def kill(self):
        """Now, as if its machine went. What it kept is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self):
        """It says nothing any more, and nobody hangs up."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def run(self, *command):
        from valkey import Valkey

        address = {"unix_socket_path": str(self._socket), "password": self._password or None}
        with closing(Valkey(**address, socket_timeout=ANSWERS_WITHIN_S)) as client:
            return client.execute_command(*command)

    def names(self):
        return self.run("KEYS", "*")

    def flip(self):
        """One bit of everything that it keeps."""
        for name in self.names():
            last = self.run("GETRANGE", name, -1, -1)
            self.run("SETRANGE", name, self.run("STRLEN", name) - 1, bytes([last[0] ^ 1]))


@asynccontextmanager
async def a_cache_server(*, starts=True, password="", certificate=None, **settings):
    """A server that ends with the block. Skips the test where no such program, or no client for it, is installed.

    certificate: (key, certificate) for a second way in, by TLS; the first is a socket.
    """
    pytest.importorskip("valkey", reason="no client of cache servers here: pip install valkey")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no cache server here: apt-get install redis-server")
    # Not under pytest's own folder: the name of a socket may have a hundred letters.
    with tempfile.TemporaryDirectory(prefix="farthing-valkey-") as folder:
        server = Server(program, Path(folder), settings, password, certificate)
        try:
            if starts:
                await server.start()
            yield server
        finally:
            server.kill()


@asynccontextmanager
async def asked(url, *, timeout_s=5.0):
    """(a cache server as the ledger has it, what became of each request)."""
    module = pytest.importorskip("ledger.valkey.server", reason="no client of cache servers here: pip install valkey")
    outcomes = Counter()

    def tell(operation, outcome):
        outcomes[operation, outcome] += 1

    async with module.open_cache_server(cache_server_of(url), timeout_s=timeout_s, tell=tell) as bodies:
        yield bodies, outcomes
