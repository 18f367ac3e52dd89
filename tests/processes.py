"""The real service in processes of its own, for tests that need one: to kill, to drain, to share a ledger."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.forked import Forked, forked

FARTHING = str(Path(sys.executable).with_name("farthing"))
START_WITHIN_S = 30
# After its own end: for a drain of those that it started, and that have its output open.
OUTPUT_ENDS_WITHIN_S = 60
# What would configure the service from this machine's own environment.
OURS = (
    "OTEL_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "PRIMARY_", "FALLBACK_", "PREFERRED_", "LLM_", "CB_", "CIRCUIT_",
    "FARTHING_CONFIG", "FARTHING_WORKER",
)  # fmt: skip


class Service:
    """A running `farthing serve`. log: what it wrote to standard error so far."""

    def __init__(self, process: Process | Forked, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.http = session
        self.url = ""
        self.log = ""
        self._listening = asyncio.create_task(self._read_log())
        self._started = asyncio.Event()

    async def started(self) -> None:
        """Wait until it says where it listens."""
        async with asyncio.timeout(START_WITHIN_S):
            await self._started.wait()
        assert self.url, self.log

    async def generate(self, **body: Any) -> tuple[int, dict[str, Any]]:
        """POST /generate: status and JSON."""
        async with self.http.post(f"{self.url}/generate", json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def stream(self, **body: Any) -> bytes:
        """POST /generate: all that it streams. Raises aiohttp.ClientError where it breaks off."""
        async with self.http.post(f"{self.url}/generate", json={**body, "stream": True}) as answer:
            return await answer.content.read()

    async def get(self, path: str) -> Any:
        """GET as JSON."""
        async with self.http.get(self.url + path) as answer:
            return await answer.json(content_type=None)

    async def poll(self, path: str, holds, *, within_s: float = 30.0) -> Any:
        """GET until this holds of the answer."""
        async with asyncio.timeout(within_s):
            while not holds(found := await self.get(path)):
                await asyncio.sleep(0.05)
        return found

    async def logs(self, words: str, *, within_s: float = 20.0) -> None:
        """Wait until it has said this on standard error."""
        async with asyncio.timeout(within_s):
            while words not in self.log:
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """As if the power were cut for this process."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)

    def signal_group(self, number: int) -> None:
        """As Ctrl-C in a terminal: to it and to all that it started. Of an installed one."""
        os.killpg(self.process.pid, number)

    def terminate(self) -> None:
        """Ask it to drain and leave."""
        self.process.terminate()

    async def ended(self) -> int:
        """Wait for its end; its exit status. Raises TimeoutError where somebody that it started does not end."""
        status = await self.process.wait()
        async with asyncio.timeout(OUTPUT_ENDS_WITHIN_S):
            await self._listening
        return status

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            text = line.decode("utf-8", "replace")
            self.log += text
            if "listens on http" in text:
                self.url = next(word for word in text.split() if word.startswith("http"))
                self._started.set()
        self._started.set()


@asynccontextmanager
async def farthing_serve(
    folder: Path,
    *arguments: str,
    config: str | None = None,
    environ: Mapping[str, str] | None = None,
    installed: bool = False,
) -> AsyncIterator[Service]:
    """`farthing serve --port 0` in this folder, ready for calls. config: the text of its farthing.toml.

    installed: the command that users run, where its start is a part of what is tested; else a fork that does the same.
    """
    if config is not None:
        (folder / "farthing.toml").write_text(config, "utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    starting = _installed if installed else _forked
    async with (
        starting("serve", "--port", "0", *arguments, folder=folder, environ={**clean, **(environ or {})}) as process,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        service = Service(process, session)
        try:
            await service.started()
            yield service
        finally:
            service.kill()
            await service.ended()


async def run_farthing(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None, installed: bool = False
) -> tuple[int, str, str]:
    """A command, to its end: exit status, standard output, standard error. installed: as for `farthing_serve`."""
    starting = _installed if installed else _forked
    async with starting(*arguments, folder=folder, environ={**os.environ, **(environ or {})}) as process:
        out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
        return await process.wait(), out.decode(), err.decode()


def run_command(*arguments: str) -> None:
    """What a forked child does: `farthing …`."""
    from service.commands import main

    main(arguments, prog_name="farthing")


@asynccontextmanager
async def _installed(*arguments: str, folder: Path, environ: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        FARTHING, *arguments, cwd=folder, env=environ, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(OUTPUT_ENDS_WITHIN_S):
            await process.communicate()


@asynccontextmanager
async def a_process(*command: str, **options: Any) -> AsyncIterator[Process]:
    """Another program, killed with the block: whoever reads what a test run says would wait for one that stays."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _forked(*arguments: str, folder: Path, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Forked]:
    return forked(run_command, *arguments, folder=folder, environ=environ)


def one_route(url: str, *, more: str = "", limit_usd: str = "") -> str:
    """A config with one priced deployment `up:m` behind the route `chat`: $1 a million tokens in, $2 out."""
    ceiling = f'[[ceilings]]\nscope = "global"\nwindow = "month"\nlimit_usd = "{limit_usd}"\n' if limit_usd else ""
    return f"""
[[providers]]
name = "up"
dialect = "openai"
base_url = "{url}"
api_key = "sk-canary-of-the-provider"
[[models]]
id = "up:m"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
max_output_tokens = 1000
[[routes]]
name = "chat"
targets = ["up:m"]
{ceiling}
{more}
"""
