"""The tests of this folder share one event loop, and on it one service and one browser: each takes seconds to start."""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.browser.house import CHROMIUM, House, a_house
from tests.loops import Runner

TEST_DEADLINE_S = 60
_RUNNER = pytest.StashKey[asyncio.Runner]()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[House]:
    """The service and the browser. They stand still between tests, for their loop does."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with Runner() as runner:
        request.config.stash[_RUNNER] = runner
        stack = AsyncExitStack()
        try:
            yield runner.run(stack.enter_async_context(a_house(tmp_path_factory.mktemp("browser"))))
        finally:
            runner.run(_closed(stack))


async def _closed(stack: AsyncExitStack) -> None:
    async with asyncio.timeout(TEST_DEADLINE_S):
        await stack.aclose()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test that asks for the house on the house's loop, under a deadline."""
    names = pyfuncitem._fixtureinfo.argnames
    if "house" not in names or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None

    async def bounded() -> None:
        async with asyncio.timeout(TEST_DEADLINE_S):
            await pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})

    pyfuncitem.config.stash[_RUNNER].run(bounded())
    return True
