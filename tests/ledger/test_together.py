"""What shares a batch is looked up and written together, and comes to what it comes to one by one."""

import asyncio

import msgspec
import pytest

from ledger.apikeys import ApiKeyOver
from ledger.ceilings import Ceiling
from ledger.errors import IdempotencyInProgress, IdempotencyMismatch, UsageDiffers
from ledger.usage import Usage
from ledger.values import Bid, CacheBounds, Follow, Hit, Lead, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, a_settlement, admit_and_settle, an_idempotency_key
from tests.ledger.homes import SqliteHome

CEILINGS = (
    Ceiling(scope="global", window="month", limit=42_000),
    Ceiling(scope="provider:q", window="day", unit="tokens", limit=10_000),
    Ceiling(scope="user:*", window="hour", unit="calls", limit=100),
    Ceiling(scope="model:*", window="total", unit="calls", limit=100),
)
WRITTEN = (
    "SELECT ceiling_id, held_amount, spent_amount, warn_amount FROM ceiling_windows",
    "SELECT deployment, key_id, basis, outcome, cost_nanousd, generations, attempts, prompt_tokens FROM spend_hours",
    "SELECT dimension, name, outcome, cost_nanousd, generations, attempts FROM spend_hours_by_name",
    "SELECT deployment, kind, bucket, count, sum_us, max_us FROM latency_buckets",
    "SELECT hold_id, cost_nanousd, overrun_nanousd, tokens FROM postings",
    "SELECT hold_id, state, outcome FROM holds",
    "SELECT generation_id, cache, outcome FROM generations",
    "SELECT entries, bytes FROM response_totals",
    "SELECT generation_id FROM responses",
    "SELECT generation_id FROM flights",
    "SELECT dedup_key FROM events",
)


def calls():
    """Of two users and deployments; every fourth has an equal call before it, every fifth shares nothing."""
    for number in range(40):
        deployment = "p:m" if number % 3 else "q:m"
        bid = Bid(deployment=deployment, held_nanousd=1000 + number, held_tokens=50 + number, price_version="v1")
        key = None if number % 5 == 0 else f"key {number - (number % 4 == 3)}"
        request = a_call(key=key, bids=(bid,), generation_id=f"gen_{number:02}")
        who = {**request.facts.attribution, "user": f"u{number % 2}"}
        yield msgspec.structs.replace(request, facts=msgspec.structs.replace(request.facts, attribution=who))


def settlements(requests, admissions):
    """Some cost nothing, some more than they held, some failed."""
    for number, (request, admission) in enumerate(zip(requests, admissions, strict=True)):
        if not isinstance(admission, Lead):
            continue
        cost = (None, 400, 1000, 5000)[number % 4]
        outcome = "ok" if cost is not None else "rate_limited"
        used = Usage(input_tokens=number, output_tokens=2)
        times = {"latency_us": 1000 + number % 3, "ttft_us": 500 if number % 2 else None}
        yield a_settlement(request, admission, cost=cost, outcome=outcome, status=200, usage=used, **times)


async def come_to(home, run):
    """(what was admitted, what is written) after all of them, with a call that opens every window before them."""
    async with a_ledger(home, ceilings=CEILINGS) as ledger:
        for deployment, user in (("p:m", "u0"), ("q:m", "u1")):
            bid = Bid(deployment=deployment, held_nanousd=10, held_tokens=1, price_version="v1")
            request = a_call(bids=(bid,), generation_id=f"gen_{user}")
            who = {**request.facts.attribution, "user": user}
            request = msgspec.structs.replace(request, facts=msgspec.structs.replace(request.facts, attribution=who))
            await admit_and_settle(ledger, request, cost=10)
        requests = list(calls())
        admitted = await run(map(ledger.admit, requests))
        await run(map(ledger.settle, settlements(requests, admitted)))
        await run(map(ledger.settle, settlements(requests, admitted)))
        again = await run(map(ledger.admit, requests))
    with home.database() as db:
        written = [sorted(map(repr, db.execute(sql).fetchall())) for sql in WRITTEN]
    return [*admitted, *again], written


async def at_once(works):
    return await asyncio.gather(*works)


async def one_by_one(works):
    return [await work for work in works]


def seen(admission):
    """Whose flight it follows is another process's matter."""
    return admission.leader_id if isinstance(admission, Follow) else admission


async def test_a_batch_comes_to_what_its_calls_come_to_one_by_one(home, tmp_path):
    (tmp_path / "alone").mkdir()
    together, written = await come_to(home, at_once)
    alone, wanted = await come_to(SqliteHome(tmp_path / "alone"), one_by_one)
    assert {type(admission) for admission in together} == {Lead, Follow, Hit}
    assert list(map(seen, together)) == list(map(seen, alone))
    assert written == wanted
    assert any("posting.overrun" in event for event in written[-1])
    assert any("ceiling month global" in event for event in written[-1])
    findings = await asyncio.to_thread(verify_ledger, home.url, on_rule=str)
    assert findings.violations == ()


async def test_one_call_twice_in_a_batch_is_one_call(home):
    async with a_ledger(home, ceilings=CEILINGS) as ledger:
        await admit_and_settle(ledger, a_call(held=10))
        call = a_call(key="k", generation_id="gen_twice")
        first, second = await asyncio.gather(ledger.admit(call), ledger.admit(call))
        assert first == second
        await asyncio.gather(*(ledger.settle(a_settlement(call, first)) for _ in range(3)))
        (found, *_) = [status for status in await ledger.ceiling_statuses() if status.scope == "global"]
    assert (found.held, found.spent) == (0, 800)


async def test_a_batch_fills_a_ceiling_to_the_last_call_and_says_so_to_the_others(home):
    async with a_ledger(home, ceilings=[Ceiling(scope="global", window="day", limit=1000)]) as ledger:
        await admit_and_settle(ledger, a_call(held=100), cost=100)
        with home.database() as db:  # Without the schema's guard, which would have each decided alone.
            on = "" if home.engine == "sqlite" else " ON ceiling_windows"
            db.execute(f"DROP TRIGGER a_new_hold_fits_under_its_ceiling{on}")
        admitted = await asyncio.gather(*(ledger.admit(a_call(held=100)) for _ in range(20)))
    assert [type(admission) for admission in admitted] == [Lead] * 9 + [Refused] * 11
    assert all(refused.held and refused.tight.held == 900 for refused in admitted[9:])


async def test_equal_calls_of_one_batch_are_one_flight_however_long_it_takes_them_to_come(home):
    async with a_ledger(home) as ledger:
        calls = [a_call(key="k", now_ms=BEGAN_MS + 10 * number) for number in range(5)]
        admitted = await asyncio.gather(*map(ledger.admit, calls))
    leader = Follow(leader_id=calls[0].facts.generation_id, owner_id=ledger.owner_id)
    assert isinstance(admitted[0], Lead)
    assert admitted[1:] == [leader] * 4


def two_bids():
    """A call whose first bid has no room."""
    return tuple(Bid(deployment=name, held_nanousd=600, price_version="v1") for name in ("q:m", "p:m"))


@pytest.mark.parametrize(
    "unusual",
    [{"idempotency": an_idempotency_key()}, {"bids": two_bids()}],
    ids=["a key to look up", "another bid to try"],
)
async def test_who_takes_longer_to_decide_comes_first_all_the_same(home, unusual):
    ceilings = (Ceiling(scope="global", window="day", limit=1000), Ceiling(scope="provider:q", window="day", limit=10))
    async with a_ledger(home, ceilings=ceilings) as ledger:
        await admit_and_settle(ledger, a_call(held=10), cost=10)
        calls = [
            a_call(key="k", **{"held": 600, **unusual}),
            a_call(key="k", held=1),
            a_call(held=600),
            a_call(held=100),
        ]
        first, equal, other, small = await asyncio.gather(*map(ledger.admit, calls))
    assert isinstance(first, Lead)
    assert equal == Follow(leader_id=calls[0].facts.generation_id, owner_id=ledger.owner_id)
    assert isinstance(other, Refused)
    assert other.tight.held == 600
    assert isinstance(small, Lead)


async def test_what_became_of_a_call_that_nobody_waits_for_is_looked_for_once_it_is_admitted(home):
    async with a_ledger(home) as ledger:
        earlier, call = a_call(), a_call()
        await ledger.admit(earlier)
        works = [ledger.lead_of(earlier), ledger.admit(call), ledger.lead_of(call)]
        _, lead, found = await asyncio.gather(*works)
    assert isinstance(lead, Lead)
    assert found == lead


async def test_who_is_refused_for_its_key_is_refused_alone(home):
    async with a_ledger(home) as ledger:
        await ledger.admit(a_call(idempotency=an_idempotency_key("taken")))
        calls = [
            a_call(),
            a_call(idempotency=an_idempotency_key("taken", body="other")),
            a_call(idempotency=an_idempotency_key("taken")),
            a_call(idempotency=an_idempotency_key("free")),
            msgspec.structs.replace(a_call(), api_key="never made"),
        ]
        admitted = await asyncio.gather(*map(ledger.admit, calls), return_exceptions=True)
    assert [type(admission) for admission in admitted] == [
        Lead, IdempotencyMismatch, IdempotencyInProgress, Lead, ApiKeyOver,
    ]  # fmt: skip


async def test_who_differs_from_what_was_settled_before_is_told_alone(home):
    async with a_ledger(home) as ledger:
        requests = [a_call() for _ in range(4)]
        leads = await asyncio.gather(*map(ledger.admit, requests))
        await ledger.settle(a_settlement(requests[0], leads[0], cost=1))
        works = [ledger.settle(a_settlement(call, lead, cost=2)) for call, lead in zip(requests, leads, strict=True)]
        settled = await asyncio.gather(*works, return_exceptions=True)
    assert isinstance(settled[0], UsageDiffers)
    assert settled[1:] == [None] * 3
    with home.database() as db:
        assert sorted(db.execute("SELECT cost_nanousd FROM postings").fetchall()) == [(1,), (2,), (2,), (2,)]


async def test_answers_that_settle_together_stay_within_bounds(home):
    bounds = CacheBounds(max_entries=3, max_bytes=1000)
    async with a_ledger(home, bounds=bounds) as ledger:
        requests = [a_call(key=f"k{number}") for number in range(8)]
        leads = await asyncio.gather(*map(ledger.admit, requests))
        works = [
            a_settlement(call, lead, ttl_ms=1000 + place)
            for place, (call, lead) in enumerate(zip(requests, leads, strict=True))
        ]
        await asyncio.gather(*map(ledger.settle, works))
    with home.database() as db:
        assert db.execute("SELECT entries FROM response_totals").fetchone() == (3,)
        stored = db.execute("SELECT expires_at_ms FROM responses ORDER BY expires_at_ms").fetchall()
    assert [at_ms - BEGAN_MS for (at_ms,) in stored] == [1005, 1006, 1007]
