"""A state machine of everything that can happen to a ledger, step by step against a small independent oracle."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from functools import partial

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ledger.ceilings import Ceiling
from ledger.errors import UsageDiffers
from ledger.operations.pairs import add_up_pairs
from ledger.prices import Price, Tier
from ledger.reports import SpendQuery
from ledger.usage import Usage
from ledger.values import Bid, Follow, Hit, HitAgain, Lead, NextAttempt, Refused
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_result, a_settlement, an_ending
from tests.properties.inline import an_inline_ledger
from tests.properties.lives import lives, run_on, until_one_fails
from tests.properties.oracle import LEASE_MS, Oracle, exact_cost
from tests.properties.planted import SEQUENTIAL_BUGS, SERVERS_BUG, SERVERS_OTHER_BUG, in_the_server

MINUTE_MS = 60_000
WINDOW_MS = (MINUTE_MS, 60 * MINUTE_MS, 24 * 60 * MINUTE_MS)
JUMPS_MS = (1, 700, 4_000, 16_000, 61_000, 3_600_000, 86_400_000, 31 * 86_400_000)
DEPLOYMENTS = ("a:x", "a:y", "b:z")
SCOPES = ("global", "provider:a", "provider:b", "model:a:x", "user:u1", "user:u2", "workflow:w")
LIMITS = {
    "usd": (3_000, 6_000, 10_000, 10_000, 20_000, 20_000, 0),
    "tokens": (100, 200, 400, 400, 800, 800, 0),
    "calls": (1, 2, 4, 6, 9, 12, 0),
}
PLACES = st.tuples(
    st.sampled_from(SCOPES),
    st.sampled_from(("minute", "hour", "day", "month", "total")),
    st.sampled_from(("usd", "usd", "tokens", "calls")),
)
CEILINGS = st.dictionaries(PLACES, st.integers(0, 6), max_size=5).map(
    lambda drawn: {place: LIMITS[place[2]][index] for place, index in drawn.items()}
)
AMOUNTS = st.one_of(st.just(0), st.integers(1, 4_000))
BIDS = st.lists(
    st.tuples(st.sampled_from(DEPLOYMENTS), AMOUNTS, st.integers(0, 120)),
    min_size=1,
    max_size=3,
    unique_by=lambda bid: bid[0],
)
CALLS = st.lists(
    st.tuples(BIDS, st.sampled_from(("u1", "u2", "")), st.sampled_from((None, None, "k1", "k2")), st.booleans()),
    min_size=1,
    max_size=5,
)
TOKENS = st.builds(
    Usage, input_tokens=st.integers(0, 40), cached_tokens=st.integers(0, 9), output_tokens=st.integers(0, 20)
)


class Open(msgspec.Struct):
    """A call that leads: what it asked, the hold it has, and its key."""

    request: object
    lead: Lead
    bid: Bid
    key: str | None


class LedgerMachine(RuleBasedStateMachine):
    """Every answer of the ledger is compared with the oracle's, and every ceiling's counts after each step.

    home: where its ledgers are, one after the other. unguarded: what takes away the schema's guards.
    """

    home = None
    unguarded = ""

    @initialize(limits=CEILINGS)
    def begin(self, limits):
        self.home.anew()
        self.runner, self.clock, self.oracle = asyncio.Runner(), Clock(), Oracle()
        self.price = Price(version="v0", base=Tier(input=33_333_333, output=77_777_777))
        self.open, self.ended, self.at_hand = [], [], {}
        self.limits = limits
        self.start()
        if self.unguarded:
            with self.home.database() as db:
                db.executescript(self.unguarded)

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def run_together(self, works):
        async def all_of_them():
            return await asyncio.gather(*works)

        return self.run(all_of_them())

    def start(self):
        self.stack = AsyncExitStack()
        self.ledger = self.run(self.stack.enter_async_context(an_inline_ledger(self.home, self.clock)))
        self.oracle.leases[self.ledger.owner_id] = self.clock.at_ms + LEASE_MS
        self.owner = self.ledger.owner_id
        self.put_in_force(self.limits)

    @rule(limits=CEILINGS)
    def put_in_force(self, limits):
        ceilings = [
            Ceiling(scope=scope, window=window, unit=unit, limit=most) for (scope, window, unit), most in limits.items()
        ]
        self.run(self.ledger.configure_ceilings(tuple(ceilings)))
        self.limits = limits
        self.oracle.put_in_force(limits, self.clock.at_ms)

    @rule(share=st.integers(50, 150))
    def change_limits(self, share):
        self.put_in_force({place: limit * share // 100 for place, limit in self.limits.items()})

    @rule(rate=st.integers(1, 10**8))
    def change_the_price(self, rate):
        base = Tier(input=rate, cached_input=rate // 7, output=rate * 3)
        self.price = Price(version=f"rate {rate}", base=base)

    @rule(calls=CALLS)
    def admit_some(self, calls):
        for call in calls:
            self.admit(*call)

    @rule(calls=CALLS)
    def admit_some_more(self, calls):
        """Most of a ledger's life."""
        self.admit_some(calls)

    @rule(calls=CALLS)
    def admit_some_at_once(self, calls):
        """In one batch, under one lease: it comes to what it would come to one by one."""
        self.renew()
        requests = [self.asked(bids, user, key) for bids, user, key, _ in calls]
        for request in requests:  # Who brings a new price waits until that is on record, and comes last.
            self.run(self.ledger._record_new_prices(request.bids))
        answers = self.run_together(map(self.ledger.admit, requests))
        for (_, _, key, _), request, answer in zip(calls, requests, answers, strict=True):
            self.check_admission(request, key, self.known(key), answer)

    def admit(self, bids, user, key, repeats):
        request, known = self.asked(bids, user, key), self.known(key)
        if self.is_served_from_memory(request, key, known, repeats=repeats):
            return
        answer = self.run(self.ledger.admit(request))
        self.note_owner()
        if repeats and not isinstance(answer, Refused):
            assert self.run(self.ledger.admit(request)) == answer
        self.check_admission(request, key, known, answer)

    def asked(self, bids, user, key):
        request = a_call(bids=self.made(bids), key=key, now_ms=self.clock.at_ms)
        attribution = {**request.facts.attribution, "user": user}
        return msgspec.structs.replace(request, facts=msgspec.structs.replace(request.facts, attribution=attribution))

    def known(self, key):
        return self.oracle.look_up(key, self.clock.at_ms) if key else None

    def check_admission(self, request, key, known, answer):
        match answer:
            case Hit(response=response):
                assert known == ("hit", response.cost_nanousd)
                self.at_hand[key] = response
                self.oracle.saved += response.cost_nanousd
                self.oracle.generations.add(request.facts.generation_id)
            case Follow(leader_id=leader_id):
                assert known == ("follow", leader_id)
                self.follow(request, leader_id)
            case _:
                assert known is None
                self.check_room(request, request.bids, answer)
        if isinstance(answer, Lead):
            self.oracle.generations.add(request.facts.generation_id)
            if key:
                self.oracle.flights[key] = (request.facts.generation_id, self.owner)
            self.open.append(Open(request, answer, request.bids[answer.bid], key))

    def is_served_from_memory(self, request, key, known, *, repeats):
        """What was a hit before is one again as long as it is the stored answer, and no longer."""
        at_hand = self.at_hand.get(key)
        if at_hand is None:
            return False
        again = HitAgain(
            facts=request.facts,
            cache_key=request.lookup.cache_key,
            answer_of=at_hand.generation_id,
            deployment=at_hand.deployment,
            saved_nanousd=at_hand.cost_nanousd,
            now_ms=request.now_ms,
        )
        served = {self.run(self.ledger.hit_again(again)) for _ in range(2 if repeats else 1)}
        may_be_served = known == ("hit", at_hand.cost_nanousd) and self.oracle.stored_by[key] == at_hand.generation_id
        assert served == {may_be_served}
        if may_be_served:
            self.oracle.saved += at_hand.cost_nanousd
            self.oracle.generations.add(request.facts.generation_id)
        return may_be_served

    def made(self, bids):
        return tuple(
            Bid(
                deployment=deployment,
                held_nanousd=held,
                held_tokens=tokens,
                price_version=self.price.version,
                price=self.price,
            )
            for deployment, held, tokens in bids
        )

    def follow(self, request, leader_id):
        ending = an_ending(request, saved=5, now_ms=self.clock.at_ms)
        self.run(self.ledger.record_follower(request.facts, ending, leader_id=leader_id))
        self.oracle.saved += 5
        self.oracle.generations.add(request.facts.generation_id)

    def check_room(self, request, bids, answer, number=1):
        """The first bid that fits is taken; else the refusal names a ceiling that stands just as it says."""
        scopes = [self.scopes_of(request, bid) for bid in bids]
        tight = [
            self.oracle.tight(places, bid, number, self.clock.at_ms) for places, bid in zip(scopes, bids, strict=True)
        ]
        fitting = [number for number, ceilings in enumerate(tight) if not ceilings]
        if fitting:
            assert isinstance(answer, Lead), answer
            assert answer.bid == fitting[0]
            bid = bids[answer.bid]
            self.oracle.take(answer.hold_id, scopes[answer.bid], bid, number, self.clock.at_ms, self.owner)
            return
        assert isinstance(answer, Refused), answer
        told, stood = answer.tight, tight[answer.bid]
        assert stood[told.scope, told.window, told.unit] == (told.limit, told.held, told.spent, told.asked)
        assert answer.held == all(
            unit != "calls" and spent + asked <= limit for (_, _, unit), (limit, _, spent, asked) in stood.items()
        )

    def scopes_of(self, request, bid):
        names = {f"{kind}:{name}" for kind, name in request.facts.attribution.items() if name}
        return {"global", f"provider:{bid.deployment.split(':')[0]}", f"model:{bid.deployment}"} | names

    def note_owner(self):
        """A write under a lease that is over takes a new one, and gives the old one up for good."""
        if self.ledger.owner_id != self.owner:
            assert self.oracle.leases[self.owner] < self.clock.at_ms
            self.oracle.leases[self.owner] = 0
            self.owner = self.ledger.owner_id
            self.oracle.leases[self.owner] = self.clock.at_ms + LEASE_MS

    def pick(self, data, calls):
        return calls.pop(data.draw(st.integers(0, len(calls) - 1)))

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        share=st.one_of(st.none(), st.integers(0, 130)),
        usage=st.one_of(st.none(), TOKENS),
        status=st.sampled_from((None, 429)),
        repeats=st.booleans(),
    )
    def settle(self, data, share, usage, status, repeats):
        call = self.pick(data, self.open)
        cost = None if share is None else call.bid.held_nanousd * share // 100
        outcome = "cut" if cost is None else "ok"
        self.end(call, repeats, usage, cost=cost, basis="provider_reported", outcome=outcome, status=status)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), usage=TOKENS)
    def settle_priced_usage(self, data, usage):
        call = self.pick(data, self.open)
        base = call.bid.price.base
        rates = {"input_tokens": base.input, "output_tokens": base.output}
        rates["cached_tokens"] = base.input if base.cached_input is None else base.cached_input
        cost = call.bid.price.cost_nanousd(usage)
        assert cost == exact_cost(usage, rates)
        self.end(call, False, usage, cost=cost)

    @precondition(lambda self: len(self.open) > 1)
    @rule(shares=st.lists(st.one_of(st.none(), st.integers(0, 130)), min_size=2, max_size=4), usage=TOKENS)
    def settle_some_at_once(self, shares, usage):
        """In one batch, the first of them twice."""
        calls = [self.open.pop() for _ in range(min(len(shares), len(self.open)))]
        results = [
            {
                "cost": None if share is None else call.bid.held_nanousd * share // 100,
                "basis": "provider_reported",
                "outcome": "cut" if share is None else "ok",
            }
            for call, share in zip(calls, shares, strict=False)
        ]
        settlements = [self.settlement(call, usage, **result) for call, result in zip(calls, results, strict=True)]
        self.run_together(map(self.ledger.settle, [*settlements, settlements[0]]))
        for call, settlement, result in zip(calls, settlements, results, strict=True):
            self.note_end(call, settlement, result["cost"])

    def end(self, call, repeats, usage, **result):
        settlement = self.settlement(call, usage, **result)
        for _ in range(1 + repeats):
            self.run(self.ledger.settle(settlement))
        self.note_end(call, settlement, result["cost"])

    def settlement(self, call, usage, **result):
        settlement = a_settlement(call.request, call.lead, **result)
        priced = msgspec.structs.replace(settlement.attempts[0], price_version=call.bid.price_version, usage=usage)
        return msgspec.structs.replace(settlement, attempts=(priced,))

    def note_end(self, call, settlement, cost):
        assert self.close(call, settlement.attempts[0])
        if call.key:
            expires_at_ms = call.request.now_ms + MINUTE_MS
            self.oracle.land(call.key, call.request.facts.generation_id, cost, expires_at_ms)
        self.ended.append((call, cost))

    def close(self, call, result):
        tokens = None if result.usage is None else result.usage.tokens
        was_sent = result.cost_nanousd is not None or result.status is not None
        return self.oracle.close(call.lead.hold_id, result.cost_nanousd, tokens, was_sent=was_sent)

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), more=st.integers(1, 9))
    def settle_otherwise(self, data, more):
        call, cost = data.draw(st.sampled_from(self.ended))
        settlement = a_settlement(call.request, call.lead, cost=(cost or 0) + more, stores=False)
        if len(self.oracle.attempts[call.lead.hold_id].lines) > 1:
            self.run(self.ledger.settle(settlement))  # It had lapsed, and what came first stands.
            return
        with pytest.raises(UsageDiffers):
            self.run(self.ledger.settle(settlement))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), bids=BIDS, cost=st.one_of(st.none(), st.integers(0, 900)))
    def try_another(self, data, bids, cost):
        call = self.pick(data, self.open)
        failed = a_result(call.lead, cost=cost, outcome="server_error", basis="provider_reported")
        attempt, bids = call.lead.attempt + 1, self.made(bids)
        request = NextAttempt(
            facts=call.request.facts, closed=(failed,), attempt=attempt, bids=bids, now_ms=self.clock.at_ms
        )
        answer = self.run(self.ledger.hold_next(request))
        self.note_owner()
        assert self.close(call, failed)
        self.check_room(call.request, bids, answer, attempt)
        if isinstance(answer, Lead):
            self.open.append(Open(call.request, answer, bids[answer.bid], call.key))

    @rule(by_ms=st.sampled_from(JUMPS_MS), back=st.booleans())
    def jump(self, by_ms, back):
        self.clock.at_ms += -by_ms if back else by_ms
        if back:
            # A window that was over has the limit of its time until ceilings are configured again.
            self.put_in_force(self.limits)

    @rule(window_ms=st.sampled_from(WINDOW_MS), before_ms=st.integers(-1, 1))
    def jump_to_an_edge(self, window_ms, before_ms):
        self.clock.at_ms += window_ms - self.clock.at_ms % window_ms - before_ms

    @rule()
    def renew(self):
        if self.oracle.leases[self.owner] >= self.clock.at_ms:
            self.oracle.leases[self.owner] = self.clock.at_ms + LEASE_MS
        self.run(self.ledger.lease.renew())
        self.note_owner()

    @rule()
    def sweep(self):
        self.run(self.ledger._sweep())
        now_ms = self.clock.at_ms
        self.oracle.sweep(now_ms)
        self.oracle.stored = {key: kept for key, kept in self.oracle.stored.items() if kept[1] > now_ms}

    @rule(before_ms=st.sampled_from((0, 5_000)), most=st.integers(1, 3))
    def add_up_by_pair(self, before_ms, most):
        """What is told of these calls from here on is told late."""
        self.run(self.ledger._store.write(partial(add_up_pairs, before_ms=self.clock.at_ms - before_ms, most=most)))

    @rule()
    def die_and_come_back(self):
        """Nothing is given back: its lease runs on, and then somebody's sweep finds its holds."""
        self.run(self.stack.aclose())
        self.start()

    @invariant()
    def every_ceiling_counts_what_the_oracle_counts(self):
        if not hasattr(self, "ledger"):
            return
        told = {
            (status["scope"], status["window"], status["unit"]): tuple(
                status[f"{name}_nanousd" if status["unit"] == "usd" else name] for name in ("limit", "held", "spent")
            )
            for status in self.run(self.ledger.ceilings())
        }
        assert told == {
            place: (limit, *self.oracle.counted(*place, self.clock.at_ms)) for place, limit in self.limits.items()
        }

    def teardown(self):
        if not hasattr(self, "ledger"):
            return
        try:
            spend = self.run(self.ledger.spend(SpendQuery(since_ms=None, until_ms=None, group_by=(), filters={})))
            total = {name: spend["total"][name] for name in self.oracle.total}
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
        findings = verify_ledger(self.home.url, on_rule=lambda _: None)
        assert findings.violations == (), findings.violations
        assert total == self.oracle.total


# A step on a server takes ten times as long.
LIVES = {"sqlite": lives(25, 40), "postgresql": lives(5, 30)}
MORE_LIVES = {"sqlite": lives(3_000, 60), "postgresql": lives(200, 60)}


@pytest.mark.parametrize("bounds", [LIVES, pytest.param(MORE_LIVES, marks=pytest.mark.soak)], ids=["some", "many"])
def test_lives_of_a_ledger_go_as_the_oracle_says(home, bounds):
    run_on(home, LedgerMachine, bounds[home.engine])


@pytest.mark.parametrize("bug", SEQUENTIAL_BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(sqlite_home, bug):
    class Unguarded(LedgerMachine):
        unguarded = SEQUENTIAL_BUGS[bug]

    with bug(), pytest.raises((AssertionError, sqlite3.Error)):
        run_on(sqlite_home, Unguarded, until_one_fails(100, 40))


@pytest.mark.parametrize("mistake", [SERVERS_BUG, pytest.param(SERVERS_OTHER_BUG, marks=pytest.mark.soak)])
def test_a_bug_that_is_planted_in_the_server_is_caught(postgres_home, mistake):
    with in_the_server(postgres_home, mistake), pytest.raises(AssertionError):
        run_on(postgres_home, LedgerMachine, until_one_fails(100, 40))
