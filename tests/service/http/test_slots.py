"""Calls in progress are counted, and their end can be waited for."""

import asyncio

from service.http.generation import Slots
from tests.service.http.scripted import an_edge, finished


async def test_the_end_of_all_calls_can_be_waited_for():
    async with an_edge() as (edge, client):
        go_on = asyncio.Event()
        edge.gateway.script = lambda call: [go_on, finished(call)]
        waiting = asyncio.create_task(client.post("/generate", json={"prompt": "x"}))
        await edge.gateway.asked.wait()
        assert edge.slots.in_use == 1
        assert not await edge.slots.emptied(within_s=0.01)
        go_on.set()
        assert await edge.slots.emptied(within_s=5)
        assert (await waiting).status_code == 200
        assert edge.slots.in_use == 0


async def test_nothing_in_progress_is_the_end_already():
    async with an_edge() as (edge, _):
        assert await Slots(edge.parts).emptied(within_s=0)
