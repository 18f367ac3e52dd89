"""Breakers that all processes share: two ledgers on one file stand for two processes."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerUnavailable
from ledger.ledger import open_ledger
from router.breaker import Breaker, BreakerEvent, BreakerRule, BreakerState
from router.faults import Fault, Outcome
from router.health import Health
from router.health_memory import PROBE_CLAIM_S, Here, recall, remember
from router.hints import Evidence
from router.memory import Memory
from tests.router.gateways import a_call, a_deployment, open_gateway
from tests.upstream import scripted_upstream

RULE = BreakerRule(threshold=3, cooldown_s=60.0)
ID = "up:m"
FAULT, SUCCESS, NEUTRAL = BreakerEvent.FAULT, BreakerEvent.SUCCESS, BreakerEvent.NEUTRAL
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Clock:
    """Both clocks of a machine, which tests put forward. monotonic time has a beginning of its own in each process."""

    def __init__(self):
        self.at_s = 1_795_000_000.0

    def now_ms(self):
        return round(self.at_s * 1000)

    def of_process(self, began_s):
        return lambda: self.at_s - began_s


@asynccontextmanager
async def processes(folder, clock, names):
    """{name: the health of a process of its own}, on one file."""
    async with AsyncExitStack() as stack:
        found = []
        for number, name in enumerate(names):
            ledger = await stack.enter_async_context(
                open_ledger(f"sqlite:{folder / 'l.db'}", clock_ms=clock.now_ms, synchronous="normal")
            )
            found.append(a_health(clock, ledger, name, began_s=1000.0 * number))
            await shared(found[-1])
        yield found


def a_health(clock, store, name, *, began_s=0.0):
    memory = Memory(store)
    health = Health(RULE, now_s=clock.of_process(began_s), now_ms=clock.now_ms, memory=memory, process=name)
    memory.tell("breaker", health.hear)
    return health


async def shared(*processes):
    """Each tells what it saw, in this order; then all have heard it."""
    for health in processes:
        await health.share()
    for health in processes:
        await health._memory.learn()


def fail(health, times=3):
    for _ in range(times):
        health.record(ID, FAULT)


async def test_faults_in_a_row_count_wherever_they_were_seen(tmp_path):
    async with processes(tmp_path, Clock(), "ab") as (a, b):
        fail(a, 2)
        await shared(a, b)
        assert b.breaker(ID).consecutive_failures == 2
        fail(b, 1)
        assert b.breaker(ID).state == OPEN, "at once in the process that saw it"
        await shared(b, a)
        assert a.breaker(ID).state == OPEN
        assert not await a.admit(ID)
        assert a.returns_in_s(ID) == pytest.approx(60, abs=0.01)
        assert a.breaker(ID).open_count == b.breaker(ID).open_count == 1


async def test_a_success_elsewhere_ends_the_run(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        fail(a, 2)
        await a.share()
        clock.at_s += 1
        b.record(ID, SUCCESS)  # It has not heard of the faults yet.
        await shared(b, a)
        assert a.breaker(ID).consecutive_failures == b.breaker(ID).consecutive_failures == 0
        assert a.report(ID)["success_rate"] == b.report(ID)["success_rate"] == pytest.approx(1 / 3, abs=1e-4)


async def test_a_success_from_before_the_faults_does_not(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        b.record(ID, SUCCESS)
        clock.at_s += 1
        fail(a, 2)
        await shared(a, b)
        assert b.breaker(ID).consecutive_failures == 2


async def test_of_two_processes_thousand_waiters_one_probes(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        fail(a)
        await shared(a, b)
        clock.at_s += 60
        admitted = await asyncio.gather(*(health.admit(ID) for _ in range(500) for health in (a, b)))
        assert sum(admitted) == 1
        prober, other = (a, b) if a.breaker(ID).state == HALF_OPEN else (b, a)
        fail(other, 1)  # A call that began before it opened ends badly: that takes no probe away.
        await shared(other, prober)
        assert prober.breaker(ID).state == HALF_OPEN
        assert not await other.admit(ID)
        prober.record(ID, SUCCESS)
        await shared(prober, other)
        assert (prober.breaker(ID).state, other.breaker(ID).state) == (CLOSED, CLOSED)


async def test_a_probe_that_fails_opens_it_everywhere_for_longer(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        fail(a)
        await shared(a, b)
        clock.at_s += 60
        assert await b.admit(ID)
        b.record(ID, FAULT)
        await shared(b, a)
        assert a.returns_in_s(ID) == pytest.approx(120, abs=0.01)
        assert a.breaker(ID).open_count == 2


async def test_a_probe_that_was_stopped_gives_its_turn_to_any_process(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        fail(a)
        await shared(a, b)
        clock.at_s += 60
        assert await b.admit(ID)
        b.record(ID, NEUTRAL)
        await shared(b, a)
        assert await a.admit(ID)


async def test_the_probe_of_a_process_that_died_is_over_after_its_time(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        fail(a)
        await shared(a, b)
        clock.at_s += 60
        assert await a.admit(ID)
        await b.share()
        clock.at_s += PROBE_CLAIM_S - 1
        assert not await b.admit(ID)
        clock.at_s += 1
        assert await b.admit(ID)


async def test_an_open_breaker_outlives_its_processes(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "a") as (a,):
        fail(a)
        await a.share()
    clock.at_s += 20
    async with processes(tmp_path, clock, "xyz") as (_, _, z):
        assert z.breaker(ID).state == OPEN
        assert z.returns_in_s(ID) == pytest.approx(40, abs=0.01)


async def test_all_processes_leave_alone_what_asked_one_of_them_for_it_and_the_newest_word_counts(tmp_path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        a.pacing.pace(ID, 30)
        await shared(a, b)
        assert b.returns_in_s(ID) == 30
        assert not await b.admit(ID)
        clock.at_s += 1
        b.pacing.pace(ID, 2)
        await shared(b, a)
        assert a.returns_in_s(ID) == 2
    async with processes(tmp_path, clock, "c") as (c,):
        assert c.returns_in_s(ID) == 2


async def test_while_the_ledger_takes_no_writes_a_process_judges_by_itself():
    class Down:
        async def change_memory(self, subject, change):
            raise LedgerUnavailable

        async def memory_since(self, version):
            raise LedgerUnavailable

    clock = Clock()
    health = a_health(clock, Down(), "a")
    fail(health)
    with pytest.raises(LedgerUnavailable):
        await health.share()
    assert not await health.admit(ID)
    clock.at_s += 60
    assert [await health.admit(ID) for _ in range(3)] == [True, False, False]


async def test_what_could_not_be_told_is_told_later(tmp_path):
    class DownOnce:
        def __init__(self, store):
            self.store, self.is_down = store, True

        async def change_memory(self, subject, change):
            if self.is_down:
                self.is_down = False
                raise LedgerUnavailable
            await self.store.change_memory(subject, change)

        async def memory_since(self, version):
            return await self.store.memory_since(version)

    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        flaky = a_health(clock, DownOnce(a._memory._store), "c")
        fail(flaky, 3)
        flaky.record("up:other", SUCCESS)
        with pytest.raises(LedgerUnavailable):
            await flaky.share()
        await shared(flaky, b)
        assert b.breaker(ID).state == OPEN
        assert b.breaker(ID).total_failures == 3
        assert b.report("up:other")["success_rate"] == 1.0


BREAKERS = st.builds(
    Breaker,
    state=st.sampled_from([CLOSED, OPEN, HALF_OPEN]),
    consecutive_failures=st.integers(0, 9),
    total_failures=st.integers(0, 9),
    total_successes=st.integers(0, 9),
    open_count=st.integers(0, 9),
    until_s=st.integers(0, 10_000).map(lambda ms: ms / 1000),
    cooldown_s=st.sampled_from([0.0, 60.0]),
)


@given(BREAKERS, st.integers(0, 100))
def test_a_process_recalls_what_it_remembered_on_any_clock(breaker, began_s):
    text = remember(None, breaker, Here("a", 5.0, 1_000_000))
    again = recall(text, Here("a", 5.0 + began_s, 1_000_000))
    if breaker.state == OPEN:
        assert again.until_s - began_s == pytest.approx(breaker.until_s)
    assert msgspec.structs.replace(again, until_s=0) == msgspec.structs.replace(breaker, until_s=0)
    others = recall(text, Here("b", 5.0, 1_000_000))
    assert others.state == (CLOSED if breaker.state == CLOSED else OPEN)


def test_each_deployments_breaker_follows_its_own_rule():
    rules = {"patient": BreakerRule(threshold=5), "hasty": BreakerRule(threshold=1)}
    health = Health(rules.__getitem__, now_s=lambda: 0.0, now_ms=lambda: 0)
    for name in rules:
        health.record(name, BreakerEvent.FAULT)
    assert health.breaker("hasty").state == BreakerState.OPEN
    assert health.breaker("patient").state == BreakerState.CLOSED


async def test_what_other_processes_hear_of_a_breaker_follows_its_own_rule_too(tmp_path: Path):
    clock = Clock()
    async with processes(tmp_path, clock, "ab") as (a, b):
        hasty = {ID: BreakerRule(threshold=1)}
        memory = Memory(a._memory._store)
        told = Health(
            lambda name: hasty.get(name, RULE),
            now_s=clock.of_process(0.0),
            now_ms=clock.now_ms,
            memory=memory,
            process="c",
        )
        fail(told, 1)
        await shared(told, b)
        assert b.breaker(ID).state == OPEN


async def test_who_is_slow_by_its_own_threshold_is_tried_last(tmp_path: Path):
    async with scripted_upstream() as upstream:
        slow = msgspec.structs.replace(a_deployment("a", upstream.url), latency_threshold_s=0.5)
        async with open_gateway(tmp_path, targets=(slow, a_deployment("b", upstream.url))) as house:
            for us, first in ((400_000, "a"), (600_000, "b")):
                for _ in range(40):
                    house.health.record(slow.id, BreakerEvent.SUCCESS, latency_us=us, ttft_us=us)
                finished = await house.ask(a_call(f"{us}"))
                assert finished.receipt.provider == first


async def test_a_block_s_probe_that_an_open_breaker_keeps_from_going_is_given_back():
    clock = Clock()
    health = Health(RULE, now_s=clock.of_process(0.0), now_ms=clock.now_ms)
    fault = Fault(Outcome.OUT_OF_CREDIT, "no money", status=402)
    health.hints.failed(ID, Evidence(outcome=fault.outcome, at_ms=clock.now_ms(), fault=fault))
    clock.at_s += 30
    fail(health)
    clock.at_s += 31
    assert not await health.admit(ID)  # Its block is over, its breaker is not.
    clock.at_s += 30
    assert await health.admit(ID)


async def test_who_is_open_and_paced_returns_once_it_is_neither():
    clock = Clock()
    health = Health(RULE, now_s=clock.of_process(0.0), now_ms=clock.now_ms)
    health.pacing.pace(ID, 300.0)
    fail(health)
    assert health.returns_in_s(ID) == 300
