"""The outbox: an event is told once, each target hears of it once met, and one process delivers at a time."""

import re
from contextlib import suppress
from itertools import product

import pytest

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.events import DELIVERY_MOVES, EVENTS_KEPT_MS, EventRaised, EventsQuery, Try, types_matching
from ledger.ledger import open_ledger
from ledger.operations.events import FORGOTTEN_PER_SWEEP
from ledger.reports import UnknownPage, iso
from ledger.sql import migrations
from ledger.sqlite.migrate import APPLICATION_ID
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_ledger
from tests.ledger.homes import REFUSED

EVERYTHING = {"hook": ["*"]}
STATES = ("pending", "delivered", "dead")


def an_event(name="one", *, kind="disk.low", at_ms=BEGAN_MS, **facts):
    return EventRaised(type=kind, dedup_key=f"{kind} {name}", at_ms=at_ms, facts={"name": name, **facts})


def a_try(event, state="delivered", *, target="hook", next_at_ms=None, status=200, error=None):
    return Try(
        event_id=event.id, target=target, at_ms=BEGAN_MS, state=state, next_at_ms=next_at_ms, status=status, error=error
    )


async def due(ledger, targets=None, *, now_ms=BEGAN_MS, limit=100):
    found = await ledger.due_deliveries(targets or EVERYTHING, now_ms, limit)
    return [(delivery.target, delivery.event.facts["name"], delivery.tries) for delivery in found]


async def deliveries(ledger):
    """{name of each event: {target: how its delivery stands}}."""
    shown = (await ledger.events(EventsQuery()))["alerts"]
    return {
        alert["facts"]["name"]: {it["target"]: (it["state"], it["tries"]) for it in alert["deliveries"]}
        for alert in shown
    }


async def test_an_event_is_told_once_and_shown_with_its_deliveries(home):
    async with a_ledger(home) as ledger:
        assert await due(ledger) == []
        assert await ledger.raise_event(an_event(free="7"))
        assert not await ledger.raise_event(an_event(free="6"))
        assert await due(ledger) == [("hook", "one", 0)]
        await ledger.record_tries([a_try(an_event(), "pending", next_at_ms=BEGAN_MS + 5000, status=500, error="no")])
        (alert,) = (await ledger.events(EventsQuery()))["alerts"]
    assert alert == {
        "id": an_event().id,
        "type": "disk.low",
        "at": iso(BEGAN_MS),
        "facts": {"name": "one", "free": "7"},
        "acknowledged": None,
        "deliveries": [
            {
                "target": "hook",
                "state": "pending",
                "tries": 1,
                "next_at": iso(BEGAN_MS + 5000),
                "last_at": iso(BEGAN_MS),
                "last_status": 500,
                "last_error": "no",
                "digest": None,
            }
        ],
    }


async def test_what_was_told_before_there_was_an_outbox_is_kept(sqlite_home):
    with sqlite_home.database() as db:
        for number, script in migrations("sqlite")[:13]:
            db.executescript(script)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("INSERT INTO events VALUES (1, 'posting.overrun', 'gen_1.1', 5, '{\"seq\":3}')")
    overrun = EventRaised(type="posting.overrun", dedup_key="posting.overrun gen_1.1", at_ms=6, facts={})
    async with a_ledger(sqlite_home) as ledger:
        assert not await ledger.raise_event(overrun)
        (alert,) = (await ledger.events(EventsQuery()))["alerts"]
    assert (alert["at"], alert["facts"]) == (iso(5), {"seq": 3, "hold_id": "gen_1.1"})
    assert re.fullmatch("evt_[0-9a-f]{24}", alert["id"])


async def test_a_target_hears_of_what_it_asked_for_from_its_first_sight_on(home):
    async with a_ledger(home) as ledger:
        await ledger.raise_event(an_event("before"))
        targets = {"all": ["*"], "spend": ["ceiling.*", "spend.anomaly"]}
        assert await due(ledger, targets) == []
        await ledger.raise_event(an_event("full"))
        await ledger.raise_event(an_event("near", kind="ceiling.threshold"))
        heard = [("all", "full", 0), ("all", "near", 0), ("spend", "near", 0)]
        assert await due(ledger, targets) == heard
        assert await due(ledger, targets, limit=1) == [heard[0], heard[2]]
        # One that is left out for a while, as a file that was wrong for an hour does, has missed nothing.
        await ledger.raise_event(an_event("meanwhile"))
        assert len(await due(ledger, {"spend": targets["spend"]})) == 1
        assert await due(ledger, {"all": ["*"], "new": ["*"]}) == [*heard[:2], ("all", "meanwhile", 0)]


async def test_what_is_tried_again_is_due_when_its_time_comes(home):
    async with a_ledger(home) as ledger:
        await due(ledger)
        await ledger.raise_event(an_event())
        await due(ledger)
        await ledger.record_tries([a_try(an_event(), "pending", next_at_ms=BEGAN_MS + 10)])
        assert await due(ledger, now_ms=BEGAN_MS + 9) == []
        assert await due(ledger, now_ms=BEGAN_MS + 10) == [("hook", "one", 1)]
        await ledger.record_tries([a_try(an_event(), "dead", status=410)])
        assert await due(ledger, now_ms=BEGAN_MS + HOUR_MS) == []
        await ledger.record_tries([a_try(an_event(), "delivered")])
        assert await deliveries(ledger) == {"one": {"hook": ("dead", 2)}}
        assert await ledger.retry_delivery(an_event().id, "other") == []
        assert await ledger.retry_delivery(an_event().id) == ["hook"]
        assert await due(ledger) == [("hook", "one", 2)]
        await ledger.record_tries([a_try(an_event())])
        assert await ledger.retry_delivery(an_event().id) == []
        assert await deliveries(ledger) == {"one": {"hook": ("delivered", 3)}}


async def test_a_digest_goes_to_its_target_in_the_place_of_what_it_tells_of(home):
    targets = {"hook": ["*"], "other": ["*"]}
    async with a_ledger(home) as ledger:
        await due(ledger, targets)
        events = [an_event(name) for name in "abc"]
        for event in events:
            await ledger.raise_event(event)
        await due(ledger, targets)
        await ledger.record_tries([a_try(events[0])])
        digest = an_event("digest", kind="digest")
        for _ in range(2):
            await ledger.fold_deliveries("hook", [event.id for event in events], digest)
        assert await due(ledger, targets) == [("hook", "digest", 0), *(("other", name, 0) for name in "abc")]
        shown = {
            alert["facts"]["name"]: alert["deliveries"] for alert in (await ledger.events(EventsQuery()))["alerts"]
        }
    by_way_of = {name: found[0]["digest"] for name, found in shown.items()}
    assert by_way_of == {"a": None, "b": digest.id, "c": digest.id, "digest": None}
    assert [it["state"] for it in shown["b"]] == ["delivered", "pending"]


async def test_one_process_delivers_until_its_lease_is_over(home):
    clock = Clock()
    url = home.url
    async with a_ledger(home, clock=clock) as one:
        assert await due(one) == []
        await one.raise_event(an_event())
        async with open_ledger(url, clock_ms=clock) as other:
            assert await due(other) == []
            assert await due(one) == [("hook", "one", 0)]
            clock.at_ms += 16_000
            await other.lease.renew()
            assert await due(other, now_ms=clock.at_ms) == [("hook", "one", 0)]
            assert await due(one, now_ms=clock.at_ms) == []
        # It left in good order: nobody has to wait for its lease.
        await one.lease.renew()
        assert await due(one, now_ms=clock.at_ms) == [("hook", "one", 0)]


async def test_duties_are_apart(home):
    async with a_ledger(home) as one, open_ledger(home.url, clock_ms=Clock()) as other:
        assert await one.take_duty("watch")
        assert not await other.take_duty("watch")
        assert await other.take_duty("sweep")
        assert await one.take_duty("watch")


async def test_who_acknowledged_an_event_first_stays(home):
    async with a_ledger(home) as ledger:
        await ledger.raise_event(an_event())
        assert await ledger.acknowledge(an_event().id, "alice")
        assert await ledger.acknowledge(an_event().id, "bob")
        assert not await ledger.acknowledge("evt_nothing", "bob")
        (alert,) = (await ledger.events(EventsQuery()))["alerts"]
    assert alert["acknowledged"] == {"at": iso(BEGAN_MS), "by": "alice"}


async def test_events_are_paged_and_filtered(home):
    async with a_ledger(home) as ledger:
        await due(ledger)
        for number, kind in enumerate(("disk.low", "ceiling.threshold", "ceiling.exceeded", "ledger.drift")):
            await ledger.raise_event(an_event(kind, kind=kind, at_ms=BEGAN_MS + number))
        await due(ledger)
        await ledger.record_tries([a_try(an_event("ledger.drift", kind="ledger.drift"), "dead")])
        await ledger.acknowledge(an_event("disk.low").id, "alice")

        async def found(**query):
            page = await ledger.events(EventsQuery(**query))
            return [alert["type"] for alert in page["alerts"]], page["next"]

        newest, following = await found(limit=3)
        assert newest == ["ledger.drift", "ceiling.exceeded", "ceiling.threshold"]
        assert await found(limit=3, before=following) == (["disk.low"], None)
        assert (await found(types=types_matching(["ceiling.*"])))[0] == ["ceiling.exceeded", "ceiling.threshold"]
        assert (await found(since_ms=BEGAN_MS + 1, until_ms=BEGAN_MS + 2))[0] == ["ceiling.threshold"]
        assert (await found(state="dead"))[0] == ["ledger.drift"]
        assert (await found(acknowledged=True))[0] == ["disk.low"]
        assert len((await found(acknowledged=False))[0]) == 3
        with pytest.raises(UnknownPage):
            await found(before="evt_nothing")


async def test_the_schema_knows_how_a_delivery_may_move(home):
    moves = list(product(STATES, STATES))
    async with a_ledger(home) as ledger:
        await due(ledger)
        for before, after in moves:
            await ledger.raise_event(event := an_event(f"{before} {after}"))
            await due(ledger)
            if before != "pending":
                await ledger.record_tries([a_try(event, before)])
    with home.database() as db:
        made = set()
        for before, after in moves:
            place = (after, 1 if after == "pending" else None, an_event(f"{before} {after}").id)
            with suppress(REFUSED):
                db.execute(
                    "UPDATE deliveries SET state = ?, next_at_ms = ? "
                    "WHERE event_seq = (SELECT seq FROM events WHERE id = ?)", place,
                )  # fmt: skip
                made.add((before, after))
    assert made == DELIVERY_MOVES


async def test_what_is_old_and_over_is_forgotten_and_nothing_that_could_be_told_twice(home):
    window = {"window_ends_at": iso(BEGAN_MS + DAY_MS)}
    events = {
        "told": an_event("told"),
        "line": an_event("line", kind="ceiling.threshold", **window),
        "total": an_event("total", kind="ceiling.exceeded", window_ends_at=None),
        "drift": an_event("drift", kind="ledger.drift"),
        "waits": an_event("waits"),
        "young": an_event("young", at_ms=BEGAN_MS + DAY_MS),
        "folded": an_event("folded"),
        "newest": an_event("newest"),
    }
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        assert await due(ledger) == []
        for event in events.values():
            await ledger.raise_event(event)
        await due(ledger)
        await ledger.record_tries([a_try(event) for name, event in events.items() if name not in {"waits", "folded"}])
        digest = an_event("digest", kind="digest")
        await ledger.fold_deliveries("hook", [events["folded"].id], digest)
        await ledger.record_tries([a_try(digest)])
        await ledger.raise_event(an_event("last"))
        clock.at_ms = BEGAN_MS + EVENTS_KEPT_MS
        await ledger._sweep()
        assert len(await deliveries(ledger)) == 10, "of this age exactly: none yet"
        clock.at_ms += 1
        await ledger._sweep()
        left = await deliveries(ledger)
        assert set(left) == {"line", "total", "drift", "waits", "young", "digest", "last"}, (
            "but what told of others, next"
        )
        await ledger._sweep()
        assert set(await deliveries(ledger)) == {"line", "total", "drift", "waits", "young", "last"}
        clock.at_ms += DAY_MS
        await ledger.raise_event(an_event("later", at_ms=clock.at_ms))
        await ledger._sweep()
        assert set(await deliveries(ledger)) == {"total", "drift", "waits", "later"}
        await ledger.lease.rejoin(ledger.lease.owner)  # Its lease was over long since.
        assert ("hook", "later", 0) in await due(ledger, now_ms=clock.at_ms), "its number is nobody else's"
        assert not await ledger.raise_event(events["total"])
    assert verify_ledger(home.url, on_rule=str).violations == ()


@pytest.mark.parametrize(
    ("words", "statement"),
    [
        ("an event never vanishes", "DELETE FROM events WHERE seq = (SELECT MAX(seq) FROM events)"),
        ("an event never vanishes", "DELETE FROM events WHERE at_ms = (SELECT before_ms FROM events_forgotten)"),
        ("a delivery never vanishes", "DELETE FROM deliveries WHERE state = 'pending'"),
    ],
)
async def test_nothing_else_is_forgotten(home, words, statement):
    async with a_ledger(home) as ledger:
        await due(ledger)
        for number in range(3):
            await ledger.raise_event(an_event(str(number), at_ms=BEGAN_MS + number))
        await due(ledger)
    with home.database() as db:
        db.execute("UPDATE events_forgotten SET before_ms = ?", (BEGAN_MS + 1,))
        with pytest.raises(REFUSED, match=words):
            db.execute(statement)


async def test_events_are_forgotten_a_few_at_a_time(tmp_path):
    async with a_ledger(tmp_path, clock=Clock(BEGAN_MS + EVENTS_KEPT_MS + 1)) as ledger:
        for number in range(FORGOTTEN_PER_SWEEP + 7):
            await ledger.raise_event(an_event(str(number)))
        await ledger._sweep()
        assert len(await all_events(ledger)) == 7
        await ledger._sweep()
        assert len(await all_events(ledger)) == 1, "the newest stays"


async def all_events(ledger):
    return (await ledger.events(EventsQuery(limit=1000)))["alerts"]
