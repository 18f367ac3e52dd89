"""A deadline ends its block, and nobody else's cancel is taken for it."""

import asyncio

import pytest

from router import until as until_module
from router.until import Deadlines, Until, within


async def test_a_block_that_takes_too_long_is_ended_with_a_timeout():
    with pytest.raises(TimeoutError), within(0.01):
        await asyncio.Event().wait()
    await asyncio.sleep(0)  # Nothing of the cancel is left.
    assert asyncio.current_task().cancelling() == 0


async def test_a_block_that_is_done_in_time_is_left_alone_later():
    with within(0.01) as until:
        pass
    await asyncio.sleep(0.02)
    assert not until.has_struck


async def test_anybody_elses_cancel_stays_one():
    async def work():
        with within(60):
            waiting.set()
            await asyncio.Event().wait()

    waiting = asyncio.Event()
    task = asyncio.create_task(work())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_at_the_same_moment_wins():
    async def work():
        with Until(0.0):
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())


async def test_it_can_be_put_off_put_forward_and_taken_back():
    now_s = asyncio.get_running_loop().time
    with Until(None) as until:
        until.move(now_s() + 60)
        until.move(None)
        assert until.at_s is None
    with pytest.raises(TimeoutError), Until(now_s() + 60) as until:
        until.move(now_s()) or await asyncio.Event().wait()
    assert until.has_struck


async def test_what_the_block_raises_comes_out_of_it_though_the_time_is_over():
    async def fail_when_cancelled():
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError

    with pytest.raises(KeyError), within(0.0):
        await fail_when_cancelled()
    assert asyncio.current_task().cancelling() == 0


async def test_far_deadlines_are_looked_after_together_and_met_all_the_same(monkeypatch):
    monkeypatch.setattr(until_module, "LOOK_S", 0.02)
    deadlines, loop = Deadlines(), asyncio.get_running_loop()

    async def wait(span_s):
        with deadlines.within(span_s):
            await asyncio.Event().wait()

    began_s = loop.time()
    tasks = {span_s: asyncio.create_task(wait(span_s)) for span_s in (0.0, 0.03, 0.05, 0.1, 0.21, 60.0)}
    left = asyncio.create_task(wait(60.0))
    await asyncio.sleep(0)
    assert len(deadlines.far) == 5, "those that are near have timers of their own"
    left.cancel()
    for span_s in (0.0, 0.03, 0.05, 0.1, 0.21):
        with pytest.raises(TimeoutError):
            await tasks[span_s]
        assert span_s - 0.002 <= loop.time() - began_s
    assert len(deadlines.far) == 1
    assert deadlines._is_looking
    tasks[60.0].cancel()
    await asyncio.wait([left, tasks[60.0]])
    assert (left.cancelled(), tasks[60.0].cancelled()) == (True, True)
    assert deadlines.far == {}


async def test_a_far_deadline_can_be_moved_nearer():
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.within(60) as until:
        until.move(asyncio.get_running_loop().time()) or await asyncio.Event().wait()
    assert deadlines.far == {}
