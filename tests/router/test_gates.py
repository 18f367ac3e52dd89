"""Gates: at most so many at once, in the order of their coming, no wait in vain, and no place lost however it ends."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.gates import ANSWERS_THAT_COUNT, WAITING_LIMIT, Gate, Gates, NoPlace, Usual, expected_wait_s
from tests.router.gateways import a_deployment


class Walker:
    """Somebody at the gate: in line, inside, or gone."""

    def __init__(self, gate: Gate, passed: list["Walker"], *, within_s: float = math.inf) -> None:
        self.gate = gate
        self.passed = passed
        self.within_s = within_s
        self.may_leave = asyncio.Event()
        self.is_inside = False
        self.task = asyncio.create_task(self._walk())

    async def _walk(self) -> None:
        async with self.gate.pass_through(within_s=self.within_s):
            self.passed.append(self)
            self.is_inside = True
            try:
                await self.may_leave.wait()
            finally:
                self.is_inside = False


async def end_all(walkers: list[Walker]) -> None:
    for walker in walkers:
        walker.task.cancel()
    await asyncio.gather(*(walker.task for walker in walkers), return_exceptions=True)


async def turns(count: int = 4) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class GateMachine(RuleBasedStateMachine):
    """Any order of coming, leaving, failing and giving up, also at one moment, against an oracle that is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.came: list[Walker] = []
        self.passed: list[Walker] = []

    @initialize(limit=st.integers(1, 3))
    def open(self, limit: int) -> None:
        self.gate = Gate(limit)

    def do(self, *changes) -> None:
        async def change() -> None:
            for one in changes:
                one()
            await turns()

        self.loop.run_until_complete(change())

    def arrive(self) -> None:
        self.came.append(Walker(self.gate, self.passed))

    def stop_the_last(self) -> None:
        self.came[-1].task.cancel()

    @property
    def inside(self) -> list[Walker]:
        return [walker for walker in self.came if walker.is_inside]

    @property
    def waiting(self) -> list[Walker]:
        return [walker for walker in self.came if not walker.task.done() and not walker.is_inside]

    @rule(count=st.integers(1, 4))
    def come(self, count: int) -> None:
        self.do(*[self.arrive] * count)

    @rule()
    def come_and_give_up_at_once(self) -> None:
        self.do(self.arrive, self.stop_the_last)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.do(data.draw(st.sampled_from(self.inside)).may_leave.set)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def be_stopped_inside(self, data: st.DataObject) -> None:
        self.do(data.draw(st.sampled_from(self.inside)).task.cancel)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up_waiting(self, data: st.DataObject) -> None:
        self.do(data.draw(st.sampled_from(self.waiting)).task.cancel)

    @precondition(lambda self: self.inside and self.waiting)
    @rule(turns_between=st.integers(0, 3))
    def give_up_while_the_place_comes(self, turns_between: int) -> None:
        """The place is given to the first in line, who is told to stop before, with, or just after that."""

        async def change() -> None:
            first = self.waiting[0]
            self.inside[0].may_leave.set()
            await turns(turns_between)
            first.task.cancel()
            await turns()

        self.loop.run_until_complete(change())

    @invariant()
    def nobody_waits_while_a_place_is_free_and_places_are_never_more_than_the_limit(self) -> None:
        assert self.gate.in_use == len(self.inside) <= (self.gate.limit or math.inf)
        assert self.gate.waiting == len(self.waiting)
        assert not self.waiting or self.gate.in_use == self.gate.limit

    @invariant()
    def who_passed_did_so_in_the_order_of_coming(self) -> None:
        order = {walker: number for number, walker in enumerate(self.came)}
        assert [order[walker] for walker in self.passed] == sorted(order[walker] for walker in self.passed)

    def teardown(self) -> None:
        for walker in self.came:
            self.do(walker.may_leave.set)
        self.do()
        for walker in self.came:
            assert walker.task.cancelled() or walker.task.exception() is None
        if self.came:
            assert (self.gate.in_use, self.gate.waiting) == (0, 0)
        self.loop.close()


GateMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_places_go_round_in_order_and_none_is_ever_lost = GateMachine.TestCase


class Clock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0


def usual_gate(limit: int, usual_s: float) -> tuple[Gate, Clock]:
    clock = Clock()
    gate = Gate(limit, now_s=lambda: clock.now_s)
    for _ in range(ANSWERS_THAT_COUNT):
        gate.usual.add(usual_s)
    return gate, clock


async def test_who_would_wait_for_longer_than_is_left_is_turned_away_at_once():
    gate, clock = usual_gate(2, usual_s=10.0)
    walkers = []
    async with gate.pass_through(within_s=0):
        clock.now_s += 3
        async with gate.pass_through(within_s=0):
            clock.now_s += 1
            # The first place is free in 6 s, the second in 9, the first again 10 s after that.
            for after_s in (6.0, 9.0, 16.0):
                async with asyncio.timeout(5):
                    with pytest.raises(NoPlace) as turned_away:
                        await gate.pass_through(within_s=after_s - 0.5).__aenter__()
                assert turned_away.value.retry_after_s == after_s
                walkers.append(Walker(gate, [], within_s=after_s))
                await turns()
            assert gate.waiting == 3
    await end_all(walkers)
    assert (gate.in_use, gate.waiting) == (0, 0)


async def test_while_nothing_is_known_everybody_may_wait_up_to_a_bound():
    gate = Gate(1)
    async with gate.pass_through():
        walkers = [Walker(gate, []) for _ in range(WAITING_LIMIT)]
        await turns()
        assert gate.waiting == WAITING_LIMIT
        with pytest.raises(NoPlace) as turned_away:
            await gate.pass_through().__aenter__()
        assert turned_away.value.retry_after_s == 1.0
    await end_all(walkers)
    assert (gate.in_use, gate.waiting) == (0, 0)


def test_what_is_usual_takes_a_few_answers_to_say_and_follows_the_newest():
    usual = Usual()
    for span_s in (1.0, 2.0, 3.0, 4.0):
        usual.add(span_s)
    assert usual.span_s is None
    usual.add(5.0)
    assert usual.span_s == pytest.approx(3.0)
    for _ in range(100):
        usual.add(60.0)
    assert usual.span_s == pytest.approx(60.0, rel=0.01)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.integers(0, 20), st.integers(1, 40))
def test_the_expected_wait_is_that_of_a_line_played_through(held, waiting, usual):
    held = sorted(held, reverse=True)
    free_at = sorted(max(0, usual - span) for span in held)
    for _ in range(waiting):
        free_at = sorted([free_at[0] + usual, *free_at[1:]])
    assert expected_wait_s(held, waiting, usual) == free_at[0]


async def test_a_gate_without_a_limit_lets_everybody_through_and_counts_them():
    gate = Gates([]).gate(a_deployment("new", "http://127.0.0.1:1/v1").provider)
    async with gate.pass_through(within_s=0), gate.pass_through(within_s=0):
        assert (gate.limit, gate.in_use) == (None, 2)


def test_a_provider_has_one_gate():
    provider = a_deployment("a", "http://127.0.0.1:1/v1", max_concurrency=2).provider
    gates = Gates([provider])
    assert gates.gate(provider) is gates.gate(provider)
    assert gates.gate(provider).limit == 2
