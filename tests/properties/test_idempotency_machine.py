"""A state machine of calls under Idempotency-Keys against a dictionary: keys, bodies, callers, endings, time, death."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.errors import IdempotencyInProgress, IdempotencyMismatch, KeyTaken
from ledger.idempotency import KEPT_MS
from ledger.values import Follow, Keeping, Lead, Replay
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_ledger, a_settlement, an_ending, an_idempotency_key
from tests.properties.lives import lives, run_on

BEYOND_A_LEASE_MS = 20_000


@dataclass
class Record:
    """What the oracle knows of one key. life: of the process that its call is in."""

    body: str
    generation_id: str
    life: int
    expires_at_ms: int
    is_done: bool = False
    result: bytes | None = None


@dataclass
class OpenCall:
    """A call that was admitted and has not ended."""

    request: Any
    admission: Lead | Follow
    life: int


class IdempotencyMachine(RuleBasedStateMachine):
    """Two processes that share a ledger. The oracle: {(caller, key): Record}, and which process lives are over.

    home: where its ledgers are, one after the other.
    """

    home = None

    @initialize()
    def begin(self):
        self.home.anew()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.stacks, self.ledgers, self.lives = [None, None], [None, None], [0, 0]
        self.next_life = 1
        self.records: dict[tuple[str, str], Record] = {}
        self.calls: list[OpenCall] = []
        self.flight: OpenCall | None = None
        self.is_stored = False
        for process in (0, 1):
            self.start(process)

    def start(self, process):
        self.stacks[process] = AsyncExitStack()
        opened = a_ledger(self.home, clock=self.clock)
        self.ledgers[process] = self.runner.run(self.stacks[process].enter_async_context(opened))
        self.runner.run(self.without_its_keeper())
        self.new_life(process)

    async def without_its_keeper(self):
        """Leases are renewed and swept where the machine says so, not by the clock on the wall."""
        for task in asyncio.all_tasks():
            if task.get_name() == "ledger lease":
                task.cancel()

    def new_life(self, process):
        self.lives[process], self.next_life = self.next_life, self.next_life + 1

    def is_gone(self, record):
        """Whether its time is over: a call in progress keeps its key however long it takes."""
        lives = not record.is_done and record.life in self.lives
        return record.expires_at_ms <= self.clock() and not lives

    @rule(data=st.data())
    def step(self, data):
        """One rule, so that every example has all of them in these proportions."""
        steps = [self.ask] * 8 + [self.end] * 5 + [self.crash, self.time_passes, self.the_clock_goes_back, self.sweep]
        data.draw(st.sampled_from(steps))(data.draw)

    def ask(self, draw):
        process = draw(st.integers(0, 1))
        caller, key = draw(st.sampled_from([("", "a"), ("", "b"), ("key_1", "a")]))
        body = draw(st.sampled_from(["one", "one", "one", "two"]))
        shares = draw(st.sampled_from([True, True, False]))
        named = an_idempotency_key(key, caller=caller, body=body)
        request = a_call(key="shared" if shares else None, idempotency=named, now_ms=self.clock())
        expected = self.expected(caller, key, body, shares)
        told = self.runner.run(self.told(process, request))
        if isinstance(expected, Record):
            event("a result once more")
            said = b"hit" if told.hit is not None else told.result
            assert (told.generation_id, said) == (expected.generation_id, expected.result)
            return
        event(expected.__name__)
        assert isinstance(told, expected)
        if expected in {IdempotencyInProgress, IdempotencyMismatch}:
            assert told.generation_id == self.records[caller, key].generation_id
            return
        self.records[caller, key] = record = Record(
            body, request.facts.generation_id, self.lives[process], self.clock() + KEPT_MS
        )
        if isinstance(told, Replay):
            assert told.generation_id == record.generation_id
            assert told.hit.body == b"answer"
            record.is_done, record.result = True, b"hit"
            return
        call = OpenCall(request, told, self.lives[process])
        self.calls.append(call)
        if isinstance(told, Lead) and shares:
            self.flight = call

    async def told(self, process, request):
        try:
            return await self.ledgers[process].admit(request)
        except KeyTaken as taken:
            return taken

    def expected(self, caller, key, body, shares):
        """What the caller must be told, or the kind of it."""
        record = self.records.get((caller, key))
        if record is not None and not self.is_gone(record):
            if record.body != body:
                return IdempotencyMismatch
            if record.is_done:
                return record
            if record.life in self.lives:
                return IdempotencyInProgress
        if shares and self.is_stored:
            return Replay
        if shares and self.flight is not None and self.flight.life in self.lives:
            return Follow
        return Lead

    def end(self, draw):
        """Also of a call whose process was only taken for dead: another one's ledger writes it as well."""
        if not self.calls:
            return
        process = draw(st.integers(0, 1))
        ending = draw(st.sampled_from(["answered", "stored", "aborted"]))
        repeats = draw(st.booleans())
        call = self.calls.pop(draw(st.integers(0, len(self.calls) - 1)))
        request, key = call.request, call.request.idempotency
        is_over = ending != "aborted"
        result = f"result of {request.facts.generation_id}".encode()
        left = Keeping(key=key, generation_id=request.facts.generation_id, is_over=is_over, result=result)
        for _ in range(1 + repeats):
            self.runner.run(self.write_end(self.ledgers[process], call, left, ending))
        record = self.records.get((key.caller, key.key))
        if record is not None and record.generation_id == request.facts.generation_id:
            if is_over:
                record.is_done, record.result = True, result
            else:
                del self.records[key.caller, key.key]
        if call is self.flight:
            self.is_stored = self.is_stored or ending == "stored"
            self.flight = None

    async def write_end(self, ledger, call, left, ending):
        request = call.request
        if isinstance(call.admission, Follow):
            facts, leader_id = request.facts, call.admission.leader_id
            await ledger.record_follower(facts, an_ending(request), leader_id=leader_id, keeping=left)
            return
        settlement = a_settlement(request, call.admission, stores=ending == "stored", ttl_ms=1000 * KEPT_MS)
        await ledger.settle(msgspec.structs.replace(settlement, keeping=left))

    def crash(self, draw):
        """Its calls stay open for ever, unless somebody learns their end."""
        process = draw(st.integers(0, 1))
        if self.flight is not None and self.flight.life == self.lives[process]:
            self.flight = None
        self.runner.run(self.stacks[process].aclose())
        self.start(process)

    def time_passes(self, draw):
        ms = draw(st.sampled_from([1, 5_000, BEYOND_A_LEASE_MS, KEPT_MS - 1, KEPT_MS]))
        keeps_leases = draw(st.booleans())
        self.clock.at_ms += ms
        if keeps_leases:
            until_ms, from_ms = self.clock() + 15_000, self.clock() - ms
            with self.home.database() as db:
                db.execute("UPDATE owners SET lease_until_ms = ? WHERE lease_until_ms >= ?", (until_ms, from_ms))
        for process in (0, 1):
            owner_id = self.ledgers[process].owner_id
            self.runner.run(self.ledgers[process].lease.renew())
            if self.ledgers[process].owner_id != owner_id:
                self.new_life(process)

    def the_clock_goes_back(self, draw):
        self.clock.at_ms -= draw(st.sampled_from([1, 5_000]))

    def sweep(self, draw):
        process = draw(st.integers(0, 1))
        self.flight_of_the_dead_ends()
        self.runner.run(self.ledgers[process]._sweep())
        self.records = {name: record for name, record in self.records.items() if not self.is_gone(record)}

    def flight_of_the_dead_ends(self):
        """Whoever is only taken for dead may still store its answer, until another one leads or it is swept."""
        if self.flight is not None and self.flight.life not in self.lives:
            self.flight = None

    @invariant()
    def the_ledger_says_the_same(self):
        if not hasattr(self, "records"):
            return
        with self.home.database() as db:
            found = db.execute(
                "SELECT caller, idempotency_key, generation_id, state, hit, result FROM idempotency"
            ).fetchall()
        said = {(caller, key): tuple(rest) for caller, key, *rest in found}
        assert said.keys() == self.records.keys()
        for name, (generation_id, state, hit, result) in said.items():
            record = self.records[name]
            assert (generation_id, state == "done") == (record.generation_id, record.is_done)
            assert (b"hit" if hit is not None else result) == record.result

    def teardown(self):
        if not hasattr(self, "records"):
            return
        for stack in self.stacks:
            self.runner.run(stack.aclose())
        self.runner.close()
        findings = verify_ledger(self.home.url, on_rule=lambda _: None)
        assert findings.violations == ()


LIVES = {"sqlite": lives(15, 40), "postgresql": lives(3, 40)}
MORE_LIVES = {"sqlite": lives(300, 80), "postgresql": lives(50, 80)}


@pytest.mark.parametrize("bounds", [LIVES, pytest.param(MORE_LIVES, marks=pytest.mark.soak)], ids=["some", "many"])
def test_calls_under_keys_are_told_what_the_dictionary_says(home, bounds):
    run_on(home, IdempotencyMachine, bounds[home.engine])
