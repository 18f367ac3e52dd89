"""Couriers come and go with the config: nobody is told twice by two of them, nobody is told who left it."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from ledger.events import EventRaised, EventsQuery
from ledger.ledger import wall_ms
from router.providers.post import open_post
from service.alerts.courier import Courier
from service.alerts.delivery import Couriers
from service.alerts.sending import sending_by
from service.alerts.targets import targets_of
from service.config.model import AlertSection
from tests.ledger.calls import a_ledger
from tests.upstream import scripted_upstream, status


@asynccontextmanager
async def couriers_of(folder, *, close_s=5.0):
    """(the couriers, the ledger, the receiver), and nobody to deliver to yet."""
    async with (
        a_ledger(folder, clock=wall_ms) as ledger,
        scripted_upstream() as receiver,
        open_post(clock_ms=wall_ms) as post,
    ):
        receiver.default = status(200, "")

        def hire(target):
            send = sending_by(post, now_ms=wall_ms)
            return Courier(target, ledger, send, now_ms=wall_ms, now_s=time.monotonic, chance=lambda: 0.0)

        couriers = Couriers(hire, close_s=close_s)
        try:
            yield couriers, ledger, receiver
        finally:
            await couriers.aclose()


def at(receiver, path="/hook", **more):
    return targets_of([AlertSection(url=f"{receiver.root}{path}", name="ops", **more)])


def at_work():
    return any(task.get_name() == "alerts to ops" for task in asyncio.all_tasks())


async def happen(ledger, name):
    await ledger.due_deliveries({"ops": ["*"]}, wall_ms(), 1)
    await ledger.raise_event(EventRaised(type="disk.low", dedup_key=name, at_ms=wall_ms(), facts={"name": name}))


async def test_one_that_wanted_nothing_more_is_asked_again_once_the_config_is_read_again(tmp_path):
    async with couriers_of(tmp_path) as (couriers, ledger, receiver):
        receiver.plays(status(410))
        await happen(ledger, "one")
        couriers.replace(at(receiver))
        await receiver.until(lambda it: len(it.requests) == 1)
        await happen(ledger, "two")
        while at_work():
            await asyncio.sleep(0.01)
        couriers.replace(at(receiver))
        await receiver.until(lambda it: len(it.requests) == 2)
        assert b'"two"' in receiver.requests[1].raw_body


async def test_a_changed_target_is_served_anew_after_the_message_under_way(tmp_path):
    async with couriers_of(tmp_path) as (couriers, ledger, receiver):
        gate = asyncio.Event()
        receiver.plays(status(200, "", gate=gate))
        await happen(ledger, "one")
        couriers.replace(at(receiver))
        await receiver.until(lambda it: len(it.requests) == 1)
        await happen(ledger, "two")
        couriers.replace(at(receiver))
        # Also one that was gone in between.
        couriers.replace(())
        couriers.replace(at(receiver, "/between/hook"))
        couriers.replace(at(receiver, "/new/hook"))
        with pytest.raises(TimeoutError):
            await receiver.until(lambda it: len(it.requests) > 1, within_s=0.3)
        gate.set()
        await receiver.until(lambda it: len(it.requests) == 2)
        assert [request.path for request in receiver.requests] == ["/hook", "/new/hook"]
        assert b'"two"' in receiver.requests[1].raw_body
        couriers.replace(())
        await couriers.aclose()
        assert not at_work()


async def test_what_stalls_when_the_service_stops_is_left_for_the_next_start(tmp_path):
    async with couriers_of(tmp_path, close_s=0.05) as (couriers, ledger, receiver):
        receiver.plays(status(200, "", gate=asyncio.Event()))
        await happen(ledger, "one")
        couriers.replace(at(receiver))
        await receiver.until(lambda it: len(it.requests) == 1)
        await couriers.aclose()
        (alert,) = (await ledger.events(EventsQuery()))["alerts"]
        assert (alert["deliveries"][0]["state"], alert["deliveries"][0]["tries"]) == ("pending", 0)
