"""One life of the child process, seen from the parent."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from router.providers.local.handover import ChildSettings, Serving

# Reading tens of gigabytes from a slow disk is a start, not a hang.
START_WITHIN_S: Final = 600.0
STOP_WITHIN_S: Final = 3.0
LAST_WORDS_WITHIN_S: Final = 1.0
MAX_LINES: Final = 50
MAX_LINE_BYTES: Final = 500
_READ_BYTES: Final = 65_536
# How often a thread of the model looks for the others before it sleeps, several hundred times a token. By itself
# libgomp looks for milliseconds: while one of them waits for a core that another program has (this service, say), a
# token took ten times as long. A thousand costs nothing on idle cores, and is what libgomp takes where it knows of more
# threads than cores. Source: GCC's manual of libgomp, GOMP_SPINCOUNT. What the operator has set stands.
ENVIRONMENT: Final = {"GOMP_SPINCOUNT": "1000"}


class NotServing(Exception):
    """The child ended, or was given up, before it served."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended. status: its exit status, or minus the signal that killed it."""

    status: int
    last_words: str


class LastLines:
    """The last lines that were written, each cut to MAX_LINE_BYTES."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=MAX_LINES)
        self._unfinished = b""

    def feed(self, data: bytes) -> None:
        """Take what was written next, split anywhere."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._lines.append((self._unfinished + line)[:MAX_LINE_BYTES])
            self._unfinished = b""
        self._unfinished = (self._unfinished + rest)[:MAX_LINE_BYTES]

    def text(self) -> str:
        """All that is kept, a line that has no end yet included."""
        lines = [*self._lines, self._unfinished] if self._unfinished else list(self._lines)
        return "\n".join(line.decode("utf-8", "replace") for line in lines[-MAX_LINES:])


class Child:
    """A started child. It serves some time later, if it does not end before."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self._process = process
        self._said = LastLines()
        self._listening = asyncio.create_task(self._listen(), name="local model's last words")

    async def serving(self) -> Serving:
        """Wait until it answers, and where. Raises NotServing."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_WITHIN_S):
                line = await self._process.stdout.readline()
            return msgspec.json.decode(line, type=Serving)
        except (TimeoutError, ValueError) as error:
            raise NotServing from error

    async def ended(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    async def stop(self) -> Ending:
        """End it, if it has not ended yet: it leaves when its input ends, or is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = await self._wait_or_kill()
            await asyncio.wait({self._listening}, timeout=LAST_WORDS_WITHIN_S)
        finally:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        return Ending(status=status, last_words=self._said.text())

    async def _wait_or_kill(self) -> int:
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                return await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(_READ_BYTES):
            self._said.feed(data)


@asynccontextmanager
async def open_child(settings: ChildSettings) -> AsyncIterator[Child]:
    """Start a child; it is gone on the way out. Raises OSError when no process can be made."""
    process = await _start()
    child = Child(process)
    try:
        assert process.stdin is not None
        # Not by argument: every user of the machine can read those.
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        yield child
    finally:
        await child.stop()


async def _start() -> Process:
    command = (sys.executable, "-P", "-m", "router.providers.local.child", str(os.getpid()))
    starting = asyncio.ensure_future(
        # A session of its own: Ctrl-C is for the parent, which drains first.
        asyncio.create_subprocess_exec(
            *command, env=ENVIRONMENT | os.environ, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # uvloop forgets a process whose start is cancelled half-way: nobody would wait for its end.
        await asyncio.wait({starting})
        if starting.exception() is None:
            await Child(starting.result()).stop()
        raise
