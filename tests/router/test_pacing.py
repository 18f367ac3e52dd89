"""Providers that say when to come back are left alone until then: skipped, waited for, or reported."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.breaker import BreakerState
from router.errors import NoDeploymentAvailable, UpstreamFailed
from router.pacing import Paced, newer
from tests.router.gateways import a_call, a_deployment, open_gateway
from tests.upstream import answer, scripted_upstream, status


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


@pytest.mark.parametrize("mode", ["use", "bypass"])
async def test_a_call_whose_deadline_is_too_near_is_told_when_to_return(tmp_path: Path, mode):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(limited(retry_after="60"), limited(retry_after="90"))
        with pytest.raises(UpstreamFailed):
            await house.ask(a_call("is limited"))
        with pytest.raises(NoDeploymentAvailable) as raised:
            await house.ask(a_call("too late", deadline_s=5, mode=mode))
        assert 59 < raised.value.retry_after_s <= 60
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
