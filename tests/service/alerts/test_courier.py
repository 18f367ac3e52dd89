"""What is due at one target is sent, each try recorded, and a target in trouble left alone: real ledger, real HTTP."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from standardwebhooks import Webhook

from ledger.events import EventRaised, EventsQuery
from ledger.operations.owners import LeaseRule
from ledger.reports import iso
from ledger.sqlite.ledger import open_sqlite_ledger
from ledger.values import CacheBounds
from router.providers.post import open_post
from service.alerts.answers import PATIENCE_MS, TRIES
from service.alerts.courier import LOOK_S, Courier
from service.alerts.sending import sending_by
from service.alerts.targets import targets_of
from service.config.model import AlertSection
from tests.ledger.calls import Clock
from tests.upstream import scripted_upstream, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DAY_S = 24 * 3600
# The tests' clock jumps by hours.
FOR_GOOD = LeaseRule(lease_ms=1 << 40)


def assert_signed(request):
    """As the reference library signs it; its own check would want the time of now."""
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    expected = Webhook(SECRET).sign(request.headers["webhook-id"], at, request.raw_body.decode())
    assert request.headers["webhook-signature"] == expected


class Delivering:
    """One courier, its receiver, its ledger, and a clock that only the test moves."""

    def __init__(self, ledger, receiver, courier, clock):
        self.ledger = ledger
        self.receiver = receiver
        self.courier = courier
        self.clock = clock

    async def happen(self, *names, kind="disk.low"):
        for name in names:
            raised = EventRaised(type=kind, dedup_key=f"{kind} {name}", at_ms=self.clock.at_ms, facts={"name": name})
            assert await self.ledger.raise_event(raised)

    async def look(self, after_s=0.0):
        """The seconds until the next look; None: there is none."""
        self.clock.at_ms += round(after_s * 1000)
        return await self.courier.look()

    @property
    def got(self):
        """The names of the events that came, in order; of a digest how many were in it."""
        told = [json.loads(request.raw_body)["data"] for request in self.receiver.requests]
        return [it.get("name", it.get("events")) for it in told]

    async def standing(self):
        """{name: how its delivery stands}."""
        shown = (await self.ledger.events(EventsQuery(limit=1000)))["alerts"]
        return {it["facts"].get("name", it["type"]): it["deliveries"][0] for it in shown if it["deliveries"]}


@asynccontextmanager
async def a_courier(folder, *, chance=1.0, timeout_s=5.0, **section):
    clock = Clock()
    async with (
        open_sqlite_ledger(
            folder / "farthing.db", clock_ms=clock, synchronous="normal", bounds=CacheBounds(), lease=FOR_GOOD
        ) as ledger,
        scripted_upstream() as receiver,
        open_post(clock_ms=clock) as post,
    ):
        receiver.default = status(200, "")
        made = AlertSection(**{"url": f"{receiver.root}/hook", "secret": SECRET, "name": "ops"} | section)
        courier = Courier(
            targets_of([made])[0],
            ledger,
            sending_by(post, now_ms=clock, timeout_s=timeout_s),
            now_ms=clock,
            now_s=lambda: clock.at_ms / 1000,
            chance=lambda: chance,
        )
        delivering = Delivering(ledger, receiver, courier, clock)
        assert await delivering.look() == LOOK_S, "it is met: what comes now is for it"
        yield delivering


async def test_what_happens_is_told_once_in_order_and_only_what_was_asked_for(tmp_path):
    async with a_courier(tmp_path, events=("disk.*",)) as it:
        await it.happen("one", "two")
        await it.happen("no", kind="posting.overrun")
        assert await it.look() == LOOK_S
        assert await it.look(3600) == LOOK_S
        assert it.got == ["one", "two"]
        standing = await it.standing()
        assert [(standing[name]["state"], standing[name]["tries"]) for name in ("one", "two")] == [("delivered", 1)] * 2


async def test_a_failure_is_tried_again_later_and_later_under_the_same_id(tmp_path):
    async with a_courier(tmp_path) as it:
        it.receiver.plays(status(500), status(404), status(301))
        await it.happen("one")
        for wait_s, code in ((5, 500), (10, 404), (20, 301)):
            await it.look()
            stood = (await it.standing())["one"]
            assert (stood["state"], stood["last_status"]) == ("pending", code)
            assert stood["next_at"] == iso(it.clock.at_ms + wait_s * 1000)
            await it.look(wait_s - 0.001)
            assert len(it.receiver.requests) == stood["tries"], "not before its time"
            it.clock.at_ms += 1
        await it.look()
        stood = (await it.standing())["one"]
        assert (stood["state"], stood["tries"], stood["last_error"]) == ("delivered", 4, None)
        assert len({request.headers["webhook-id"] for request in it.receiver.requests}) == 1
        assert len({request.raw_body for request in it.receiver.requests}) == 1
        assert len({request.headers["webhook-timestamp"] for request in it.receiver.requests}) == 4


async def test_a_target_in_trouble_is_left_alone_and_a_message_that_it_dislikes_holds_up_no_other(tmp_path, caplog):
    async with a_courier(tmp_path) as it:
        it.receiver.plays(status(500), status(502), status(404))
        await it.happen("one", "two", "three")
        assert await it.look() == 5, "the others are not even tried"
        assert it.got == ["one"]
        assert await it.look() == 10
        assert await it.look() == LOOK_S
        assert it.got == ["one", "two", "three"]
        await it.look(20)
        assert sorted(it.got[3:]) == ["one", "three", "two"]
        it.receiver.plays(status(503))
        await it.happen("four")
        assert await it.look() == 5, "a trouble of its own"
    assert caplog.text.count("ops takes no alerts: answered 500") == 1
    assert caplog.text.count("ops takes no alerts: answered 503") == 1


async def test_a_target_that_asks_for_time_gets_it(tmp_path):
    async with a_courier(tmp_path) as it:
        it.receiver.plays(status(429, headers={"retry-after": "90"}))
        await it.happen("one", "two")
        assert await it.look() == 90
        assert (await it.standing())["one"]["next_at"] == iso(it.clock.at_ms + 90_000)
        assert (await it.standing())["two"]["tries"] == 0


async def test_a_stalled_receiver_costs_one_time_limit_a_look(tmp_path):
    async with a_courier(tmp_path, timeout_s=0.1) as it:
        it.receiver.plays(status(200, "", gate=asyncio.Event()))
        await it.happen("one", "two")
        assert await it.look() == 5
        stood = (await it.standing())["one"]
        assert (stood["state"], stood["last_status"], stood["last_error"]) == (
            "pending",
            None,
            "no answer within 0.1 s",
        )


async def test_410_ends_a_delivery_and_the_target_until_somebody_looks_to_it(tmp_path, caplog):
    async with a_courier(tmp_path) as it:
        it.receiver.plays(status(410))
        await it.happen("one", "two")
        assert await it.look() is None
        standing = await it.standing()
        assert (standing["one"]["state"], standing["two"]["state"]) == ("dead", "pending")
        assert it.got == ["one"]
        assert "ops answered 410: it gets no alerts until the config is read again" in caplog.text
        assert await it.ledger.retry_delivery((await it.ledger.events(EventsQuery()))["alerts"][1]["id"]) == ["ops"]
        await it.look()
        assert it.got == ["one", "one", "two"]


async def test_after_a_day_and_many_tries_a_delivery_is_dead_and_by_hand_gets_one_more(tmp_path, caplog):
    async with a_courier(tmp_path) as it:
        it.receiver.default = status(400)
        await it.happen("one")
        for _ in range(TRIES - 1):
            await it.look(3600)
        assert (await it.standing())["one"]["state"] == "pending", "often enough, but not for long"
        await it.look(PATIENCE_MS / 1000)
        stood = (await it.standing())["one"]
        assert (stood["state"], stood["next_at"], stood["last_error"]) == ("dead", None, "answered 400")
        assert f"for ops is given up after {TRIES} tries: answered 400" in caplog.text
        await it.look(DAY_S)
        assert len(it.got) == TRIES
        (alert,) = (await it.ledger.events(EventsQuery()))["alerts"]
        await it.ledger.retry_delivery(alert["id"])
        it.receiver.default = status(200, "")
        await it.look()
        assert (await it.standing())["one"]["state"] == "delivered"


async def test_a_thousand_crossings_are_one_signed_digest(tmp_path):
    async with a_courier(tmp_path) as it:
        await asyncio.gather(*(it.happen(f"e{number}") for number in range(1000)))
        await it.look()
        (request,) = it.receiver.requests
        assert_signed(request)
        said = json.loads(request.raw_body)
        assert said["type"] == "digest"
        assert (said["data"]["events"], said["data"]["counts"]) == (1000, {"disk.low": 1000})
        assert len(said["data"]["first"]) == 10
        standing = await it.standing()
        assert {(stood["state"], stood["digest"] is None) for name, stood in standing.items() if name != "digest"} == {
            ("delivered", False)
        }
        await it.look(3600)
        assert len(it.receiver.requests) == 1


async def test_what_waited_out_a_trouble_comes_as_one_digest_that_keeps_its_id_until_it_is_taken(tmp_path):
    async with a_courier(tmp_path, burst=2, digest_s=30.0) as it:
        it.receiver.default = status(503)
        await it.happen("a", "b")
        await it.look()
        await it.look(1)
        assert it.got == ["a", "b"]
        await it.happen("c", "d")
        await it.look()
        assert it.got == ["a", "b"], "two in thirty seconds are all"
        await it.look(31)
        assert it.got == ["a", "b", 4]
        it.receiver.default = status(200, "")
        await it.look(31)
        await it.look(31)
        assert it.got == ["a", "b", 4, 4]
        first, second = (request.headers["webhook-id"] for request in it.receiver.requests[2:])
        assert first == second
        assert {stood["state"] for stood in (await it.standing()).values()} == {"delivered"}


async def test_whoever_is_told_to_stop_finishes_the_message_under_way_and_takes_no_other(tmp_path):
    async with a_courier(tmp_path) as it:
        gate = asyncio.Event()
        it.receiver.plays(status(200, "", gate=gate))
        await it.happen("one", "two")
        looking = asyncio.create_task(it.courier.look())
        await it.receiver.until(lambda receiver: len(receiver.requests) == 1)
        it.courier.stop()
        gate.set()
        await looking
        assert it.got == ["one"]
