"""A second process on a test's ledger, which does what it is told: one of them serves all tests of a module.

async with neighbour.on(tmp_path, ceilings=...) as other:
    lead = await other.call("admit", request)
    await other.run(a_module_level_coroutine, 200)
"""

import asyncio
import itertools
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.ledger import calls
from tests.ledger.calls import Clock, a_ledger

# On a thread, where nothing else would end a wait.
ANSWERS_WITHIN_S = 60
ENDS_WITHIN_S = 30


class ToldOff(Exception):
    """What was asked raised an error there; its text begins with the error's name."""


class Neighbour:
    """The process. Started once; it opens one ledger after the other."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_live, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        self._pipe.close()  # It ends by itself once nobody is there to ask.
        self._process.join(ENDS_WITHIN_S)
        assert self._process.exitcode == 0

    @asynccontextmanager
    async def on(self, folder: Path, **options: Any) -> AsyncIterator["Neighbour"]:
        """With this folder's ledger open, as by `tests.ledger.calls.a_ledger`."""
        await self._ask(_open, folder, options)
        try:
            yield self
        finally:
            await self._ask(_close)

    async def call(self, method: str, *args: Any, **named: Any) -> Any:
        """What its ledger's method of this name returns."""
        return await self._ask(_call, method, args, named)

    async def run(self, work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What a coroutine of some module returns, given its ledger."""
        return await self._ask(_run, work, args)

    async def _ask(self, what: Callable[..., Any], *args: Any) -> Any:
        self._pipe.send((what, args))
        answer, error = await asyncio.to_thread(self._receive)
        if error is not None:
            raise ToldOff(error)
        return answer

    def _receive(self) -> Any:
        assert self._pipe.poll(ANSWERS_WITHIN_S), "it does not answer"
        return self._pipe.recv()


class _Home:
    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.ledger: Any = None


async def _open(home: _Home, folder: Path, options: dict[str, Any]) -> None:
    options = {"clock": Clock(), **options}
    home.ledger = await home.stack.enter_async_context(a_ledger(folder, **options))


async def _close(home: _Home) -> None:
    home.ledger = None
    await home.stack.aclose()


async def _call(home: _Home, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return await getattr(home.ledger, method)(*args, **named)


async def _run(home: _Home, work: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    return await work(home.ledger, *args)


def _live(pipe: Connection) -> None:
    calls._numbers = itertools.count(1_000_000)  # Ids of its own.
    asyncio.run(_answer(pipe))


async def _answer(pipe: Connection) -> None:
    home = _Home()
    while True:
        try:
            what, args = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        try:
            reply = (await what(home, *args), None)
        except Exception as error:  # noqa: BLE001  # Whoever asked is told.
            reply = (None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        pipe.send(reply)
