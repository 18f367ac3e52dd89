"""Coroutine tests' loop: what is left open is told, and nobody waits for it."""

import asyncio
import os

import pytest

from tests.loops import Runner


async def leave_open(descriptor: int) -> None:
    """A transport that nobody closes."""
    file = os.fdopen(descriptor, "rb")
    await asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, file)


@pytest.fixture
def descriptor():
    reading, writing = os.pipe()
    yield reading
    os.close(writing)


def test_what_a_test_leaves_open_fails_it(descriptor: int) -> None:
    with pytest.raises(ResourceWarning, match="unclosed"), Runner() as runner:
        runner.run(leave_open(descriptor))


def test_of_a_test_that_failed_its_own_failure_is_told(descriptor: int) -> None:
    async def fail() -> None:
        await leave_open(descriptor)
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"), Runner() as runner:
        runner.run(fail())
