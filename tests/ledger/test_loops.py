"""A loop beside a block: it is over when the block is, and what it failed with is not lost."""

import asyncio

import pytest

from ledger.loops import running


async def test_a_loop_has_ended_in_good_order_when_its_block_has():
    began, steps = asyncio.Event(), []

    async def loop() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(lambda: None)  # It takes its time.
            steps.append("cleaned up")

    async with running(loop(), name="a loop"):
        await began.wait()
    assert steps == ["cleaned up"]


async def test_what_a_loop_failed_with_is_told_at_once_and_raised_when_its_block_ends(caplog):
    failed = asyncio.Event()

    async def loop() -> None:
        asyncio.get_running_loop().call_soon(failed.set)
        raise ZeroDivisionError("a bug")

    async def block() -> None:
        async with running(loop(), name="a loop"):
            await failed.wait()
            assert caplog.messages == ["a loop has ended by itself, which it never should"]

    with pytest.raises(ZeroDivisionError, match="a bug"):
        await block()
