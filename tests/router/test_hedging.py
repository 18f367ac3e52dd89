"""Hedges: a slow attempt gets another one beside it, the first output wins, and nobody is blamed or billed twice."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import Ceiling
from router import limits
from router.answer import Delta
from router.bounds import input_bound_tokens
from router.breaker import BreakerState
from router.deployments import Deployment, HedgeRule, OnAbort
from router.errors import DeadlineExceeded, UpstreamFailed
from router.hedging import AFTER_UNKNOWN_S, SPAN_S, STEP_S, HedgeBudget, first_after_s, is_repeatable
from router.reply import Finished
from tests.router.gateways import (
    READ_NANOUSD,
    WRITTEN_NANOUSD,
    a_call,
    a_deployment,
    closed_at_the_end,
    hear,
    note,
    open_gateway,
    text_of,
)
from tests.upstream import Request, Script, ScriptedUpstream, answer, hang, scripted_upstream, status, stream

AT_ONCE = HedgeRule(after_s=0.01, stagger_s=0.01, max_ratio=10.0)
TWO_WORDS_NANOUSD = 9 * READ_NANOUSD + 2 * WRITTEN_NANOUSD
NEVER_SOON = HedgeRule(after_s=30.0, stagger_s=30.0, max_ratio=10.0)


def told(finished: Finished) -> list[tuple[str, str, bool]]:
    return [(report.provider, report.outcome, report.hedge) for report in finished.receipt.attempts]


def three(upstream: ScriptedUpstream, on_abort: OnAbort = "estimate") -> tuple[Deployment, ...]:
    return tuple(a_deployment(name, upstream.url, on_abort=on_abort) for name in "abc")


def plays(upstream: ScriptedUpstream, **scripts: Script) -> None:
    """To each deployment's requests its own: which of two that are under way arrives first is anybody's guess."""

    async def by_deployment(connection: Any, request: Any) -> None:
        await scripts[request.body["model"].removeprefix("model-")](connection, request)

    upstream.default = by_deployment


async def arrived(upstream: ScriptedUpstream, name: str) -> Request:
    """The request to this deployment, once it is there."""
    await upstream.until(lambda it: any(request.body["model"] == f"model-{name}" for request in it.requests))
    return next(request for request in upstream.requests if request.body["model"] == f"model-{name}")


async def all_closed(upstream: ScriptedUpstream, but: int) -> None:
    """Every connection but these is closed: the losers' are."""
    await upstream.until(lambda it: it.open_connections <= but)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_slow_attempt_gets_another_one_beside_it_and_is_not_blamed(tmp_path: Path, is_stream: bool):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=AT_ONCE) as house:
        gate = asyncio.Event()
        plays(upstream, a=hang(), b=answer("quick help", gate=gate, prompt_tokens=5))
        call = a_call(stream=is_stream)
        asking = asyncio.create_task(house.ask(call))
        await upstream.until(lambda it: len(it.requests) == 2)
        gate.set()
        finished = await asking
        assert text_of(finished) == "quick help"
        assert told(finished) == [("a", "aborted", False), ("b", "ok", True)]
        assert (finished.receipt.provider, finished.receipt.model) == ("b", "model-b")
        await upstream.closed(await arrived(upstream, "a"))
        slow, quick = house.holds(call.generation_id)
        estimated_nanousd = finished.receipt.estimated_prompt_tokens * READ_NANOUSD
        assert (slow["outcome"], slow["cost_nanousd"], slow["cost_basis"]) == (
            "aborted",
            estimated_nanousd,
            "estimated",
        )
        assert (quick["outcome"], quick["cost_nanousd"]) == ("ok", 5 * READ_NANOUSD + 2 * WRITTEN_NANOUSD)
        assert finished.receipt.cost_nanousd == slow["cost_nanousd"] + quick["cost_nanousd"]
        assert house.health.breaker("a:model-a").total_failures == 0
        assert finished.receipt.timing.upstream_ms <= finished.receipt.latency_ms


async def test_the_first_one_may_still_win_and_then_the_hedge_has_lost(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=AT_ONCE) as house:
        gate = asyncio.Event()
        plays(upstream, a=answer("the first after all", gate=gate), b=hang())
        asking = asyncio.create_task(house.ask(a_call()))
        await upstream.until(lambda it: len(it.requests) == 2)
        gate.set()
        finished = await asking
        assert text_of(finished) == "the first after all"
        assert told(finished) == [("a", "ok", False), ("b", "aborted", True)]
        await upstream.closed(await arrived(upstream, "b"))


async def test_hedges_are_staggered_until_there_is_no_deployment_left(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, targets=three(upstream), hedge=AT_ONCE) as house:
        gate = asyncio.Event()
        plays(upstream, a=hang(), b=hang(), c=answer("third", gate=gate))
        call = a_call()
        asking = asyncio.create_task(house.ask(call))
        await upstream.until(lambda it: len(it.requests) == 3)
        gate.set()
        assert told(await asking) == [("a", "aborted", False), ("b", "aborted", True), ("c", "ok", True)]
        assert [hold["outcome"] for hold in house.holds(call.generation_id)] == ["aborted", "aborted", "ok"]
        story = await house.ledger.generation(call.generation_id)
        assert story is not None
        assert [attempt["hedge"] for attempt in story["attempts"]] == [False, True, True]
        await all_closed(upstream, but=1)


async def test_an_answer_in_time_has_no_other_beside_it(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=NEVER_SOON) as house:
        finished = await house.ask(a_call())
        assert told(finished) == [("a", "ok", False)]
        # Asked for as events, so that a first output could be seen.
        assert upstream.requests[0].is_stream


async def test_no_other_attempt_begins_once_there_is_output(tmp_path: Path):
    # Long enough for an output on a machine with much else to do.
    rule = HedgeRule(after_s=3.0, stagger_s=0.01, max_ratio=10.0)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=rule) as house:
        more = asyncio.Event()
        upstream.plays(stream(["Once ", more, "upon"]))
        deltas: list[Delta] = []
        async with closed_at_the_end(await house.gateway.generate(a_call(stream=True))) as reply:
            hearing = asyncio.create_task(note(reply, deltas))
            await house.until(lambda: any(delta.is_output for delta in deltas))
            asyncio.get_running_loop().call_later(rule.after_s + 5 * rule.stagger_s, more.set)
            assert told(await hearing) == [("a", "ok", False)]
        assert len(upstream.requests) == 1


async def test_a_stream_is_told_once_by_whoever_was_first(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=AT_ONCE) as house:
        gate = asyncio.Event()
        plays(upstream, a=stream([{"role": "assistant"}, gate, "late"]), b=stream(["from ", "b"]))
        async with closed_at_the_end(await house.gateway.generate(a_call(stream=True))) as reply:
            deltas, finished = await hear(reply)
            assert reply.deployment_id == "b:model-b"
        gate.set()
        assert "".join(delta.text or "" for delta in deltas) == "from b"
        assert told(finished) == [("a", "aborted", False), ("b", "ok", True)]


async def test_a_failed_first_attempt_leaves_its_hedge_to_answer(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=AT_ONCE) as house:
        fails, answers = asyncio.Event(), asyncio.Event()

        async def failing(connection: Any, request: Any) -> None:
            await fails.wait()
            await status(500)(connection, request)

        plays(upstream, a=failing, b=answer("by the hedge", gate=answers))
        asking = asyncio.create_task(house.ask(a_call()))
        await upstream.until(lambda it: len(it.requests) == 2)
        fails.set()
        await house.until(lambda: house.health.breaker("a:model-a").total_failures == 1)
        answers.set()
        assert told(await asking) == [("a", "upstream_error", False), ("b", "ok", True)]


async def test_when_all_have_failed_each_is_told_and_closed(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, targets=three(upstream), hedge=AT_ONCE) as house:
        upstream.default = status(500)
        call = a_call()
        with pytest.raises(UpstreamFailed) as raised:
            await house.ask(call)
        assert {report.provider for report in raised.value.attempts} == {"a", "b", "c"}
        await house.gateway.aclose()
        assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released"] * 3


async def test_the_deadline_ends_all_attempts_at_once(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, targets=three(upstream), hedge=AT_ONCE) as house:
        upstream.default = hang()
        call = a_call(deadline_s=0.3)
        with pytest.raises(DeadlineExceeded):
            await house.ask(call)
        await upstream.until(lambda it: it.open_connections == 0)
        await house.gateway.aclose()
        assert {hold["outcome"] for hold in house.holds(call.generation_id)} <= {"aborted", "stalled"}


async def test_a_caller_that_leaves_ends_all_attempts(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, targets=three(upstream), hedge=AT_ONCE) as house:
        upstream.default = hang()
        reply = await house.gateway.generate(a_call())
        await upstream.until(lambda it: len(it.requests) == 3)
        await reply.aclose()
        await upstream.until(lambda it: it.open_connections == 0)


async def test_losers_are_gone_within_a_tenth_of_a_second(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, targets=three(upstream), hedge=AT_ONCE) as house:
        took_s: list[float] = []
        # The best of five: one may meet a moment at which this machine does something else.
        for number in range(5):
            gate = asyncio.Event()
            plays(upstream, a=hang(), b=hang(), c=answer("here", gate=gate))
            asking = asyncio.create_task(house.ask(a_call(f"question {number}")))
            await upstream.until(lambda it, number=number: len(it.requests) == 3 * (number + 1))
            losers = [request for request in upstream.requests[-3:] if request.body["model"] != "model-c"]
            gate.set()
            began_s = time.monotonic()
            await asking
            for loser in losers:
                await upstream.closed(loser)
            took_s.append(time.monotonic() - began_s)
        assert min(took_s) < 0.1


@pytest.mark.parametrize(
    "body",
    [{"store": True}, {"tools": [{"type": "web_search"}]}, {"previous_response_id": "resp_1"}, {"background": True}],
)
async def test_what_does_two_things_when_sent_twice_is_sent_once(tmp_path: Path, body: dict[str, Any]):
    assert not is_repeatable(body)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=AT_ONCE) as house:
        gate = asyncio.Event()
        upstream.plays(answer("alone", gate=gate))
        asking = asyncio.create_task(house.ask(a_call(body=body)))
        await upstream.until(lambda it: len(it.requests) == 1)
        asyncio.get_running_loop().call_later(5 * AT_ONCE.stagger_s, gate.set)
        assert told(await asking) == [("a", "ok", False)]


async def test_a_hedge_needs_a_hold_of_its_own_and_without_room_the_call_goes_on(tmp_path: Path):
    call = a_call()
    held_nanousd = input_bound_tokens(call.body, None) * READ_NANOUSD + 50 * WRITTEN_NANOUSD
    ceiling = Ceiling(scope="global", window="month", limit=held_nanousd * 3 // 2)
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream, hedge=AT_ONCE, ceilings=(ceiling,)) as house,
    ):
        gate = asyncio.Event()
        upstream.plays(answer("alone", gate=gate))
        asking = asyncio.create_task(house.ask(call))
        await upstream.until(lambda it: len(it.requests) == 1)
        asyncio.get_running_loop().call_later(10 * AT_ONCE.stagger_s, gate.set)
        assert told(await asking) == [("a", "ok", False)]
        assert house.count("refusals") == 0


@pytest.mark.parametrize(
    ("on_abort", "cost", "basis"),
    [
        ("hold", "held", "unknown"),
        ("free", 0, "free"),
        ("drain", 9 * READ_NANOUSD + 2 * WRITTEN_NANOUSD, "priced_usage"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_loser_costs_what_its_provider_charges_for_abandoned_calls(
    tmp_path: Path, on_abort: OnAbort, cost: int | str, basis: str, is_stream: bool
):
    async with scripted_upstream() as upstream:
        targets = three(upstream, on_abort)[:2]
        async with open_gateway(tmp_path, targets=targets, hedge=AT_ONCE) as house:
            gate = asyncio.Event()
            plays(upstream, a=stream([{"role": "assistant"}, gate, "too ", "late"]), b=answer("quick"))
            call = a_call(stream=is_stream)
            finished = await house.ask(call)
            assert finished.receipt.provider == "b"
            # The caller has its answer before the loser is read to its end.
            gate.set()
            await house.gateway.aclose()
            loser = next(hold for hold in house.holds(call.generation_id) if hold["outcome"] == "aborted")
            assert loser["cost_nanousd"] == (loser["held_nanousd"] if cost == "held" else cost)
            assert loser["cost_basis"] == basis


async def test_an_abandoned_call_is_drained_for_what_its_provider_says(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, on_abort="drain"),)
        async with open_gateway(tmp_path, targets=targets) as house:
            gate = asyncio.Event()
            upstream.plays(answer("nobody hears this", gate=gate))
            call = a_call()
            reply = await house.gateway.generate(call)
            await upstream.until(lambda it: len(it.requests) == 1)
            await reply.aclose()
            gate.set()
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["outcome"], hold["cost_basis"]) == ("aborted", "priced_usage")
            assert hold["cost_nanousd"] == 9 * READ_NANOUSD + 3 * WRITTEN_NANOUSD


async def test_who_lost_and_is_drained_wins_no_later_round(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = three(upstream, on_abort="drain")
        rule = HedgeRule(after_s=0.01, stagger_s=30.0, max_ratio=10.0)
        async with open_gateway(tmp_path, targets=targets, hedge=rule) as house:
            late, here = asyncio.Event(), asyncio.Event()
            plays(
                upstream,
                a=stream([late, "too late"], then="cut"),
                b=stream(["half"], then="cut"),
                c=stream([here, "c"]),
            )
            asking = asyncio.create_task(house.ask(a_call()))
            await arrived(upstream, "c")
            late.set()
            await all_closed(upstream, but=1)
            here.set()
            assert text_of(await asking) == "c"
            await house.at_rest()
            assert house.rows("SELECT COUNT(*) AS n FROM holds WHERE outcome = 'lost'") == [{"n": 0}]


async def test_draining_ends_after_its_time_and_costs_no_more_than_was_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "DRAIN_S", 0.1)
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, on_abort="drain"),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(stream(["word " * 5_000], then="hang"))
            call = a_call(stream=True)
            reply = await house.gateway.generate(call)
            async with closed_at_the_end(reply), aclosing(reply.events()) as events:
                await anext(events)
            await upstream.closed(upstream.requests[0], within_s=5.0)
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["outcome"], hold["cost_basis"]) == ("aborted", "estimated")
            assert hold["cost_nanousd"] == hold["held_nanousd"]


async def test_sixty_callers_on_a_stuck_primary_are_all_answered_without_a_storm(tmp_path: Path):
    callers, ratio = 60, 1.0
    rule = HedgeRule(after_s=0.05, stagger_s=0.05, max_ratio=ratio)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, targets=three(upstream), hedge=rule) as house:
        plays(upstream, a=hang(), b=answer("from a backup"), c=answer("from a backup"))
        calls = [a_call(f"question {n}") for n in range(callers)]
        answers = await asyncio.gather(*(house.ask(call) for call in calls))
        assert {text_of(finished) for finished in answers} == {"from a backup"}
        assert len(upstream.requests) <= callers * (1 + ratio) + 1
        for backup in ("b:model-b", "c:model-c"):
            assert house.health.breaker(backup).state == BreakerState.CLOSED
            assert house.health.breaker(backup).total_failures == 0
        await house.gateway.aclose()
        await upstream.until(lambda it: all(request.played or request.closed for request in it.requests))
        assert house.count("postings") == len(upstream.requests)


async def test_a_ratio_bounds_the_hedges_and_the_others_wait_their_turn(tmp_path: Path):
    rule = HedgeRule(after_s=0.02, stagger_s=0.02, max_ratio=0.1)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=rule) as house:
        plays(upstream, a=hang(), b=answer(), c=answer())
        answers = await asyncio.gather(*(house.ask(a_call(f"question {n}", deadline_s=5.0)) for n in range(20)))
        hedges = [report for finished in answers for report in finished.receipt.attempts if report.hedge]
        assert 1 <= len(hedges) <= 2


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 4, allow_nan=False)), max_size=120),
    st.sampled_from([0.0, 0.05, 0.5, 1.0, 3.0]),
)
def test_hedges_keep_to_their_share_and_one_is_always_allowed(steps: list[tuple[bool, float]], ratio: float):
    budget, now_s = HedgeBudget(), 0.0
    calls: list[float] = []
    hedges: list[float] = []
    for is_call, pause_s in steps:
        now_s += pause_s
        calls = [at_s for at_s in calls if at_s > now_s - SPAN_S]
        hedges = [at_s for at_s in hedges if at_s > now_s - SPAN_S]
        if is_call:
            budget.count_call(now_s)
            calls.append(now_s)
            continue
        surely = [at_s for at_s in calls if at_s > now_s - SPAN_S + STEP_S]
        allowed = budget.take(ratio, now_s)
        if allowed:
            hedges.append(now_s)
            assert len(hedges) <= max(1, ratio * len(calls))
        else:
            assert hedges
            assert len(hedges) + 1 > ratio * len(surely)


def test_a_hedge_that_was_not_started_counts_for_nothing():
    budget = HedgeBudget()
    assert budget.take(0.0, 1.0)
    assert not budget.take(0.0, 1.0)
    budget.give_back()
    assert budget.take(0.0, 1.0)


def test_p95_is_the_deployments_own_once_it_is_known():
    rule = HedgeRule(after_s="p95")
    assert first_after_s(rule, None) == AFTER_UNKNOWN_S
    assert first_after_s(rule, 0.25) == 0.25
    assert first_after_s(HedgeRule(after_s=0.7), 0.25) == 0.7


async def test_what_is_usual_is_learned_from_streams(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, hedge=NEVER_SOON) as house:
        assert house.health.usual_first_output_s("a:model-a") is None
        for number in range(20):
            await house.ask(a_call(f"question {number}"))
        usual_s = house.health.usual_first_output_s("a:model-a")
        assert usual_s is not None
        assert 0 < usual_s < 20
