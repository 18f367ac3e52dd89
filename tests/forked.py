"""Child processes that are forked from one that has imported the service already.

    async with forked(main, "spend", folder=tmp_path, environ=os.environ) as child:
        told = await child.stdout.read()

A start of the installed command takes two seconds of a core, most of it imports; of one of these a third of one. The
process they are forked from has one thread and no event loop, and nothing of the service has begun in it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from multiprocessing import Pipe, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Forked:
    """A child process, with as much of `asyncio.subprocess.Process` as tests ask for."""

    def __init__(self, process: BaseProcess, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self.stdout = stdout
        self.stderr = stderr

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            with suppress(ProcessLookupError):  # The fork server may have buried it a moment ago.
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Its exit status; negative for the signal that ended it."""
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


@asynccontextmanager
async def forked(
    main: Callable[..., None], *given: object, folder: Path, environ: Mapping[str, str]
) -> AsyncIterator[Forked]:
    """A child that does this in this folder, with this environment and nothing to read; killed with the block.

    main: a function of a module, for it is found by its name.
    """
    async with AsyncExitStack() as stack:
        (out, their_out), (err, their_err) = Pipe(duplex=False), Pipe(duplex=False)
        process = fork_context().Process(
            target=_run, args=(main, given, str(folder), dict(environ), their_out, their_err), daemon=True
        )
        process.start()
        stack.callback(process.close)
        their_out.close()
        their_err.close()
        child = Forked(process, *[await stack.enter_async_context(_reading(end)) for end in (out, err)])
        try:
            yield child
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


def fork_context() -> ForkServerContext:
    """Where children are forked. Its server finds this package as this process does, and ends with it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), before)))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


@asynccontextmanager
async def _reading(end: Connection) -> AsyncIterator[asyncio.StreamReader]:
    """What comes out of a pipe, until the block ends."""
    with os.fdopen(os.dup(end.fileno()), "rb") as file:
        end.close()
        lines = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(lines)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
        try:
            yield lines
        finally:
            transport.close()
            await asyncio.sleep(0)  # The loop closes it in its next turn.


def _run(
    main: Callable[..., None],
    given: tuple[object, ...],
    folder: str,
    environ: dict[str, str],
    stdout: Connection,
    stderr: Connection,
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), stdout.fileno(), stderr.fileno())):
        os.dup2(descriptor, number)
    stdout.close()
    stderr.close()
    # The one that was inherited takes its descriptor for what it was before.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    main(*given)
