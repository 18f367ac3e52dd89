"""Routes whose calls are spread: by weight, by speed, by what they probably cost."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ledger.prices.price import Price, Tier
from ledger.reports import Spend
from router.bounds import input_bound_tokens
from router.faults import Outcome
from router.habits import LIST_PRICE, Habit, expected_nanousd, habits_of
from router.plan import Candidate
from router.speed import GUESS_S
from tests.router.gateways import House, a_call, a_deployment, open_gateway
from tests.upstream import ScriptedUpstream, answer, hang, scripted_upstream, status


def three(upstream: ScriptedUpstream):
    return tuple(a_deployment(name, upstream.url) for name in "abc")


async def ask_many(house: House, calls: int, *, about: str = "number") -> Counter[str]:
    """How often each provider answered different calls, one after the other."""
    finished = [await house.ask(a_call(f"{about} {index}")) for index in range(calls)]
    return Counter(it.receipt.provider for it in finished)


async def test_calls_are_spread_by_weight_and_hits_take_no_turn(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = three(upstream)
        async with open_gateway(tmp_path, targets=targets, strategy="weighted", weights=(2, 1, 1)) as house:
            for index in range(8):
                await house.ask(a_call(f"number {index}"))
                hit = await house.ask(a_call(f"number {index}"))
                assert hit.receipt.cache == "hit"
            assert Counter(it.body["model"] for it in upstream.requests) == {
                "model-a": 4,
                "model-b": 2,
                "model-c": 2,
            }


async def test_without_weights_all_have_the_same_and_the_next_in_turn_takes_over_from_one_that_fails(tmp_path: Path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=three(upstream), strategy="weighted") as house,
    ):
        upstream.plays(status(500))
        finished = await house.ask(a_call("the first"))
        assert [it.provider for it in finished.receipt.attempts] == ["a", "b"]
        # One fault of one call: of a's share half is left until it is forgotten.
        asked = await ask_many(house, 10)
        assert 0 < asked["a"] < min(asked["b"], asked["c"])


async def test_the_fastest_answers_most_calls(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url))
        async with open_gateway(tmp_path, targets=targets, strategy="fastest") as house:
            for deployment, took_s in (("a:model-a", 30.0), ("b:model-b", 1.0)):
                house.health.speeds.answered(deployment, took_s, is_streamed=False, allowed_tokens=50)
            assert (await ask_many(house, 10)) == {"b": 10}
            # Streams are another matter, of which nothing is known yet.
            assert house.health.speeds.expected_s("b:model-b", is_streamed=True) == 0
            await house.ask(a_call("as a stream", stream=True))
            unknown_s, heard_s = sorted(house.health.speeds.expected_s(it.id, is_streamed=True) for it in targets)
            assert unknown_s == 0 < heard_s < GUESS_S / 2


async def test_one_that_nobody_knows_is_tried_by_one_call_and_the_others_go_elsewhere(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url))
        async with open_gateway(tmp_path, targets=targets, strategy="fastest") as house:
            house.health.speeds.answered("b:model-b", 1.0, is_streamed=False, allowed_tokens=50)
            gate = asyncio.Event()
            upstream.plays(answer("slow", gate=gate))
            first = asyncio.create_task(house.ask(a_call("tries a")))
            await upstream.until(lambda it: len(it.requests) == 1)
            assert await ask_many(house, 3) == {"b": 3}
            gate.set()
            assert (await first).receipt.provider == "a"


async def test_one_that_stalls_is_no_longer_the_fastest(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, answer_timeout_s=0.2), a_deployment("b", upstream.url))
        async with open_gateway(tmp_path, targets=targets, strategy="fastest") as house:
            for deployment, took_s in (("a:model-a", 0.001), ("b:model-b", 0.05)):
                house.health.speeds.answered(deployment, took_s, is_streamed=False, allowed_tokens=50)
            upstream.plays(hang())
            assert (await house.ask(a_call("stalls"))).receipt.attempts[0].outcome == "stalled"
            assert house.health.speeds.expected_s("a:model-a", is_streamed=False) > 0.05


async def test_the_ledgers_own_ratios_say_who_is_the_cheapest(tmp_path: Path):
    reads = Price(version="reads", base=Tier(input=1_000_000, cached_input=0, output=2_000_000))
    writes = Price(version="writes", base=Tier(input=2_000_000, output=0))
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, price=writes), a_deployment("b", upstream.url, price=reads))
        async with open_gateway(tmp_path, targets=targets, strategy="cheapest") as house:
            # By list price, of as much written as read, a comes to two and b to three.
            for index in range(10):
                upstream.plays(answer("brief", prompt_tokens=10, completion_tokens=1))
                finished = await house.ask(a_call(f"learns {index}"))
                assert finished.receipt.provider == "a"
            # a's calls wrote a tenth of what they read, so b will come to one and a fifth: nobody tried it yet.
            await house.habits.learn()
            upstream.plays(answer("brief", prompt_tokens=10, completion_tokens=1))
            assert (await house.ask(a_call("the next"))).receipt.provider == "b"


def a_candidate(price: Price, *, max_tokens: int = 10**6) -> Candidate:
    body = {"messages": [{"role": "user", "content": "x" * 3996}], "max_tokens": max_tokens}
    deployment = a_deployment("a", "http://127.0.0.1:1/v1", price=price)
    read_tokens = input_bound_tokens(body, deployment.context_window)
    return Candidate(
        deployment=deployment, held_nanousd=0, body=body, read_tokens=read_tokens, allowed_tokens=max_tokens
    )


def test_what_is_read_and_written_and_cached_is_each_at_its_own_price():
    price = Price(version="v", base=Tier(input=10**6, cached_input=10**5, output=10**7, reasoning=2 * 10**7))
    read = 1020  # 3,996 bytes and 84 for structure, four to a token.
    all_fresh = expected_nanousd(a_candidate(price), Habit(written=0.0))
    assert all_fresh == read
    assert expected_nanousd(a_candidate(price), Habit(cached=1.0, written=0.0)) == read // 10
    assert expected_nanousd(a_candidate(price), Habit(written=0.5)) == read + 10 * (read // 2)
    assert expected_nanousd(a_candidate(price), Habit(written=0.0, reasoning=0.5)) == read + 20 * (read // 2)
    # Never more is written than the call allows.
    assert expected_nanousd(a_candidate(price, max_tokens=10), Habit(written=3.0)) == read + 100


def test_one_that_is_not_known_writes_as_the_others_do_and_caches_nothing():
    known = Spend(attempts=10, prompt_tokens=100, cached_tokens=50, completion_tokens=30, reasoning_tokens=10)
    habits = habits_of({"a": known, "few": Spend(attempts=9, prompt_tokens=100)}, ["a", "b", "few"])
    assert habits["a"] == Habit(cached=0.5, written=0.2, reasoning=0.1)
    assert habits["b"] == habits["few"] == Habit(cached=0.0, written=0.2, reasoning=0.1)
    assert habits_of({}, ["a", "b"]) == {"a": LIST_PRICE, "b": LIST_PRICE}


@pytest.mark.parametrize("strategy", ["weighted", "fastest", "cheapest"])
async def test_each_strategy_goes_on_to_the_others_when_one_fails(tmp_path: Path, strategy):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, targets=three(upstream), strategy=strategy) as house,
    ):
        upstream.plays(status(500), status(500))
        finished = await house.ask(a_call())
        assert len({it.provider for it in finished.receipt.attempts}) == 3
        assert finished.receipt.attempts[-1].outcome == Outcome.OK
