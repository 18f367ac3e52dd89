"""What every test may use: coroutine tests run on the service's own kind of event loop."""

import asyncio
import gc
import inspect
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

from tests.loaded import load_encodings_once
from tests.loops import Runner

TEST_DEADLINE_S = 120
CLEANED_UP_WITHIN_S = 60
GC_THRESHOLDS = (20_000, 20, 100)
load_encodings_once()
# A busy machine is slow, which is no failure: how fast things are is for benchmarks to say.
settings.register_profile("farthing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("farthing")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: to look through all of it again and again takes a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@pytest.fixture(scope="session")
def postgres():
    """The run's PostgreSQL server."""
    from tests.postgres import a_server

    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def databases():
    """The database that tests use one after the other, once there is one."""
    return []


@pytest.fixture
def postgres_home(postgres, databases, tmp_path):
    """Where a test keeps its ledger on PostgreSQL."""
    from tests.ledger.homes import PostgresHome

    if not databases:
        databases.append(postgres.ledger_database())
    home = PostgresHome(postgres, databases[0], tmp_path)
    yield home
    if home.is_altered:
        databases.clear()
    else:
        postgres.wipe(home.name)


@pytest.fixture
def sqlite_home(tmp_path):
    """Where a test that is about SQLite's file keeps its ledger."""
    from tests.ledger.homes import SqliteHome

    return SqliteHome(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request):
    """Where this test keeps its ledger, on either engine."""
    return request.getfixturevalue("sqlite_home" if request.param == "sqlite" else "postgres_home")


def tell_tasks(descriptor: int) -> None:
    """Say where each task waits: of a test that is past its deadline and does not end either."""
    with open(descriptor, "w", closefd=False) as told:
        for task in asyncio.all_tasks():
            task.print_stack(file=told)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests on uvloop, each under a deadline, so that a hang is a failure with a traceback."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}

    stderr = pyfuncitem.config.stash[fault_handler_stderr_fd_key]  # What is captured goes with a worker.

    async def bounded() -> None:
        asyncio.get_running_loop().call_later(TEST_DEADLINE_S + CLEANED_UP_WITHIN_S, tell_tasks, stderr)
        async with asyncio.timeout(TEST_DEADLINE_S):
            await pyfuncitem.obj(**arguments)

    with Runner() as runner:
        runner.run(bounded())
    return True
