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


async def test_what_a_loop_failed_with_is_raised_when_its_block_ends():
    failed = asyncio.Event()

    async def loop() -> None:
        failed.set()
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        async with running(loop(), name="a loop"):
            await failed.wait()
