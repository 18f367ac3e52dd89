"""The real service in a child process that dies at a step of its own: as by `kill -9`, before or after some call.

    async with dying_serve(home, config=…, death=Death(at="ledger.store.ledger:StoreLedger.settle")) as victim:
        await victim.ended()

The service knows nothing of this: its functions are wrapped in the child, before `farthing serve` begins.
"""

import inspect
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.forked import forked
from tests.ledger.homes import Home
from tests.processes import Service, run_command

DATABASE = "farthing.db"
# Nobody waits 15 s for a lease to run out; on a busy machine a living process must still get to renew it.
LEASE_S = 3.0
RENEW_S = 0.3
SWEEP_S = 0.15
LAPSED_WITHIN_S = LEASE_S + 20  # The lease, the sweep after it, and a slow machine.


@dataclass(frozen=True, kw_only=True)
class Death:
    """Die `before` or `after` the nth call of `module:name`; or `inside` it, once it writes far into the database.

    at: the same on both engines, or {engine: where}. returning: count only calls whose result is of this type, or has
    such a one in it. share: for `inside`, how far into the file.
    """

    at: str | Mapping[str, str]
    when: Literal["before", "after", "inside"] = "after"
    nth: int = 1
    returning: str = ""
    share: float = 0.5

    def place(self, engine: str) -> str:
        """Where, on this engine."""
        return self.at if isinstance(self.at, str) else self.at[engine]


@asynccontextmanager
async def dying_serve(
    home: Home,
    *arguments: str,
    config: str | None = None,
    death: Death | None = None,
    starts: bool = True,
) -> AsyncIterator[Service]:
    """`farthing serve --port 0` on this ledger, as `tests.processes.farthing_serve` runs it.

    starts: wait until it listens, unless it dies before that.
    """
    if config is not None:
        (home.folder / "farthing.toml").write_text(config + home.config, "utf-8")
    place = "" if death is None else death.place(home.engine)
    async with (
        forked(run_child, arguments, place, death, folder=home.folder, environ={**os.environ, **home.environ}) as child,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        service = Service(child, session)
        try:
            if starts:
                await service.started()
            yield service
        finally:
            child.kill()
            await service.ended()


def run_child(arguments: tuple[str, ...], place: str, death: Death | None) -> None:
    """What the child does: `farthing serve`, with one function wrapped."""
    _shorten_leases()
    if death is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        owner, name = _found(place)
        setattr(owner, name, _dying(getattr(owner, name), death))
    run_command("serve", "--port", "0", *arguments)


def _shorten_leases() -> None:
    from ledger.store import ledger

    ledger.LeaseRule = partial(ledger.LeaseRule, lease_ms=round(LEASE_S * 1000), renew_s=RENEW_S, sweep_s=SWEEP_S)


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
        results = result if isinstance(result, list) else [result]
        if death.returning and death.returning not in {type(each).__name__ for each in results}:
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
