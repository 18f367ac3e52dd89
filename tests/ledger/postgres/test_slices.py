"""Slices of hot ceilings: admissions beside the turn, and every invariant as it is without."""

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from unittest import mock

import pytest

from ledger.apikeys import ApiKeyOver
from ledger.ceilings import Ceiling
from ledger.errors import LedgerUnavailable
from ledger.operations import admissions
from ledger.operations.admissions import Asked
from ledger.operations.ceilings import CeilingsInForce
from ledger.operations.owners import sweep
from ledger.postgres import beside as beside_module
from ledger.postgres.address import address_of
from ledger.postgres.beside import admit_beside
from ledger.postgres.connection import open_connection
from ledger.postgres.slices import more_for, size_of
from ledger.values import Bid, Follow, Hit, Lead, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle, an_idempotency_key

HOT = (Ceiling(scope="global", window="day", limit=1_000_000),)
ABOVE = 5
# What is not so at a commit: a limit passed, or a window that holds something else than its open holds and slices.
BROKEN = """
SELECT w.ceiling_id, w.held_amount, w.spent_amount, w.limit_amount FROM ceiling_windows AS w
 WHERE w.held_amount + w.spent_amount > w.limit_amount
    OR w.held_amount <>
       (SELECT COALESCE(SUM(CASE w.counts WHEN 'nanousd' THEN h.held_nanousd ELSE 1 END), 0)
          FROM holds AS h JOIN hold_windows AS link ON link.hold_id = h.hold_id
         WHERE h.state = 'held' AND link.ceiling_id = w.ceiling_id AND link.starts_at_ms = w.starts_at_ms)
       + (SELECT COALESCE(SUM(free_amount), 0) FROM slices AS s
           WHERE s.ceiling_id = w.ceiling_id AND s.starts_at_ms = w.starts_at_ms)
"""


async def a_hot_ledger(stack, home, ceilings=HOT, **more):
    """A replica that has a slice of each of these ceilings."""
    ledger = await stack.enter_async_context(a_ledger(home, ceilings=ceilings, slice_above_per_s=ABOVE, **more))
    await heat(ledger)
    return ledger


async def heat(ledger):
    await asyncio.gather(*(admit_and_settle(ledger, a_call(held=100), cost=100) for _ in range(3 * ABOVE)))
    assert (await standing(ledger)).sliced > 0


async def standing(ledger, scope="global"):
    (found,) = [status for status in await ledger.ceiling_statuses() if status.scope == scope]
    return found


def admitted_beside(ledger):
    """Counts from now on."""
    counted = []
    admit = ledger._admit_together_beside

    def counting(db, asked):
        found = admit(db, asked)
        counted.extend(result for result in found if isinstance(result, Lead))
        return found

    ledger._admit_together_beside = counting
    return counted


async def watch(home, over):
    """What is broken at any commit that is seen; how many were."""
    seen, found = 0, []
    async with open_connection(address_of(home.url)) as connection:
        while not over.is_set():
            found += await connection.run(lambda db: db.execute(BROKEN).fetchall())
            seen += 1
    return seen, found


async def test_an_admission_under_a_slice_takes_no_turn(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        beside, before = admitted_beside(ledger), await standing(ledger)
        turn = await stack.enter_async_context(open_connection(address_of(postgres_home.url)))
        await turn.run(lambda db: db.run_script("BEGIN; SELECT version FROM ledger_turn FOR UPDATE"))
        request = a_call(held=100, key="k")
        lead = await ledger.admit(request)
        assert isinstance(lead, Lead)
        assert beside == [lead], "while another has the turn"
        now = await standing(ledger)
        assert (now.held, now.sliced) == (before.held, before.sliced - 100)
        await turn.run(lambda db: db.run_script("ROLLBACK"))
        assert await ledger.lead_of(request) == lead
        await ledger.settle(a_settlement(request, lead, cost=70))
        assert isinstance(await ledger.admit(a_call(held=100, key="k")), Hit)
        after = await standing(ledger)
        assert after.spent == before.spent + 70
        (shown,) = await ledger.ceilings()
        assert shown["sliced_nanousd"] == after.sliced > 0
    with postgres_home.database() as db:
        assert db.execute("SELECT COUNT(*) FROM slices").fetchone() == (0,)
        assert db.execute("SELECT SUM(held_amount) FROM ceiling_windows").fetchone() == (0,), "who leaves gives back"


@pytest.mark.parametrize("limit", [60_000, 100_000_000], ids=["tight", "wide"])
async def test_three_replicas_of_64_callers_hold_a_hot_ceiling_at_every_commit(postgres_home, limit):
    chance, over = random.Random(limit), asyncio.Event()
    ceilings = (
        Ceiling(scope="global", window="day", limit=limit),
        Ceiling(scope="provider:p", window="total", unit="calls", limit=limit // 100),
    )

    async def calls(ledger):
        let_in = 0
        for _ in range(3):
            request = a_call(held=chance.randint(50, 300))
            lead = await ledger.admit(request)
            if isinstance(lead, Lead):
                let_in += 1
                await ledger.settle(a_settlement(request, lead, cost=chance.choice([None, 10, 50]), stores=False))
        return let_in

    async with AsyncExitStack() as stack:
        opened = [a_ledger(postgres_home, ceilings=ceilings, slice_above_per_s=ABOVE) for _ in range(3)]
        replicas = [await stack.enter_async_context(ledger) for ledger in opened]
        counts = [admitted_beside(ledger) for ledger in replicas]
        watching = asyncio.create_task(watch(postgres_home, over))
        let_in = sum(await asyncio.gather(*(calls(ledger) for ledger in replicas for _ in range(64))))
        over.set()
        seen, broken = await watching
    assert not broken
    assert seen > 10
    assert any(counts), "some were admitted beside the turn"
    findings = await asyncio.to_thread(verify_ledger, postgres_home.url, on_rule=str)
    assert findings.violations == ()
    assert findings.holds == let_in


async def test_a_budget_for_n_lets_exactly_n_in_whoever_keeps_slices_of_it(postgres_home):
    ceilings = (Ceiling(scope="global", window="total", limit=30_000),)
    async with AsyncExitStack() as stack:
        replicas = [await a_hot_ledger(stack, postgres_home, ceilings) for _ in range(3)]
        spent = (await standing(replicas[0])).spent
        counts = [admitted_beside(ledger) for ledger in replicas]
        works = [ledger.admit(a_call(held=100)) for _ in range(100) for ledger in replicas]
        admitted = await asyncio.gather(*works)
        leads = [admission for admission in admitted if isinstance(admission, Lead)]
        refused = [admission for admission in admitted if isinstance(admission, Refused)]
        now = await standing(replicas[0])
        assert (now.held, now.spent, now.sliced) == (30_000 - spent, spent, 0)
    assert any(counts), "some were admitted beside the turn"
    assert len(leads) == (30_000 - spent) // 100
    assert len(leads) + len(refused) == 300
    assert all(admission.held and admission.tight.held + spent == 30_000 for admission in refused)


async def test_a_refusal_is_for_what_is_spent_only_once_slices_are_given_back(postgres_home):
    ceilings = (Ceiling(scope="global", window="total", limit=100_000),)
    async with AsyncExitStack() as stack:
        keeper = await a_hot_ledger(stack, postgres_home, ceilings)
        other = await stack.enter_async_context(a_ledger(postgres_home, ceilings=ceilings))
        now = await standing(other)
        room = now.limit - now.spent
        ahead = await other.look_ahead(a_call(held=room))
        assert ahead.fit == 0, "a slice is no obstacle to who looks ahead"
        too_much = await other.admit(a_call(held=room + 1))
        assert isinstance(too_much, Refused)
        assert (too_much.held, too_much.tight.held) == (False, 0)
        await heat(keeper)
        now = await standing(other)
        assert isinstance(await other.admit(a_call(held=now.limit - now.spent)), Lead), "all that is not spent"
        assert (await standing(other)).sliced == 0
        turned_away = await keeper.admit(a_call(held=100))
        assert isinstance(turned_away, Refused)
        assert turned_away.held


async def test_a_dead_replicas_slices_are_given_back_and_its_holds_lapse(postgres_home):
    clock = Clock()
    async with AsyncExitStack() as stack:
        dead = await a_hot_ledger(stack, postgres_home, clock=clock)
        beside, before = admitted_beside(dead), await standing(dead)
        owner_id = dead.owner_id
        leads = await asyncio.gather(*(dead.admit(a_call(held=100)) for _ in range(3)))
        assert len(beside) == 3
        other = await stack.enter_async_context(a_ledger(postgres_home, clock=Clock(BEGAN_MS + 20_000), ceilings=HOT))
        await other._store.write(partial(sweep, now_ms=BEGAN_MS + 20_000))
        now = await standing(other)
        assert (now.held, now.sliced, now.spent) == (0, 0, before.spent + 300), "nothing but its calls is charged"
        late = await dead.admit(a_call(held=100, now_ms=BEGAN_MS + 1))
        assert isinstance(late, Lead)
        assert (dead.owner_id != owner_id, len(beside)) == (True, 3), "as a new owner, in turn"
        request = a_call(generation_id=leads[0].hold_id.removesuffix(".1"))
        await dead.settle(a_settlement(request, leads[0], cost=30, stores=False))
        assert (await standing(other)).spent == before.spent + 230, "late usage is a correction"
    findings = await asyncio.to_thread(verify_ledger, postgres_home.url, on_rule=str)
    assert findings.violations == ()


async def test_equal_calls_beside_and_in_turn_are_one(postgres_home):
    async with AsyncExitStack() as stack:
        replicas = [await a_hot_ledger(stack, postgres_home) for _ in range(2)]
        replicas.append(await stack.enter_async_context(a_ledger(postgres_home, ceilings=HOT)))
        for number in range(5):
            calls = [(ledger, a_call(held=100, key=f"same {number}")) for _ in range(6) for ledger in replicas]
            admitted = await asyncio.gather(*(ledger.admit(call) for ledger, call in calls))
            ((place, lead),) = [(place, it) for place, it in enumerate(admitted) if isinstance(it, Lead)]
            ledger, call = calls[place]
            assert {it.leader_id for it in admitted if isinstance(it, Follow)} == {call.facts.generation_id}
            await ledger.settle(a_settlement(call, lead))
    findings = await asyncio.to_thread(verify_ledger, postgres_home.url, on_rule=str)
    assert findings.violations == ()


async def test_a_repeated_call_and_an_unknown_key_are_decided_as_in_turn(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        beside, call = admitted_beside(ledger), a_call(held=100)
        assert await ledger.admit(call) == await ledger.admit(call)
        assert len(beside) == 1
        stranger = type(call)(**{name: getattr(call, name) for name in call.__struct_fields__} | {"api_key": "nobody"})
        with pytest.raises(ApiKeyOver):
            await ledger.admit(stranger)


async def test_a_changed_limit_counts_at_once(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        beside = admitted_beside(ledger)
        other = await stack.enter_async_context(a_ledger(postgres_home, ceilings=HOT))
        await other.configure_ceilings((Ceiling(scope="global", window="day", limit=1),))
        assert isinstance(await ledger.admit(a_call(held=100)), Refused)
        assert isinstance(await ledger.admit(a_call(held=0)), Lead)
        assert not beside


async def test_what_nobody_asks_for_any_more_is_given_back(postgres_home):
    clock = Clock()
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home, clock=clock)
        clock.at_ms += 3000
        await ledger._sweep()
        now = await standing(ledger)
        assert (now.sliced, now.held) == (0, 0)


async def test_who_has_no_slice_of_one_of_its_ceilings_takes_its_turn(postgres_home):
    ceilings = (*HOT, Ceiling(scope="model:q:m", window="day", limit=10**6))
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home, ceilings)
        beside = admitted_beside(ledger)
        bid = Bid(deployment="q:m", held_nanousd=100, price_version="v1")
        assert isinstance(await ledger.admit(a_call(bids=(bid,))), Lead)
        assert not beside
        assert isinstance(await ledger.admit(a_call(held=100)), Lead)
        assert len(beside) == 1


async def test_what_no_hold_bounds_takes_nothing_of_a_slice(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        beside, before = admitted_beside(ledger), await standing(ledger)
        bid = Bid(deployment="p:m", held_nanousd=100, price_version="v1", unbounded_in=("usd",), unbounded_by="tools")
        refused = await ledger.admit(a_call(bids=(bid,)))
        assert (refused.error.code, refused.error.field) == ("unbounded_cost", "tools")
        assert not beside
        assert (await standing(ledger)).spent == before.spent


async def test_on_a_file_it_changes_nothing_and_says_so(sqlite_home, caplog):
    async with a_ledger(sqlite_home, ceilings=HOT, slice_above_per_s=1) as ledger:
        await asyncio.gather(*(admit_and_settle(ledger, a_call(held=100), cost=100) for _ in range(20)))
        (shown,) = await ledger.ceilings()
    assert (shown["sliced_nanousd"], shown["held_nanousd"]) == (0, 0)
    assert "changes nothing on a file" in caplog.text


def test_a_slice_is_small_and_of_what_is_asked_for():
    assert size_of(1_000, limit=10**9) == 2_000
    assert size_of(10**9, limit=10_000) == 100, "a hundredth at most"
    assert more_for(1_000, 500, limit=10**9, room=10**9) == 1_500
    assert more_for(1_000, 2_000, limit=10**9, room=10**9) == 0
    assert more_for(1_000, 0, limit=10**9, room=10**8) is None, "near the limit there are single holds alone"
    assert more_for(1_000, 0, limit=10**9, room=10**8 + 2_000) == 2_000
    assert more_for(1_000, 0, limit=99, room=99) is None


@asynccontextmanager
async def an_admission_under_way(home, ledger, request):
    """Beside the turn, not committed until the block tells it to: `commit()`. Nobody waits for who is not behind it."""
    asked = Asked(request, ledger.owner_id)
    async with open_connection(address_of(home.url)) as connection:

        def begin(db):
            db.run_script("BEGIN")
            return admit_beside(db, [asked], ceilings=CeilingsInForce())[0][0]

        lead = await connection.run(begin)
        assert isinstance(lead, Lead)
        yield lambda: connection.run(lambda db: db.run_script("COMMIT"))


async def until_somebody_waits(home):
    """For a row or a key that another transaction holds."""
    waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(60), open_connection(address_of(home.url)) as connection:
        while await connection.run(lambda db: db.execute(waiting).fetchone()) == (0,):
            await asyncio.sleep(0)


async def test_a_sweep_sees_the_holds_of_who_admits_while_its_lease_ends(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        before = await standing(ledger)
        late = await stack.enter_async_context(a_ledger(postgres_home, clock=Clock(BEGAN_MS + 20_000), ceilings=HOT))
        async with an_admission_under_way(postgres_home, ledger, a_call(held=100)) as commit:
            sweeping = asyncio.create_task(late._store.write(partial(sweep, now_ms=BEGAN_MS + 20_000)))
            await until_somebody_waits(postgres_home)
            await commit()
            assert await sweeping == 1
        now = await standing(ledger)
        assert (now.held, now.spent) == (0, before.spent + 100)


async def test_who_asks_what_became_of_an_admission_waits_for_its_end(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        request = a_call(held=100)
        async with an_admission_under_way(postgres_home, ledger, request) as commit:
            asking = asyncio.create_task(ledger.lead_of(request))
            await until_somebody_waits(postgres_home)
            await commit()
            assert isinstance(await asking, Lead), "never that there is none, and then one"


async def test_who_leads_in_turn_gives_way_to_who_led_beside_it(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        other = await stack.enter_async_context(a_ledger(postgres_home, ceilings=HOT))
        first = a_call(held=100, key="same")
        keyed = a_call(held=100, key="same", idempotency=an_idempotency_key())
        for equal in ([a_call(held=100, key="same")], [a_call(held=100, key="same") for _ in range(3)], [keyed]):
            async with an_admission_under_way(postgres_home, ledger, first) as commit:
                asking = asyncio.gather(*map(other.admit, equal))
                await until_somebody_waits(postgres_home)
                await commit()
                assert {found.leader_id for found in await asking} == {first.facts.generation_id}
            await ledger.settle(a_settlement(first, Lead(bid=0, hold_id=f"{first.facts.generation_id}.1", attempt=1)))
            with postgres_home.database() as db:
                db.execute("DELETE FROM responses")
            first = a_call(held=100, key="same")


async def test_a_slice_is_recalled_with_what_is_spent_of_it_under_way(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        other = await stack.enter_async_context(a_ledger(postgres_home, ceilings=HOT))
        before = await standing(ledger)
        room = before.limit - before.spent
        async with an_admission_under_way(postgres_home, ledger, a_call(held=100)) as commit:
            asking = asyncio.create_task(other.admit(a_call(held=room)))
            await until_somebody_waits(postgres_home)
            await commit()
            refused = await asking
        assert isinstance(refused, Refused)
        assert (refused.held, refused.tight.held) == (True, 100)
        assert isinstance(await other.admit(a_call(held=room - 100)), Lead)


async def test_an_answer_that_was_stored_meanwhile_is_found(postgres_home):
    async with AsyncExitStack() as stack:
        ledger = await a_hot_ledger(stack, postgres_home)
        leader, follower = a_call(held=100, key="k"), a_call(held=100, key="k")
        lead = await ledger.admit(leader)
        before = await standing(ledger)
        async with open_connection(address_of(postgres_home.url)) as connection:

            def look_then_lead(db):
                """As if the answer came between the look and the flight."""
                db.run_script("BEGIN")
                first, answers = True, admissions.find_answers

                def find_answers(db, requests):
                    nonlocal first
                    found, first = {} if first else answers(db, requests), False
                    return found

                with mock.patch.object(beside_module, "find_answers", find_answers):
                    found = admit_beside(db, [Asked(follower, ledger.owner_id)], ceilings=CeilingsInForce())
                db.run_script("COMMIT")
                return found[0]

            await ledger.settle(a_settlement(leader, lead, cost=100))
            assert await connection.run(look_then_lead) == [None]
        assert isinstance(await ledger.admit(follower), Hit)
        assert (await standing(ledger)).held == before.held - 100
    with postgres_home.database() as db:
        assert db.execute("SELECT COUNT(*) FROM flights").fetchone() == (0,)


async def test_who_loses_its_flight_each_time_is_told_that_it_could_not_be_admitted(postgres_home):
    async with a_ledger(postgres_home) as ledger:
        with postgres_home.database() as db:
            db.execute("CREATE FUNCTION is_late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
            db.execute("CREATE TRIGGER is_late BEFORE INSERT ON flights FOR EACH ROW EXECUTE FUNCTION is_late()")
        calls = [a_call(key="k"), a_call(key="other"), a_call()]
        admitted = await asyncio.gather(*map(ledger.admit, calls), return_exceptions=True)
        assert [type(admission) for admission in admitted] == [LedgerUnavailable, LedgerUnavailable, Lead]
        assert not admitted[0].unknown
    with postgres_home.database() as db:
        assert db.execute("SELECT generation_id FROM holds").fetchall() == [(calls[2].facts.generation_id,)]
