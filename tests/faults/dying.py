"""The real service in a child process that dies at a step of its own: as by `kill -9`, before or after some call.

    async with dying_serve(tmp_path, config=…, death=Death(at="ledger.store.ledger:StoreLedger.settle")) as victim:
        await victim.ended()

The service knows nothing of this: its functions are wrapped in the child, before `farthing serve` begins. Children are
forked from a process that has imported the service already, so that a start takes a tenth of a second.
"""

import asyncio
import inspect
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial, wraps
from importlib import import_module
from multiprocessing import Pipe, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.processes import Service

DATABASE = "farthing.db"
ROOT = Path(__file__).parents[2]
# Nobody waits 15 s for a lease to run out; on a busy machine a living process must still get to renew it.
LEASE_S = 3.0
RENEW_S = 0.3
SWEEP_S = 0.15
LAPSED_WITHIN_S = LEASE_S + 20  # The lease, the sweep after it, and a slow machine.


@dataclass(frozen=True, kw_only=True)
class Death:
    """Die `before` or `after` the nth call of `module:name`; or `inside` it, once it writes far into the database.

    returning: count only calls whose result is of this type. share: for `inside`, how far into the file.
    """

    at: str
    when: Literal["before", "after", "inside"] = "after"
    nth: int = 1
    returning: str = ""
    share: float = 0.5


class Forked:
    """A child process, with as much of `asyncio.subprocess.Process` as `Service` asks for."""

    def __init__(self, process: BaseProcess, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self.stderr = stderr

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            assert self._process.pid is not None
            with suppress(ProcessLookupError):  # The fork server may have buried it a moment ago.
                os.kill(self._process.pid, number)

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
async def dying_serve(
    folder: Path,
    *arguments: str,
    config: str | None = None,
    death: Death | None = None,
    starts: bool = True,
) -> AsyncIterator[Service]:
    """`farthing serve --port 0` in this folder, as `tests.processes.farthing_serve` runs it.

    starts: wait until it listens, unless it dies before that.
    """
    if config is not None:
        (folder / "farthing.toml").write_text(config, "utf-8")
    context = fork_context()
    reading, writing = Pipe(duplex=False)
    process = context.Process(target=run_child, args=(str(folder), arguments, writing, death), daemon=True)
    process.start()
    writing.close()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        with os.fdopen(os.dup(reading.fileno()), "rb") as stderr:
            reading.close()
            lines = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(lines), stderr
            )
            forked = Forked(process, lines)
            service = Service(forked, session)
            try:
                if starts:
                    await service.started()
                yield service
            finally:
                forked.kill()
                await service.ended()
                transport.close()
                await asyncio.sleep(0)  # The loop closes it in its next turn.
                process.close()


def run_child(folder: str, arguments: tuple[str, ...], stderr: Connection, death: Death | None) -> None:
    """What the child does: `farthing serve`, with one function wrapped."""
    os.chdir(folder)
    os.dup2(stderr.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _shorten_leases()
    if death is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        owner, name = _found(death.at)
        setattr(owner, name, _dying(getattr(owner, name), death))
    from service.commands import main
    from tests.faults.preloaded import use_the_loaded_encoding

    use_the_loaded_encoding()
    main(["serve", "--port", "0", *arguments])


def fork_context() -> ForkServerContext:
    """Where children are forked. Its server finds this package as this process does, and ends with it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preloaded"])
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


def _shorten_leases() -> None:
    from ledger.sqlite import ledger

    rule = getattr(ledger, "LeaseRule", None)
    if rule is None:
        ledger.LEASE_MS, ledger.RENEW_S, ledger.SWEEP_S = round(LEASE_S * 1000), RENEW_S, SWEEP_S
    else:
        ledger.LeaseRule = partial(rule, lease_ms=round(LEASE_S * 1000), renew_s=RENEW_S, sweep_s=SWEEP_S)


def _found(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    owner: Any = import_module(module)
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


def _dying(function: Callable[..., Any], death: Death) -> Callable[..., Any]:
    calls = 0

    def is_due(result: object = None) -> bool:
        nonlocal calls
        if death.returning and type(result).__name__ != death.returning:
            return False
        calls += 1
        return calls == death.nth

    def begin() -> None:
        if death.when != "after" and is_due():
            _die() if death.when == "before" else _die_writing_beyond(death.share)

    def end(result: object) -> None:
        if death.when == "after" and is_due(result):
            _die()

    @wraps(function)
    def wrapped(*args: Any, **named: Any) -> Any:
        begin()
        result = function(*args, **named)
        end(result)
        return result

    @wraps(function)
    async def wrapped_coroutine(*args: Any, **named: Any) -> Any:
        begin()
        result = await function(*args, **named)
        end(result)
        return result

    return wrapped_coroutine if inspect.iscoroutinefunction(function) else wrapped


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_writing_beyond(share: float) -> None:
    """Have the kernel kill this process in the very write that goes beyond this share of the database file.

    The signal is another one, its effect is the same: the process is gone between two system calls.
    """
    size = Path(DATABASE).stat().st_size
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (round(size * share) // 4096 * 4096, resource.RLIM_INFINITY))
