"""Providers that say when to come back are left alone until then: skipped, waited for, or reported."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from router.breaker import BreakerState
from router.errors import NoDeploymentAvailable, Overloaded, UpstreamFailed
from router.memory import Memory
from router.pacing import LONGEST_MS, Paced, Pacing, newer
from tests.router.gateways import a_call, a_deployment, open_gateway
from tests.upstream import answer, scripted_upstream, status

# Paces are kept in whole milliseconds of another clock.
CLOCK_STEP_S = 0.002


def limited(**headers: str):
    return status(429, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def test_a_paced_deployment_is_skipped_and_its_breaker_stays_closed(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(limited(retry_after="30"), answer())
        first = await house.ask(a_call("one"))
        assert [it.outcome for it in first.receipt.attempts] == ["rate_limited", "ok"]
        second = await house.ask(a_call("two"))
        assert [it.provider for it in second.receipt.attempts] == ["b"]
        assert house.health.breaker("a:model-a").state == BreakerState.CLOSED
        assert house.health.report("a:model-a")["paced_until_ms"] is not None
        await house.pass_time(30)
        third = await house.ask(a_call("three"))
        assert [it.provider for it in third.receipt.attempts] == ["a"]


async def test_a_call_waits_for_the_first_return_that_lies_within_its_deadline(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url))
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(limited(retry_after="60"), limited(retry_after_ms="150"))
            with pytest.raises(UpstreamFailed):
                await house.ask(a_call("both are limited"))
            finished = await house.ask(a_call("waits"))
            assert finished.receipt.provider == "b"
            assert finished.receipt.router.router_pacing_delay
            assert finished.receipt.timing.queue_ms > 0


@pytest.mark.parametrize("mode", ["use", "bypass"])
async def test_a_call_whose_deadline_is_too_near_is_told_when_to_return(tmp_path: Path, mode):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(limited(retry_after="60"), limited(retry_after="90"))
        began_s = time.monotonic()
        with pytest.raises(UpstreamFailed):
            await house.ask(a_call("is limited"))
        with pytest.raises(NoDeploymentAvailable) as raised:
            await house.ask(a_call("too late", deadline_s=5, mode=mode))
        assert 60 - (time.monotonic() - began_s) - CLOCK_STEP_S <= raised.value.retry_after_s <= 60
        assert len(upstream.requests) == 2


async def test_an_answer_that_says_that_nothing_is_left_paces_the_next_call(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
        message = {"role": "assistant", "content": "hi"}
        whole = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        upstream.plays(status(200, json.dumps(whole), headers={**spent, "content-type": "application/json"}))
        assert (await house.ask(a_call("the last one"))).receipt.provider == "a"
        assert (await house.ask(a_call("the next one"))).receipt.provider == "b"


async def test_the_newest_word_counts(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        slow = status(429, headers={"retry-after": "0"}, gate=gate)
        upstream.plays(slow, limited(retry_after="60"), answer(), answer())
        both = [asyncio.create_task(house.ask(a_call(name))) for name in ("first", "second")]
        await upstream.until(lambda it: len(it.requests) >= 3)
        assert house.health.pacing.returns_in_s("a:model-a") > 59
        gate.set()
        await asyncio.gather(*both)
        assert house.health.pacing.returns_in_s("a:model-a") == 0


async def test_rate_limits_without_a_word_of_when_to_come_back_open_the_breaker(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        for number in range(3):
            upstream.plays(limited(), answer())
            await house.ask(a_call(f"call {number}"))
        assert house.health.breaker("a:model-a").state == BreakerState.OPEN


async def test_a_call_that_waits_hears_of_a_newer_word(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        pace = house.health.pacing.pace
        pace("a:model-a", 3000.0)
        pace("b:model-b", 3100.0)
        waiting = asyncio.create_task(house.ask(a_call("waits", deadline_s=5000.0)))
        other = asyncio.create_task(house.ask(a_call("is told", deadline_s=3050.0)))
        await house.until(lambda: len(house.gateway._flights) == 0 and not waiting.done())
        assert upstream.requests == []
        pace("a:model-a", 3200.0)
        with pytest.raises(NoDeploymentAvailable) as raised:
            await other
        assert 3050.0 < raised.value.retry_after_s <= 3100.0
        pace("a:model-a", 0.0)
        assert (await waiting).receipt.router.router_pacing_delay


async def test_a_call_that_waits_for_a_pace_is_told_when_the_process_stops(tmp_path: Path, monkeypatch):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=(a_deployment("a", upstream.url),)) as house,
    ):
        looks, look = [], house.health.returns_in_s
        monkeypatch.setattr(house.health, "returns_in_s", lambda name: looks.append(name) or look(name))
        house.health.pacing.pace("a:model-a", 3000.0)
        waiting = asyncio.create_task(house.ask(a_call("waits", deadline_s=5000.0)))
        # Once for its plan; then it waits, and looks again.
        await house.until(lambda: len(looks) >= 3)
        house.gateway.stop()
        with pytest.raises(Overloaded):
            await asyncio.wait_for(waiting, 5)
        assert upstream.requests == []


class Shared:
    """What a ledger remembers for all processes."""

    def __init__(self) -> None:
        self.version = 0
        self.kept: dict[str, tuple[int, str]] = {}

    async def change_memory(self, subject: str, change: Callable[[str | None], str | None]) -> None:
        self.version += 1
        text = change(self.kept.get(subject, (0, None))[1])
        assert text is not None
        self.kept[subject] = self.version, text

    async def memory_since(self, version: int) -> tuple[int, dict[str, str]]:
        return self.version, {subject: text for subject, (at, text) in self.kept.items() if at > version}


def done(work: Coroutine[None, None, None]) -> None:
    """Run what never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


def test_the_last_word_counts_for_all_after_the_clock_was_put_back():
    store, now_ms = Shared(), 10**12
    memories = [Memory(store) for _ in range(2)]
    one, other = (Pacing(now_ms=lambda: now_ms, memory=memory) for memory in memories)
    for wait_s in (3000.0, 5.0):
        one.pace("d", wait_s)
        done(one.share())
        for memory in memories:
            done(memory.learn())
        assert one.returns_in_s("d") == other.returns_in_s("d") == wait_s
        now_ms -= 86_400_000


PROCESSES = st.integers(0, 2)


class PacingMachine(RuleBasedStateMachine):
    """Three processes that hear words and share them, on a clock that is also put back.

    The model: each process knows the word that it heard last, itself or of another one, numbered as they were said.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 10**12
        self.stepped_back = False
        store = Shared()
        self.memories = [Memory(store) for _ in range(3)]
        self.pacings = [Pacing(now_ms=lambda: self.now_ms, memory=memory) for memory in self.memories]
        self.until_ms = [0, 0, 0]

    @rule(process=PROCESSES, wait_s=st.one_of(st.just(0.0), st.floats(0, 100), st.floats(0, 10**9)))
    def hears(self, process: int, wait_s: float) -> None:
        # Two words of one millisecond have no order that all processes could know.
        self.now_ms += 1
        self.pacings[process].pace("d", wait_s)
        self.until_ms[process] = self.now_ms + min(round(wait_s * 1000), LONGEST_MS)
        assert self.pacings[process].returns_in_s("d") == (self.until_ms[process] - self.now_ms) / 1000

    @rule(process=PROCESSES)
    def all_share(self, process: int) -> None:
        before = [pacing._paced.get("d") for pacing in self.pacings]
        for turn in range(6):
            number = (process + turn) % 3
            done(self.pacings[number].share())
            done(self.memories[number].learn())
        heard = [word for word in before if word is not None]
        if heard:
            newest = max(heard, key=lambda word: word.heard_at_ms)
            assert [pacing._paced["d"].heard_at_ms for pacing in self.pacings] == [newest.heard_at_ms] * 3
            if not self.stepped_back:
                self.until_ms = [newest.until_ms] * 3
        assert len({pacing.returns_in_s("d") for pacing in self.pacings}) == 1

    @rule(span_s=st.floats(0, 5000))
    def time_passes(self, span_s: float) -> None:
        self.now_ms += round(span_s * 1000)

    @rule(span_s=st.floats(0, 10**6))
    def the_clock_is_put_back(self, span_s: float) -> None:
        self.now_ms -= round(span_s * 1000)
        self.stepped_back = True

    @invariant()
    def nobody_is_left_alone_for_longer_than_the_cap(self) -> None:
        for pacing, until_ms in zip(self.pacings, self.until_ms, strict=True):
            returns_s = pacing.returns_in_s("d")
            assert 0 <= returns_s <= LONGEST_MS / 1000
            assert (pacing.until_ms("d") is None) == (returns_s == 0)
            if not self.stepped_back:
                assert returns_s == max(0, until_ms - self.now_ms) / 1000


PacingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=20)
TestPacingMachine = PacingMachine.TestCase

WORDS = st.builds(Paced, heard_at_ms=st.integers(0, 3), until_ms=st.integers(0, 5))


@given(st.lists(WORDS, min_size=1, max_size=6), st.randoms())
def test_every_process_ends_with_the_same_word_in_whatever_order_it_hears_them(words, random):
    def heard(order):
        last = None
        for word in order:
            last = newer(last, word)
        return last

    shuffled = random.sample(words, len(words))
    assert heard(words) == heard(shuffled)
    assert heard(words).heard_at_ms == max(word.heard_at_ms for word in words)
