"""What the ledger promises one process, it promises two: one does a thing, the other one sees it or has to respect it.

Each test has a ledger open in two processes. What they do at once, and die of, is in `tests/faults`.
"""

import asyncio
import sqlite3
from contextlib import closing

import msgspec
import pytest

from ledger.ceilings import DAY_MS, HOUR_MS, Ceiling
from ledger.events import EventRaised, EventsQuery
from ledger.reports import LatencyQuery, SpendQuery
from ledger.upkeep import backup_ledger, prune_ledger
from ledger.values import Follow, Hit, Keeping, Lead, NextAttempt, Refused, Replay
from ledger.verify import verify_ledger
from tests.ledger.calls import (
    BEGAN_MS,
    Clock,
    a_call,
    a_ledger,
    a_result,
    a_settlement,
    admit_and_settle,
    an_idempotency_key,
)
from tests.ledger.neighbour import Neighbour, ToldOff
from tests.ledger.test_apikeys import a_call_with, a_key


@pytest.fixture(scope="module")
def neighbour():
    found = Neighbour()
    yield found
    found.stop()


def audit(folder):
    return verify_ledger(f"sqlite:{folder / 'farthing.db'}", on_rule=lambda _: None)


async def test_a_flight_is_led_by_one_followed_by_the_other_and_its_answer_is_everybodys(neighbour, tmp_path):
    async with a_ledger(tmp_path) as ledger, neighbour.on(tmp_path) as other:
        request = a_call(key="k")
        lead = await other.call("admit", request)
        follow = await ledger.admit(a_call(key="k"))
        assert isinstance(follow, Follow)
        assert (follow.leader_id, follow.owner_id == ledger.owner_id) == (request.facts.generation_id, False)
        assert not await ledger.flight_is_over(request.lookup.cache_key, follow.leader_id)
        await other.call("settle", a_settlement(request, lead))
        assert await ledger.flight_is_over(request.lookup.cache_key, follow.leader_id)
        assert isinstance(await ledger.admit(a_call(key="k")), Hit)
    assert audit(tmp_path).violations == ()


async def test_both_fill_the_same_windows_and_obey_the_ceilings_that_either_configures(neighbour, tmp_path):
    ceilings = (Ceiling(scope="global", window="day", limit=1000), Ceiling(scope="user:*", window="total", limit=1000))
    async with a_ledger(tmp_path, ceilings=ceilings) as ledger, neighbour.on(tmp_path, ceilings=ceilings) as other:
        request = a_call(held=600)
        lead = await other.call("admit", request)
        refused = await ledger.admit(a_call(held=600))
        assert isinstance(refused, Refused)
        assert (refused.held, refused.tight.held) == (True, 600)
        await other.call("settle", a_settlement(request, lead, cost=400))
        assert isinstance(await ledger.admit(a_call(held=600)), Lead)
        assert isinstance(await other.call("admit", a_call(held=1)), Refused)
        await ledger.configure_ceilings((Ceiling(scope="global", window="day", limit=1001),))
        assert isinstance(await other.call("admit", a_call(held=1)), Lead)
        assert isinstance(await other.call("admit", a_call(held=1)), Refused)
    assert audit(tmp_path).violations == ()


async def test_a_key_that_one_has_in_progress_is_so_for_the_other_and_its_result_is_told_by_both(neighbour, tmp_path):
    async with a_ledger(tmp_path) as ledger, neighbour.on(tmp_path) as other:
        request = a_call(idempotency=an_idempotency_key())
        lead = await ledger.admit(request)
        with pytest.raises(ToldOff, match="IdempotencyInProgress"):
            await other.call("admit", a_call(idempotency=an_idempotency_key()))
        with pytest.raises(ToldOff, match="IdempotencyMismatch"):
            await other.call("admit", a_call(idempotency=an_idempotency_key(body="another")))
        keeping = Keeping(key=request.idempotency, generation_id=lead.hold_id[:-2], is_over=True, result=b"it")
        await ledger.settle(msgspec.structs.replace(a_settlement(request, lead), keeping=keeping))
        replay = await other.call("admit", a_call(idempotency=an_idempotency_key()))
        assert isinstance(replay, Replay)
        assert (replay.generation_id, replay.result) == (request.facts.generation_id, b"it")


async def test_a_key_that_one_makes_the_other_takes_until_it_is_revoked(neighbour, tmp_path):
    async with a_ledger(tmp_path) as ledger, neighbour.on(tmp_path) as other:
        await ledger.create_api_key(a_key(ceilings=[("day", 1000)]))
        assert await other.call("find_api_key", "k1") == a_key(ceilings=[("day", 1000)])
        assert isinstance(await other.call("admit", a_call_with("k1", held=700)), Lead)
        assert isinstance(await ledger.admit(a_call_with("k1", held=700)), Refused)
        await ledger.revoke_api_key("k1")
        with pytest.raises(ToldOff, match="ApiKeyOver"):
            await other.call("admit", a_call_with("k1", held=1))


async def remember(ledger, subject, text):
    await ledger.change_memory(subject, lambda before: (before or "") + text)


async def test_what_either_remembers_the_other_knows_and_neither_is_lost(neighbour, tmp_path):
    async with a_ledger(tmp_path) as ledger, neighbour.on(tmp_path) as other:
        await remember(ledger, "breaker", "a")
        version, known = await other.call("memory_since", 0)
        assert known == {"breaker": "a"}
        await asyncio.gather(
            other.run(remember, "breaker", "b"), remember(ledger, "breaker", "c"), remember(ledger, "hint", "d")
        )
        _, newer = await other.call("memory_since", version)
        assert {subject: sorted(text) for subject, text in newer.items()} == {"breaker": list("abc"), "hint": ["d"]}


async def test_a_line_that_both_cross_is_told_once_and_by_who_has_the_duty(neighbour, tmp_path):
    limit = Ceiling(scope="global", window="day", limit=10_000, warn_at=(0.8,))
    targets = {"hook": ["*"]}
    async with neighbour.on(tmp_path, ceilings=(limit,)) as other:
        async with a_ledger(tmp_path, ceilings=(limit,)) as ledger:
            assert await ledger.due_deliveries(targets, BEGAN_MS, 9) == []
            for number in range(20):
                request = a_call()
                if number % 2:
                    await admit_and_settle(ledger, request, cost=450)
                else:
                    await other.call("settle", a_settlement(request, await other.call("admit", request), cost=450))
            assert await other.call("due_deliveries", targets, BEGAN_MS, 9) == [], "the first one does it"
            due = await ledger.due_deliveries(targets, BEGAN_MS, 9)
            assert [delivery.event.type for delivery in due] == ["ceiling.threshold"]
            said = EventRaised(type="disk.low", dedup_key="low", at_ms=BEGAN_MS, facts={})
            assert await ledger.raise_event(said)
            assert not await other.call("raise_event", said)
        due = await other.call("due_deliveries", targets, BEGAN_MS, 9)
        assert [delivery.event.type for delivery in due] == ["ceiling.threshold", "disk.low"]
        assert len((await other.call("events", EventsQuery()))["alerts"]) == 2


async def test_a_call_that_falls_back_and_what_it_took_are_the_same_in_the_reports_of_both(neighbour, tmp_path):
    async with a_ledger(tmp_path) as ledger, neighbour.on(tmp_path) as other:
        request = a_call(deployment="a:m")
        failed = a_result(await ledger.admit(request), cost=None, outcome="upstream_error")
        bids = a_call(deployment="b:m").bids
        following = NextAttempt(facts=request.facts, closed=(failed,), attempt=2, bids=bids, now_ms=BEGAN_MS)
        await ledger.settle(a_settlement(request, await ledger.hold_next(following), cost=300))
        await other.run(pairs, 3, BEGAN_MS)
        for method, query in (
            ("spend", SpendQuery(group_by=("user", "model", "outcome"))),
            ("latency", LatencyQuery(group_by=("model",))),
        ):
            assert await getattr(ledger, method)(query) == await other.call(method, query)
        spent = await ledger.spend(SpendQuery(group_by=("user",)))
        assert [(row["user"], row["attempts"], row["cost_nanousd"]) for row in spent["rows"]] == [("u1", 5, 1500)]


async def pairs(ledger, number, at_ms):
    """Calls that are settled, a few at once."""
    for _ in range(number // 3):
        await asyncio.gather(*(admit_and_settle(ledger, a_call(now_ms=at_ms)) for _ in range(3)))


async def test_one_prunes_backs_up_and_audits_while_the_other_writes(neighbour, tmp_path):
    url, ceiling = f"sqlite:{tmp_path / 'farthing.db'}", Ceiling(scope="global", window="hour", limit=10**9)
    now_ms = BEGAN_MS + 3 * DAY_MS
    async with a_ledger(tmp_path, ceilings=(ceiling,)) as ledger:
        await pairs(ledger, 60, BEGAN_MS)
    async with neighbour.on(tmp_path, clock=Clock(now_ms), ceilings=(ceiling,)) as other:
        await other.run(pairs, 3, now_ms)  # The newest line is never folded.
        writing = asyncio.create_task(other.run(pairs, 297, now_ms))
        options = {"now_ms": now_ms, "on_step": lambda _: None}
        pruned = await asyncio.to_thread(prune_ledger, url, BEGAN_MS + HOUR_MS, **options)
        copied = await asyncio.to_thread(backup_ledger, url, tmp_path / "copy.db", on_step=lambda _: None)
        looked = await asyncio.to_thread(audit, tmp_path)
        await writing
    assert pruned.postings == 60
    assert (copied.violations, looked.violations, audit(tmp_path).violations) == ((), (), ())
    with closing(sqlite3.connect(tmp_path / "farthing.db")) as db:
        assert db.execute("SELECT COUNT(*), SUM(cost_nanousd) FROM postings").fetchone() == (300, 300 * 400)
