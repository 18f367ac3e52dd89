"""Calls that no hold bounds, and ceilings that came into force after they were planned: nothing of them goes out."""

import asyncio
from pathlib import Path

import pytest

from ledger.ceilings import Ceiling
from ledger.errors import HoldUnbounded
from ledger.ledger import open_ledger
from tests.router.gateways import a_call, open_gateway
from tests.upstream import scripted_upstream, status

ANY = Ceiling(scope="global", window="month", limit=10**15, when_tight="clamp")


async def test_what_no_hold_bounds_does_not_go_out_under_a_ceiling_that_its_process_has_not_heard_of(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        unlimited = {"max_tokens": None}
        await house.ask(a_call("call 0", body=unlimited))
        async with open_ledger(f"sqlite:{house.path}") as other:
            await other.configure_ceilings((ANY,))
        with pytest.raises(HoldUnbounded) as raised:
            await house.ask(a_call("call 1", body=unlimited))
        assert raised.value.field == "max_tokens"
        assert (await house.ask(a_call("call 2"))).receipt.clamped == {}
        assert len(upstream.requests) == 2


async def test_what_no_hold_bounds_does_not_go_on_elsewhere_under_a_ceiling_that_came_meanwhile(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        fails = asyncio.Event()

        async def failing(connection, request) -> None:
            await fails.wait()
            await status(500)(connection, request)

        upstream.plays(failing)
        call = asyncio.create_task(house.ask(a_call(body={"web_search_options": {}})))
        await upstream.until(lambda it: len(it.requests) == 1)
        await house.ledger.configure_ceilings((ANY,))
        fails.set()
        with pytest.raises(HoldUnbounded) as raised:
            await call
        assert raised.value.field == "web_search_options"
        assert len(upstream.requests) == 1


async def test_what_waits_and_has_no_bound_is_refused_once_it_needs_one(tmp_path: Path):
    in_calls = Ceiling(scope="global", window="minute", unit="calls", limit=1, when_tight="wait")
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=(in_calls,)) as house:
        await house.ask(a_call("call 0"))
        waits = asyncio.create_task(house.ask(a_call("call 1", body={"max_tokens": None}, deadline_s=90.0)))
        await house.until(lambda: house.waiting() == 1)
        await house.ledger.configure_ceilings((ANY,))
        with pytest.raises(HoldUnbounded):
            await waits
        assert len(upstream.requests) == 1
