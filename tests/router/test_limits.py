"""How long a call may take: one deadline over everything, patience for each attempt, a gap and a length for streams."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from router.answer import Delta
from router.errors import DeadlineExceeded, UpstreamFailed
from router.limits import StreamLimits
from tests.router.gateways import a_call, a_deployment, closed_at_the_end, hear, note, open_gateway, text_of
from tests.upstream import answer, hang, hang_after_headers, scripted_upstream, stream

# What a busy machine may add.
LATE_S = 0.25
# uvloop's timers count whole milliseconds, so one may ring a moment before its time by the monotonic clock.
EARLY_S = 0.002


async def test_a_call_nobody_answers_ends_at_its_deadline_and_is_charged_an_estimate(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.default = hang()
            call, began_s = a_call(deadline_s=0.3), time.monotonic()
            with pytest.raises(DeadlineExceeded) as raised:
                await house.ask(call)
            elapsed_s = time.monotonic() - began_s
            assert 0.3 - EARLY_S <= elapsed_s < 0.35 + LATE_S
            assert raised.value.waited_for == "a:model-a to answer"
            assert re.fullmatch("[0-9a-f]{6}", raised.value.key)
            assert 0.3 - EARLY_S <= raised.value.elapsed_s <= elapsed_s
            await upstream.closed(upstream.requests[0])
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["state"], hold["outcome"], hold["cost_basis"]) == ("settled", "aborted", "estimated")
            row = house.generation(call.generation_id)
            assert (row["outcome"], row["error_code"]) == ("aborted", "deadline_exceeded")


async def test_the_deadlines_error_of_a_call_that_was_tried_twice_tells_of_both(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.default = hang()
        async with closed_at_the_end(await house.gateway.generate(call := a_call(deadline_s=0.4))) as reply:
            with pytest.raises(DeadlineExceeded):
                await reply.finished()
        await house.gateway.aclose()
        first, second = house.holds(call.generation_id)
        assert (first["outcome"], second["outcome"]) == ("stalled", "aborted")


@pytest.mark.parametrize("script", [hang(), hang_after_headers(), stream([{"role": "assistant"}], then="hang")])
async def test_half_of_what_is_left_goes_to_the_first_of_two_deployments(tmp_path: Path, script):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(script, answer("in time"))
        call = a_call(deadline_s=0.8, stream=True)
        finished = await house.ask(call)
        stalled, answered = finished.receipt.attempts
        assert (stalled.outcome, answered.outcome) == ("stalled", "ok")
        assert 350 <= stalled.latency_ms < 400 + LATE_S * 1000
        # So short a silence says nothing about the deployment.
        assert house.health.breaker("a:model-a").consecutive_failures == 0


async def test_a_deployments_own_timeout_ends_an_attempt_and_counts_against_it(tmp_path: Path):
    async with scripted_upstream() as upstream:
        patient = a_deployment("b", upstream.url)
        for field, is_stream in (("answer_timeout_s", False), ("timeout_s", True)):
            short = a_deployment("a", upstream.url, **{field: 0.15})
            upstream.plays(hang(), answer("in time"))
            (tmp_path / field).mkdir()
            async with open_gateway(tmp_path / field, targets=(short, patient)) as house:
                finished = await house.ask(a_call(stream=is_stream))
                assert [attempt.outcome for attempt in finished.receipt.attempts] == ["stalled", "ok"]
                assert house.health.breaker(short.id).consecutive_failures == 1


async def test_a_stream_may_outlast_the_deadline_once_its_first_output_is_there(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(stream(["first ", gate, "last"]))
        call = a_call(stream=True, deadline_s=0.2)
        reply = await house.gateway.generate(call)
        async with closed_at_the_end(reply):
            hearing = asyncio.create_task(hear(reply))
            await upstream.until(lambda it: len(it.requests) == 1)
            asyncio.get_running_loop().call_later(0.4, gate.set)
            _, finished = await hearing
        assert text_of(finished) == "first last"
        assert finished.receipt.latency_ms > 400


async def test_a_stream_without_output_ends_at_the_deadline_whatever_else_it_says(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(stream([b": ping\n\n", {"role": "assistant", "content": ""}, b": ping\n\n"], then="hang"))
            reply = await house.gateway.generate(call := a_call(stream=True, deadline_s=0.3))
            async with closed_at_the_end(reply):
                with pytest.raises(DeadlineExceeded):
                    await hear(reply)
            await upstream.closed(upstream.requests[0])
            await house.gateway.aclose()
            assert house.generation(call.generation_id)["outcome"] == "aborted"


async def test_a_stream_that_falls_silent_is_cut_after_its_gap(tmp_path: Path):
    limits = StreamLimits(gap_s=0.2)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, stream_limits=limits) as house:
        # Keep-alives are silence.
        upstream.plays(stream(["some ", "words", b": ping\n\n"], then="hang"))
        reply = await house.gateway.generate(call := a_call(stream=True))
        heard: list[Delta] = []
        async with closed_at_the_end(reply):
            with pytest.raises(UpstreamFailed) as raised:
                await note(reply, heard)
        assert [delta.text for delta in heard] == ["some ", "words"]
        assert [attempt.outcome for attempt in raised.value.attempts] == ["cut"]
        assert "no more output" in (raised.value.attempts[0].error or "")
        assert house.health.breaker("a:model-a").consecutive_failures == 1
        (hold,) = house.holds(call.generation_id)
        assert hold["cost_basis"] == "estimated"


async def test_a_stream_that_never_ends_is_cut_at_its_length(tmp_path: Path):
    limits = StreamLimits(max_s=0.3)
    gates = [asyncio.Event() for _ in range(100)]
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, stream_limits=limits) as house:
        upstream.plays(stream([piece for gate in gates for piece in ("word ", gate)]))
        loop = asyncio.get_running_loop()
        for number, gate in enumerate(gates):
            loop.call_later(0.02 * number, gate.set)
        with pytest.raises(UpstreamFailed) as raised:
            await house.ask(a_call(stream=True))
        assert "too long" in (raised.value.attempts[0].error or "")
        assert raised.value.attempts[0].latency_ms < 300 + LATE_S * 1000


async def test_a_followers_later_deadline_keeps_the_flight_alive_after_the_leaders(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            gate = asyncio.Event()
            upstream.plays(answer("late, not too late", gate=gate))
            leader = await house.gateway.generate(a_call(deadline_s=0.2))
            follower = await house.gateway.generate(a_call(deadline_s=20))
            async with closed_at_the_end(follower):
                async with closed_at_the_end(leader):
                    with pytest.raises(DeadlineExceeded):
                        await leader.finished()
                assert not upstream.requests[0].closed
                gate.set()
                assert text_of(await follower.finished()) == "late, not too late"
            assert len(upstream.requests) == 1


async def test_a_followers_earlier_deadline_is_its_own(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(answer("whole", gate=gate))
        leader = await house.gateway.generate(a_call())
        follower = await house.gateway.generate(second := a_call(deadline_s=0.1))
        async with closed_at_the_end(leader):
            async with closed_at_the_end(follower):
                with pytest.raises(DeadlineExceeded) as raised:
                    await follower.finished()
            assert raised.value.attempts == ()
            gate.set()
            assert text_of(await leader.finished()) == "whole"
        await house.gateway.aclose()
        row = house.generation(second.generation_id)
        assert (row["cache"], row["outcome"]) == ("coalesced", "aborted")


async def test_a_full_gate_is_waited_at_in_order_and_a_deadline_ends_the_wait_at_no_cost(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, max_concurrency=1),)
        async with open_gateway(tmp_path, targets=targets) as house:
            gate = asyncio.Event()
            upstream.plays(answer("first", gate=gate))
            first = asyncio.create_task(house.ask(a_call("first")))
            await upstream.until(lambda it: len(it.requests) == 1)
            second = asyncio.create_task(house.ask(a_call("second")))
            with pytest.raises(DeadlineExceeded) as raised:
                await house.ask(third := a_call("third", deadline_s=0.2))
            assert raised.value.waited_for == "a free place at a"
            assert len(upstream.requests) == 1
            gate.set()
            assert text_of(await first) == "first"
            finished = await second
            assert text_of(finished) == "second"
            assert finished.receipt.timing.queue_ms > 100
            await house.gateway.aclose()
            (hold,) = house.holds(third.generation_id)
            assert (hold["state"], hold["outcome"]) == ("released", "aborted")
            assert len(upstream.requests) == 2


async def test_a_call_that_is_too_late_when_its_turn_comes_sends_nothing(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        # A connection that is free would take the request without a pause.
        await house.ask(a_call("warm"))
        with pytest.raises(DeadlineExceeded):
            await house.ask(a_call("late", deadline_s=0.0))
        await house.gateway.aclose()
        assert len(upstream.requests) == 1
