"""A ledger with rows of every kind in every table, as its operations leave them."""

import msgspec

from ledger.apikeys import ApiKey, KeptKey
from ledger.ceilings import HOUR_MS, Ceiling
from ledger.corrections import Correction, open_corrector
from ledger.events import EventRaised, Try
from ledger.prices import Price, Tier
from ledger.upkeep import prune_ledger
from ledger.usage import Usage
from ledger.values import Keeping, Lead, Refused
from tests.ledger.calls import Clock, a_call, a_ledger, a_settlement, admit_and_settle, an_ending, an_idempotency_key
from tests.ledger.test_prune import HOUR_0, LATER_MS

CEILINGS = (
    Ceiling(scope="global", window="total", limit=10**9, warn_at=(0.000001,)),
    Ceiling(scope="model:p:m", window="hour", limit=10**9, downgrade_at=0.9),
    Ceiling(scope="user:*", window="day", limit=10**6, unit="tokens"),
    Ceiling(scope="global", window="month", limit=99, unit="calls"),
)
HOOKS = {"hook": ["*"], "mail": ["*"]}
# What only comes about where processes die at the wrong moment.
ODD = (
    # Slices with nothing left, so that what is held stays as it is.
    "INSERT INTO slices (ceiling_id, starts_at_ms, owner_id, free_amount) "
    "SELECT ceiling_id, starts_at_ms, (SELECT MAX(owner_id) FROM owners), 0 FROM ceiling_windows",
    "INSERT INTO flights (cache_key, generation_id, owner_id, epoch) VALUES (:key, 'gen_odd', 'own_odd', 3)",
    "INSERT INTO failed_flights (failure_id, generation_id, failure, until_ms) VALUES (7, 'gen_odd', :blob, 1)",
    "INSERT INTO followed_sums (ceiling_id, starts_at_ms, amount, ceilings_epoch, seq) VALUES ('', 0, 1, 1, 1)",
)


def an_event(name):
    return EventRaised(type="disk.low", dedup_key=f"disk.low {name}", at_ms=LATER_MS, facts={"name": name})


def a_key():
    ceilings = (Ceiling(scope="key:k1", window="day", limit=10**9),)
    key = ApiKey(
        key_id="k1", name="jobs", team="t", role="caller", routes=("chat",), ceilings=ceilings, created_at_ms=LATER_MS,
        expires_at_ms=None,
    )  # fmt: skip
    return KeptKey(key=key, digest=b"k1".ljust(32, b"."), pepper_id="p1")


async def make_everything(home):
    """Returns the moment from which on nobody uses it any more: its last process died with holds open."""
    clock = Clock(HOUR_0)
    async with a_ledger(home, clock=clock, ceilings=CEILINGS[:2]) as ledger:
        await ledger.record_prices({"p:m": Price(version="v1", base=Tier(input=100_000_000, output=50_000_000))})
        for _ in range(4):
            await admit_and_settle(ledger, a_call(now_ms=clock()))
    prune_ledger(home.url, HOUR_0 + HOUR_MS, now_ms=LATER_MS, on_step=lambda _: None)
    clock.at_ms = LATER_MS
    async with a_ledger(home, clock=clock, ceilings=CEILINGS) as ledger:
        await ledger.raise_event(an_event("seen before"))
        await ledger.due_deliveries(HOOKS, clock(), 9)
        await ledger.create_api_key(a_key())
        await ledger.change_memory("breaker p:m", lambda _: '{"state": "open"}')
        leads = [await admit_and_settle(ledger, a_call(now_ms=clock())) for _ in range(5)]
        stored = a_call(key="stored", now_ms=clock())
        leads.append(
            await admit_and_settle(
                ledger, stored, ttl_ms=HOUR_MS, cost=200, usage=Usage(input_tokens=1, output_image_tokens=2)
            )
        )
        assert not isinstance(await ledger.admit(a_call(key="stored", now_ms=clock())), Lead | Refused)
        await follow(ledger, clock)
        await ledger.settle(await unpaid(ledger, clock))
        await admit_under_key(ledger, clock)
        await ledger.raise_event(an_event("told"))
        await ledger.raise_event(an_event("to be told"))
        due = [it for it in await ledger.due_deliveries(HOOKS, clock(), 9) if it.event.facts.get("name") == "told"]
        states = {"hook": ("delivered", None), "mail": ("dead", 500)}
        await ledger.record_tries([a_try(it, clock, *states[it.target]) for it in due])
        full = await ledger.admit(a_call(held=10**12, now_ms=clock()))
        assert isinstance(full, Refused)
        await ledger.count_refusal("chat", full, now_ms=clock())
        async with open_corrector(home.url, clock_ms=clock) as books:
            await books.correct(
                [
                    Correction(
                        hold_id=leads[0].hold_id, cost_nanousd=7, basis="provider_reported", reason="said so · 言った",
                        price_version="v1", usage=None,
                    )
                ]
            )  # fmt: skip
        lapsing = await ledger.admit(a_call(now_ms=clock()))
        assert isinstance(lapsing, Lead)
        clock.at_ms += 60_000
        await ledger._sweep()
        clock.at_ms += 1
        await ledger.pair_sums().add_up()
        await ledger.lease.renew()
        for _ in range(2):
            assert isinstance(await ledger.admit(a_call(key=f"open {clock()}", now_ms=clock())), Lead)
            clock.at_ms += 1
    with home.database() as db:
        for statement in ODD:
            db.execute(statement, {"blob": b"\0\xff", "key": bytes(range(32))})
    return clock.at_ms + HOUR_MS


async def follow(ledger, clock):
    leader = a_call(key="shared", now_ms=clock())
    lead = await ledger.admit(leader)
    follower = a_call(key="shared", now_ms=clock())
    facts = msgspec.structs.replace(follower.facts, attribution={**follower.facts.attribution, "run": "r/1"})
    await ledger.settle(a_settlement(leader, lead))
    await ledger.record_follower(facts, an_ending(follower), leader_id=leader.facts.generation_id)


async def unpaid(ledger, clock):
    request = a_call(now_ms=clock())
    lead = await ledger.admit(request)
    return a_settlement(request, lead, cost=None, outcome="connect_failed")


async def admit_under_key(ledger, clock):
    request = a_call(idempotency=an_idempotency_key(), now_ms=clock())
    lead = await ledger.admit(request)
    keeping = Keeping(
        key=request.idempotency, generation_id=request.facts.generation_id, is_over=True, result=b"kept\0result"
    )
    await ledger.settle(msgspec.structs.replace(a_settlement(request, lead), keeping=keeping))


def a_try(delivery, clock, state, status):
    return Try(
        event_id=delivery.event.id, target=delivery.target, at_ms=clock(), state=state, next_at_ms=None, status=status,
        error=None,
    )  # fmt: skip
