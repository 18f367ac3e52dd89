"""What an estimate says is what then happens, and it takes nothing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import Ceiling
from ledger.errors import CeilingExceeded, CeilingHeld
from ledger.prices import Price
from ledger.prices.price import Tier
from router.errors import NoDeploymentAvailable, NotCached, UnknownModel, UnpricedModel, UpstreamFailed
from router.estimating import costs_of, shortened
from router.habits import Written
from router.plan import Candidate
from tests.router.gateways import PRICE, READ_NANOUSD, WRITTEN_NANOUSD, a_call, a_deployment, open_gateway
from tests.upstream import answer, scripted_upstream, status


def ceiling(limit, *, when_tight="refuse", scope="global"):
    return Ceiling(scope=scope, window="day", limit=limit, when_tight=when_tight)


def skipped(estimate):
    return {outlook.deployment.provider.name: outlook.skipped for outlook in estimate.outlooks}


async def test_what_is_estimated_is_what_is_held_and_nothing_was_taken(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=(ceiling(10**9),)) as house:
        call = a_call("how much is this?")
        estimate = await house.gateway.estimator.estimate(call)
        assert upstream.requests == []
        assert [house.count(it) for it in ("generations", "holds", "refusals", "ceiling_windows")] == [0, 0, 0, 0]
        finished = await house.ask(call)
        (hold,) = house.holds(call.generation_id)
        costs = estimate.chosen.costs
        assert (estimate.verdict, estimate.chosen.deployment.id) == ("lead", hold["deployment"])
        assert costs.most_nanousd == hold["held_nanousd"]
        assert costs.prompt_tokens == finished.receipt.estimated_prompt_tokens
        assert costs.least_nanousd == costs.prompt_tokens * READ_NANOUSD
        assert costs.least_nanousd <= finished.receipt.cost_nanousd <= costs.most_nanousd
        tight = estimate.chosen.binding
        assert (tight.scope, tight.limit, tight.spent) == ("global", 10**9, 0)
        after = (await house.gateway.estimator.estimate(a_call("and now?"))).chosen.binding
        assert after.spent == finished.receipt.cost_nanousd


async def test_of_several_ceilings_the_one_with_the_least_room_binds(tmp_path):
    ceilings = (ceiling(10**9), ceiling(10**6, scope="user:u1"), ceiling(10**8, scope="provider:a"))
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=ceilings) as house:
        for user, binding in (("u1", ["user:u1", "user:u1"]), ("", ["provider:a", "global"])):
            estimate = await house.gateway.estimator.estimate(a_call(user=user))
            assert [outlook.binding.scope for outlook in estimate.outlooks] == binding


@pytest.mark.parametrize(("when_tight", "verdict"), [("refuse", "refuse"), ("wait", "refuse"), ("clamp", "clamp")])
async def test_a_ceiling_refuses_the_estimate_as_it_does_the_call(tmp_path, when_tight, verdict):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, ceilings=(ceiling(20_000, when_tight=when_tight),)) as house,
    ):
        call = a_call()
        estimate = await house.gateway.estimator.estimate(call)
        assert (estimate.verdict, estimate.is_admitted) == (verdict, verdict == "clamp")
        if verdict == "clamp":
            finished = await house.ask(call)
            assert finished.receipt.clamped == estimate.clamped
            assert house.holds(call.generation_id)[0]["held_nanousd"] == estimate.chosen.costs.most_nanousd <= 20_000
        else:
            with pytest.raises(CeilingExceeded) as refused:
                await house.ask(call)
            assert estimate.refusal.tight == refused.value.tight


async def test_a_call_that_has_to_wait_for_room_is_told_so(tmp_path):
    ceilings = (ceiling(50_000, when_tight="wait"),)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, ceilings=ceilings) as house:
        estimator = house.gateway.estimator
        first, may_answer = a_call("first", body={"max_tokens": 60}), asyncio.Event()
        upstream.plays(answer(gate=may_answer))
        reply = await house.gateway.generate(first)
        try:
            estimate = await estimator.estimate(a_call("second", body={"max_tokens": 60}))
            assert (estimate.verdict, estimate.is_admitted) == ("wait", False)
            assert isinstance(estimate.refusal, CeilingHeld)
            equal = a_call("first", body={"max_tokens": 60})
            assert (await estimator.estimate(equal)).verdict == "follow"
            may_answer.set()
            await reply.finished()
        finally:
            await reply.aclose()


async def test_the_cache_is_looked_at_and_no_hit_is_recorded(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        estimator = house.gateway.estimator
        with pytest.raises(NotCached):
            await estimator.estimate(a_call(mode="only"))
        await house.ask(a_call())
        for mode, verdict in (("use", "hit"), ("only", "hit"), ("bypass", "lead"), ("refresh", "lead")):
            assert (await estimator.estimate(a_call(mode=mode))).verdict == verdict
        assert house.count("generations") == 1


async def test_why_each_deployment_would_be_left_out(tmp_path):
    async with scripted_upstream() as upstream:
        targets = tuple(
            a_deployment(name, upstream.url, price=None if name == "unpriced" else PRICE)
            for name in ("open", "paced", "blocked", "unpriced", "good")
        )
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(
                *[status(500), answer()] * 3,
                *[status(429, headers={"retry-after": "30"}), answer()],
                *[status(401), answer()],
            )
            for turn in range(5):
                await house.ask(a_call(f"call {turn}"))
            estimate = await house.gateway.estimator.estimate(a_call())
            assert skipped(estimate) == {
                "good": None,
                "open": "open",
                "paced": "paced",
                "blocked": "blocked",
                "unpriced": "unpriced",
            }
            returns_in_s = {it.deployment.provider.name: it.returns_in_s for it in estimate.outlooks}
            assert 0 < returns_in_s["paced"] <= 30 < returns_in_s["open"] <= 60
            assert all(it.costs.most_nanousd for it in estimate.outlooks if it.skipped != "unpriced")
            assert estimate.verdict == "lead"


async def test_where_nobody_could_answer_now_the_costs_are_told_all_the_same(tmp_path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(status(401))
            with pytest.raises(UpstreamFailed):
                await house.ask(a_call(mode="bypass"))
            estimate = await house.gateway.estimator.estimate(a_call(mode="bypass"))
            assert (estimate.verdict, skipped(estimate)) == ("refuse", {"a": "blocked"})
            assert isinstance(estimate.refusal, NoDeploymentAvailable)
            assert estimate.outlooks[0].costs.most_nanousd > 0


async def test_a_call_that_never_could_be_made_is_refused_as_the_call_is(tmp_path):
    unpriced = a_deployment("a", "http://127.0.0.1:1/v1", price=None)
    async with open_gateway(tmp_path, targets=(unpriced,)) as house:
        for model, refusal in ((None, UnpricedModel), ("nobody", UnknownModel)):
            with pytest.raises(refusal):
                await house.gateway.estimator.estimate(a_call(model=model))


async def test_what_is_likely_is_learned_of_recent_answers(tmp_path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        first = (await house.gateway.estimator.estimate(a_call())).chosen.costs
        assert (first.is_assumed, first.written) == (True, Written(output=50)), "never more than was asked for"
        upstream.plays(*[answer("x", prompt_tokens=9, completion_tokens=20, reasoning_tokens=5)] * 10)
        for turn in range(10):
            await house.ask(a_call(f"call {turn}"))
        await house.pass_time(61)
        after = (await house.gateway.estimator.estimate(a_call())).chosen.costs
        assert (after.is_assumed, after.written) == (False, Written(output=15, reasoning=5))
        assert after.likely_nanousd == after.least_nanousd + 20 * WRITTEN_NANOUSD


async def test_an_estimate_takes_no_turn_of_a_weighted_route(tmp_path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, strategy="weighted", weights=(1, 1)) as house,
    ):
        for _ in range(3):
            assert (await house.gateway.estimator.estimate(a_call())).chosen.deployment.id == "a:model-a"
        answered = [(await house.ask(a_call(mode="bypass"))).receipt.provider for _ in range(2)]
        assert answered == ["a", "b"]


AMOUNTS = st.integers(0, 10**6)


@given(
    rates=st.tuples(*[st.integers(0, 10**12)] * 2),
    text=st.text(max_size=50),
    counted=AMOUNTS,
    limit=st.integers(1, 10**6),
    usual=st.builds(Written, output=AMOUNTS, reasoning=AMOUNTS),
)
def test_least_is_at_most_likely_is_at_most_the_hold(rates, text, counted, limit, usual):
    price = Price(version="v", base=Tier(input=rates[0], output=rates[1]))
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": limit}
    target = a_deployment("a", "http://127.0.0.1:1/v1", price=price)
    read = 64 + 16 + 4 + len(text.encode())
    held = price.bound_nanousd(read, limit)
    candidate = Candidate(deployment=target, held_nanousd=held, body=body, read_tokens=read)
    costs = costs_of(candidate, counted, usual, is_assumed=False)
    assert 0 <= costs.least_nanousd <= costs.likely_nanousd <= costs.most_nanousd == held
    written = shortened(usual, limit)
    assert written.output + written.reasoning == min(limit, usual.output + usual.reasoning)
