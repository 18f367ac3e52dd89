"""Records under Idempotency-Keys: every state and event, what stands in the schema, and that nothing is taken twice."""

from contextlib import asynccontextmanager

import msgspec
import pytest

from ledger.ceilings import Ceiling
from ledger.errors import IdempotencyInProgress, IdempotencyMismatch
from ledger.idempotency import KEPT_MS, MAX_KEPT_BYTES, TRANSITIONS, KeyEvent, KeyState
from ledger.operations.idempotency import FORGOTTEN_PER_SWEEP
from ledger.values import Follow, Keeping, Lead, Missing, Refused, Replay
from tests.ledger.calls import (
    BEGAN_MS,
    Clock,
    a_call,
    a_ledger,
    a_settlement,
    admit_and_settle,
    an_ending,
    an_idempotency_key,
)
from tests.ledger.homes import CHECKED, REFUSED, UNIQUE

KEY = an_idempotency_key()
BEYOND_A_LEASE_MS = 20_000


def rows(home, sql, **values):
    with home.database() as db:
        return db.execute(sql, values).fetchall()


def keeping(request, result=b"result"):
    return Keeping(key=request.idempotency, generation_id=request.facts.generation_id, is_over=True, result=result)


def freeing(request):
    return Keeping(key=request.idempotency, generation_id=request.facts.generation_id, is_over=False)


async def keep(ledger, request, lead, result=b"result"):
    settlement = a_settlement(request, lead)
    await ledger.settle(msgspec.structs.replace(settlement, keeping=keeping(request, result)))


class Scene:
    """One key in the hands of a first call, and a second process that lives on."""

    def __init__(self, home, clock, first, second):
        self.home, self.clock, self.first_process, self.second_process = home, clock, first, second
        self.first = a_call(idempotency=KEY, now_ms=clock())
        self.lead = None

    def state(self):
        found = rows(
            self.home,
            "SELECT state, (SELECT lease_until_ms FROM owners WHERE owners.owner_id = idempotency.owner_id)"
            "  FROM idempotency",
        )
        if not found:
            return KeyState.FREE
        ((state, lease_until_ms),) = found
        lives = lease_until_ms is not None and lease_until_ms >= self.clock()
        return KeyState.ORPHANED if state == "in_progress" and not lives else KeyState(state)

    async def bring_to(self, state):
        if state != KeyState.FREE:
            self.lead = await self.first_process.admit(self.first)
        if state == KeyState.ORPHANED:
            await self.owner_dies()
        if state == KeyState.DONE:
            await keep(self.first_process, self.first, self.lead)
        assert self.state() == state

    async def happens(self, event):
        match event:
            case KeyEvent.TAKE:
                return await self.ask(a_call(idempotency=KEY, now_ms=self.clock()))
            case KeyEvent.HIT:
                await admit_and_settle(self.second_process, a_call(key="k", now_ms=self.clock()))
                return await self.ask(a_call(key="k", idempotency=KEY, now_ms=self.clock()))
            case KeyEvent.KEEP:
                await self.second_process.keep(keeping(self.first, b"another result"))
            case KeyEvent.LET_GO:
                await self.second_process.keep(freeing(self.first))
            case KeyEvent.OWNER_DIES:
                await self.owner_dies()
            case KeyEvent.EXPIRE:
                await self.expires()
        return None

    async def ask(self, request):
        try:
            return await self.second_process.admit(request)
        except IdempotencyInProgress as taken:
            return taken

    async def owner_dies(self):
        self.clock.at_ms += BEYOND_A_LEASE_MS
        await self.second_process.lease.renew()

    async def expires(self):
        # An owner that lives renews its lease all the while.
        lives = self.state() == KeyState.IN_PROGRESS
        self.clock.at_ms += KEPT_MS
        if lives:
            with self.home.database() as db:
                db.execute("UPDATE owners SET lease_until_ms = ?", (self.clock() + 15_000,))
        await self.second_process.lease.renew()
        await self.second_process._sweep()


@asynccontextmanager
async def a_scene(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as first, a_ledger(home, clock=clock) as second:
        yield Scene(home, clock, first, second)


@pytest.mark.parametrize("event", list(KeyEvent))
@pytest.mark.parametrize("state", list(KeyState))
async def test_a_key_moves_as_the_table_says_and_not_otherwise(home, state, event):
    async with a_scene(home) as scene:
        await scene.bring_to(state)
        told = await scene.happens(event)
        assert scene.state() == TRANSITIONS.get((state, event), state)
        if event in {KeyEvent.TAKE, KeyEvent.HIT}:
            if state == KeyState.IN_PROGRESS:
                assert isinstance(told, IdempotencyInProgress)
                assert told.generation_id == scene.first.facts.generation_id
            elif state == KeyState.DONE:
                assert (told.generation_id, told.result) == (scene.first.facts.generation_id, b"result")
            elif event == KeyEvent.TAKE:
                assert isinstance(told, Lead)
            else:
                assert (told.hit.body, told.result) == (b"answer", None)
        if state == KeyState.DONE and event == KeyEvent.KEEP:
            assert rows(home, "SELECT result FROM idempotency") == [(b"result",)]


@pytest.mark.parametrize("state", [KeyState.IN_PROGRESS, KeyState.ORPHANED, KeyState.DONE])
async def test_another_request_is_refused_whatever_became_of_the_first(home, state):
    async with a_scene(home) as scene:
        await scene.bring_to(state)
        other = a_call(idempotency=an_idempotency_key(body="other"), now_ms=scene.clock())
        with pytest.raises(IdempotencyMismatch):
            await scene.second_process.admit(other)
        assert scene.state() == state
        assert rows(home, "SELECT COUNT(*) FROM generations") == [(1,)]


async def test_the_same_key_of_another_caller_is_another_key(home):
    async with a_ledger(home) as ledger:
        mine = a_call(idempotency=an_idempotency_key(caller="key_1"))
        await keep(ledger, mine, await ledger.admit(mine), b"mine")
        theirs = a_call(idempotency=an_idempotency_key(caller="key_2", body="other"))
        assert isinstance(await ledger.admit(theirs), Lead)
        await ledger.keep(freeing(theirs))
        again = await ledger.admit(a_call(idempotency=an_idempotency_key(caller="key_1")))
        assert again.result == b"mine"


async def test_a_replay_writes_nothing_and_holds_nothing(home):
    async with a_ledger(home, ceilings=[Ceiling(scope="global", window="total", limit=1000)]) as ledger:
        first = a_call(idempotency=KEY)
        await keep(ledger, first, await ledger.admit(first))
        before = rows(home, "SELECT * FROM idempotency")
        again = a_call(idempotency=KEY)
        replay = await ledger.admit(again)
        assert isinstance(replay, Replay), "although the ceiling has no room any more"
        assert (replay.generation_id, replay.created_at_ms) == (first.facts.generation_id, BEGAN_MS)
        assert rows(home, "SELECT * FROM idempotency") == before
        assert rows(home, "SELECT COUNT(*) FROM holds") == [(1,)]
        assert rows(home, "SELECT COUNT(*) FROM generations") == [(1,)]


async def test_repeating_one_admission_is_no_second_call(home):
    async with a_ledger(home) as ledger:
        request = a_call(idempotency=KEY)
        lead = await ledger.admit(request)
        assert await ledger.admit(request) == lead
        await admit_and_settle(ledger, a_call(key="k"))
        hitting = a_call(key="k", idempotency=an_idempotency_key("hit"))
        assert await ledger.admit(hitting) == await ledger.admit(hitting)
        assert rows(home, "SELECT COUNT(*) FROM idempotency") == [(2,)]


@pytest.mark.parametrize("bids", [(), None])
async def test_a_call_that_is_not_admitted_takes_no_key_and_gives_up_one_it_had(home, bids):
    ceilings = [Ceiling(scope="global", window="total", limit=1500)]
    async with a_ledger(home, ceilings=ceilings) as ledger:
        leader = a_call(key="k")
        lead = await ledger.admit(leader)
        follower = a_call(key="k", idempotency=KEY, bids=bids)
        assert isinstance(await ledger.admit(follower), Follow)
        assert rows(home, "SELECT state FROM idempotency") == [("in_progress",)]
        await ledger.settle(a_settlement(leader, lead, cost=1000, stores=False))
        assert isinstance(await ledger.admit(follower), Missing if bids == () else Refused)
        assert rows(home, "SELECT state FROM idempotency") == []


async def test_a_follower_leaves_its_result_with_its_record(home):
    async with a_ledger(home) as ledger:
        leader = a_call(key="k")
        await ledger.admit(leader)
        follower = a_call(key="k", idempotency=KEY)
        await ledger.admit(follower)
        ending = an_ending(follower, saved=400)
        await ledger.record_follower(
            follower.facts, ending, leader_id=leader.facts.generation_id, keeping=keeping(follower)
        )
        assert (await ledger.admit(a_call(key="k", idempotency=KEY))).result == b"result"


async def test_a_stalled_process_that_wakes_up_leaves_its_paid_result(home):
    async with a_scene(home) as scene:
        await scene.bring_to(KeyState.ORPHANED)
        await scene.second_process._sweep()
        await keep(scene.second_process, scene.first, scene.lead, b"late")
        replay = await scene.second_process.admit(a_call(idempotency=KEY, now_ms=scene.clock()))
        assert replay.result == b"late"


async def test_a_stalled_process_that_wakes_up_leaves_nothing_where_somebody_took_the_key(home):
    async with a_scene(home) as scene:
        await scene.bring_to(KeyState.ORPHANED)
        second = a_call(idempotency=KEY, now_ms=scene.clock())
        lead = await scene.second_process.admit(second)
        await scene.second_process._sweep()
        await keep(scene.second_process, scene.first, scene.lead, b"late")
        with pytest.raises(IdempotencyInProgress):
            await scene.second_process.admit(a_call(idempotency=KEY, now_ms=scene.clock()))
        await keep(scene.second_process, second, lead, b"second")
        replay = await scene.second_process.admit(a_call(idempotency=KEY, now_ms=scene.clock()))
        assert (replay.result, replay.generation_id) == (b"second", second.facts.generation_id)


@pytest.mark.parametrize("follows", [False, True])
async def test_a_fenced_process_takes_keys_under_its_new_lease(home, follows):
    async with a_scene(home) as scene:
        await scene.owner_dies()
        await scene.second_process.admit(a_call(key="k", now_ms=scene.clock()))
        key = "k" if follows else None
        told = await scene.first_process.admit(a_call(key=key, idempotency=KEY, now_ms=scene.clock()))
        assert isinstance(told, Follow if follows else Lead)
        assert scene.state() == KeyState.IN_PROGRESS


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_lease_that_is_over_does_not_come_back_with_the_clock(home, leaves):
    clock = Clock()
    async with a_ledger(home, clock=clock) as survivor:
        async with a_ledger(home, clock=clock) as ledger:
            await ledger.admit(a_call(idempotency=KEY))
            if not leaves:
                clock.at_ms += BEYOND_A_LEASE_MS
                await ledger.lease.renew()
                clock.at_ms -= BEYOND_A_LEASE_MS
                assert isinstance(await survivor.admit(a_call(idempotency=KEY)), Lead)
        if leaves:
            clock.at_ms -= 1000
            assert isinstance(await survivor.admit(a_call(idempotency=KEY, now_ms=clock())), Lead)


async def test_a_call_that_takes_longer_than_a_day_keeps_its_key(home):
    async with a_scene(home) as scene:
        await scene.bring_to(KeyState.IN_PROGRESS)
        await scene.expires()
        assert isinstance(await scene.happens(KeyEvent.TAKE), IdempotencyInProgress)
        assert scene.state() == KeyState.IN_PROGRESS


async def test_a_process_that_leaves_takes_no_key_with_it(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        follower = a_call(key="k", idempotency=KEY)
        await ledger.admit(a_call(key="k", held=0))
        await ledger.admit(follower)
    async with a_ledger(home, clock=clock) as ledger:
        assert isinstance(await ledger.admit(a_call(idempotency=KEY)), Lead)


async def test_records_are_forgotten_in_bounded_steps(home):
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        first = a_call(idempotency=KEY)
        await keep(ledger, first, await ledger.admit(first))
        many = FORGOTTEN_PER_SWEEP * 2 + 10

        def fill(db):
            copy = "INSERT INTO idempotency SELECT caller, ?, fingerprint, state, generation_id, owner_id, trace_id, "
            rest = (
                "created_at_ms, taken_at_ms, expires_at_ms, hit, result FROM idempotency WHERE idempotency_key = 'key'"
            )
            db.executemany(copy + rest, [(f"key {number}",) for number in range(many)])

        await ledger._store.write(fill)
        clock.at_ms += KEPT_MS - 1
        await ledger._sweep()
        assert rows(home, "SELECT COUNT(*) FROM idempotency") == [(many + 1,)]
        clock.at_ms += 1
        await ledger._sweep()
        assert rows(home, "SELECT COUNT(*) FROM idempotency") == [(0,)]


@pytest.mark.parametrize(("size", "kept"), [(MAX_KEPT_BYTES, True), (MAX_KEPT_BYTES + 1, False)])
async def test_what_is_too_large_to_keep_is_done_all_the_same(home, size, kept):
    async with a_ledger(home) as ledger:
        first = a_call(idempotency=KEY)
        await keep(ledger, first, await ledger.admit(first), bytes(size))
        replay = await ledger.admit(a_call(idempotency=KEY))
        assert (replay.result is not None) == kept


BREACHES = {
    "a key has one call at a time": "UPDATE idempotency SET generation_id = 'other' WHERE state = 'in_progress'",
    "a kept result stays until it expires": "UPDATE idempotency SET result = fingerprint WHERE state = 'done'",
    UNIQUE: "INSERT INTO idempotency SELECT * FROM idempotency",
    CHECKED: "UPDATE idempotency SET result = fingerprint WHERE state = 'in_progress'",
}


@pytest.mark.parametrize("words", BREACHES)
async def test_the_schema_refuses(home, words):
    async with a_ledger(home) as ledger:
        await ledger.admit(a_call(idempotency=KEY))
        done = a_call(idempotency=an_idempotency_key("done"))
        await keep(ledger, done, await ledger.admit(done))
        with (
            home.database() as db,
            pytest.raises(REFUSED, match=words),
        ):
            db.execute(BREACHES[words])
