"""How long a call may take: one deadline over everything, patience for each attempt, a gap and a length for streams."""

import asyncio
import re
import time
from contextlib import aclosing, contextmanager
from pathlib import Path

import msgspec
import pytest

from router.answer import Delta
from router.breaker import BreakerRule
from router.call import EventFormat
from router.deployments import Provider
from router.errors import DeadlineExceeded, UpstreamFailed
from router.faults import Outcome
from router.flights import AHEAD_BYTES, Flight
from router.limits import AttemptLimits, StreamLimits, Why
from router.speed import ANSWERS_THAT_COUNT
from router.until import Until
from tests import anthropic_scripts as claude
from tests.router.gateways import (
    House,
    a_call,
    a_deployment,
    closed_at_the_end,
    end_of,
    hear,
    note,
    open_gateway,
    text_of,
)
from tests.upstream import (
    Connection,
    Request,
    answer,
    hang,
    hang_after_headers,
    scripted_upstream,
    status,
    stream,
)

# More than a busy machine adds, and less than any other time that could end a call here.
LATE_S = 20
# uvloop's timers count whole milliseconds, so one may ring a moment before its time by the monotonic clock.
EARLY_S = 0.002


async def test_a_call_nobody_answers_ends_at_its_deadline_and_is_charged_an_estimate(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.default = hang()
            call, began_s = a_call(deadline_s=1.0), time.monotonic()
            with pytest.raises(DeadlineExceeded) as raised:
                await house.ask(call)
            elapsed_s = time.monotonic() - began_s
            assert 1.0 - EARLY_S <= elapsed_s < LATE_S
            assert (raised.value.provider, raised.value.waited_for) == ("a", "a:model-a to answer")
            assert re.fullmatch("[0-9a-f]{6}", raised.value.key)
            assert 1.0 - EARLY_S <= raised.value.elapsed_s <= elapsed_s
            await upstream.closed(upstream.requests[0])
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["state"], hold["outcome"], hold["cost_basis"]) == ("settled", "aborted", "estimated")
            # The caller is still there: it is not said to have left.
            assert re.match(r"the deadline passed after [0-9.]+ s\b", hold["error"])
            row = house.generation(call.generation_id)
            assert (row["outcome"], row["error_code"]) == ("aborted", "deadline_exceeded")


async def test_the_deadlines_error_of_a_call_that_was_tried_twice_tells_of_both(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.default = hang()
        async with closed_at_the_end(await house.gateway.generate(call := a_call(deadline_s=1.5))) as reply:
            with pytest.raises(DeadlineExceeded) as raised:
                await reply.finished()
        await house.gateway.aclose()
        first, second = house.holds(call.generation_id)
        assert (first["outcome"], second["outcome"]) == ("stalled", "aborted")
        assert raised.value.provider == "b"


@pytest.mark.parametrize("script", [hang(), hang_after_headers(), stream([{"role": "assistant"}], then="hang")])
async def test_half_of_what_is_left_goes_to_the_first_of_two_deployments(tmp_path: Path, script):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(script, answer("in time"))
        call = a_call(deadline_s=3.0, stream=True)
        finished = await house.ask(call)
        stalled, answered = finished.receipt.attempts
        assert (stalled.outcome, answered.outcome) == ("stalled", "ok")
        # Half of 3 s, less what a busy machine took of them before it was sent.
        before_ms = finished.receipt.latency_ms - stalled.latency_ms - answered.latency_ms
        assert stalled.latency_ms >= (3000 - before_ms) / 2 - EARLY_S * 1000
        # So short a silence says nothing about the deployment.
        assert house.health.breaker("a:model-a").consecutive_failures == 0
        assert house.health.hints.report("a:model-a")["errors"] == {}


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
        call = a_call(stream=True, deadline_s=1.0)
        reply = await house.gateway.generate(call)
        async with closed_at_the_end(reply):
            hearing = asyncio.create_task(hear(reply))
            await upstream.until(lambda it: len(it.requests) == 1)
            asyncio.get_running_loop().call_later(1.2, gate.set)
            _, finished = await hearing
        assert text_of(finished) == "first last"
        assert finished.receipt.latency_ms > 1000


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
    limits = StreamLimits(gap_s=1.0)
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


async def test_a_stream_that_was_made_to_wait_and_then_falls_silent_is_cut_after_its_gap(tmp_path: Path):
    limits = StreamLimits(gap_s=1.0)
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream, stream_limits=limits) as house:
        upstream.plays(stream(["one", *["x" * AHEAD_BYTES] * 2], then="hang"))
        reply = await house.gateway.generate(a_call(stream=True))
        async with closed_at_the_end(reply), aclosing(reply.events()) as events, asyncio.timeout(LATE_S):
            await anext(events)
            (flight,) = house.gateway._flights.values()
            await house.until(lambda: flight.outruns_all)
            with pytest.raises(UpstreamFailed) as raised:
                [event async for event in events]
        assert "no more output" in (raised.value.attempts[0].error or "")


@pytest.mark.parametrize("event_format", ["messages", ""])
async def test_what_a_server_tool_does_is_no_silence(tmp_path: Path, event_format: EventFormat):
    limits = StreamLimits(gap_s=1.0)
    start = {"type": "server_tool_use", "id": "srv", "name": "text_editor_code_execution", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": "1"}
    said = claude.streamed("Writing.")
    said[-2:-2] = [
        {"type": "content_block_start", "index": 1, "content_block": start},
        *[{"type": "content_block_delta", "index": 1, "delta": delta}] * 8,
        {"type": "content_block_stop", "index": 1},
    ]
    gates = [asyncio.Event() for _ in said]

    async def script(connection: Connection, _: Request) -> None:
        await connection.send(claude.HEAD)
        for event, gate in zip(said, gates, strict=True):
            await gate.wait()
            await connection.send(claude.encoded([event]))
        connection.close()

    async with scripted_upstream() as upstream:
        target = a_deployment("a", upstream.url, dialect="anthropic")
        async with open_gateway(tmp_path, upstream, targets=(target,), stream_limits=limits) as house:
            upstream.plays(script)
            for number, gate in enumerate(gates):
                asyncio.get_running_loop().call_later(0.2 * number, gate.set)
            call = msgspec.structs.replace(a_call(stream=True), event_format=event_format)
            assert text_of(await house.ask(call)) == "Writing."


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
        assert raised.value.attempts[0].latency_ms < LATE_S * 1000
        # It was not its provider who wanted it ended.
        assert house.health.breaker("a:model-a").consecutive_failures == 0
        assert house.health.hints.report("a:model-a")["block"] is None


async def test_a_followers_later_deadline_keeps_the_flight_alive_after_the_leaders(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            gate = asyncio.Event()
            upstream.plays(answer("late, not too late", gate=gate))
            leader = await house.gateway.generate(a_call(deadline_s=1.0))
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
                await house.ask(third := a_call("third", deadline_s=1.0))
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


def answers_take(house: House, deployment_id: str, took_s: float, *, is_streamed: bool = False) -> None:
    """So many answers that it counts took so long."""
    for _ in range(ANSWERS_THAT_COUNT):
        house.health.speeds.answered(deployment_id, took_s, is_streamed=is_streamed, allowed_tokens=50)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_call_that_no_answer_was_ever_quick_enough_for_is_refused_at_once(tmp_path: Path, is_streamed: bool):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        answers_take(house, "a:model-a", 30.0, is_streamed=is_streamed)
        answers_take(house, "b:model-b", 3.0, is_streamed=is_streamed)
        with pytest.raises(DeadlineExceeded) as raised:
            await house.ask(a_call("hopeless", deadline_s=2.0, stream=is_streamed))
        assert raised.value.elapsed_s == 0
        assert upstream.requests == []
        assert house.count("generations") == 0
        # Where one of them may be in time, it is asked first.
        finished = await house.ask(a_call("hopeful", deadline_s=20.0, stream=is_streamed))
        assert [it.provider for it in finished.receipt.attempts] == ["b"]
        # The other kind of call is another matter, and so is a shorter answer.
        assert (await house.ask(a_call("kind", deadline_s=2.0, stream=not is_streamed))).receipt.provider == "a"
        if not is_streamed:
            shorter = a_call("shorter", deadline_s=2.0, body={"max_tokens": 5})
            assert (await house.ask(shorter)).receipt.provider == "a"


async def test_what_is_stored_is_answered_however_little_time_is_left(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        await house.ask(a_call("again"))
        for name in ("a:model-a", "b:model-b"):
            answers_take(house, name, 30.0)
        assert (await house.ask(a_call("again", deadline_s=2.0))).receipt.cache == "hit"


async def test_a_fallback_that_cannot_be_in_time_is_not_paid_for(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(status(500, gate=gate))
        reply = await house.gateway.generate(a_call(deadline_s=5.0))
        await upstream.until(lambda it: len(it.requests) == 1)
        answers_take(house, "b:model-b", 30.0)
        gate.set()
        with pytest.raises(UpstreamFailed):
            await end_of(reply, stream=False)
        assert len(upstream.requests) == 1


async def test_a_call_whose_time_ran_short_in_the_queue_is_not_sent(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url, max_concurrency=1),)
        async with open_gateway(tmp_path, targets=targets) as house:
            gate = asyncio.Event()
            upstream.plays(status(500, gate=gate))
            first = asyncio.create_task(house.ask(a_call("first")))
            await upstream.until(lambda it: len(it.requests) == 1)
            second = asyncio.create_task(house.ask(call := a_call("second", deadline_s=5.0)))
            await house.until(lambda: len(house.rows("SELECT hold_id FROM holds")) == 2)
            answers_take(house, "a:model-a", 30.0)
            gate.set()
            with pytest.raises(UpstreamFailed):
                await first
            with pytest.raises(DeadlineExceeded):
                await second
            assert len(upstream.requests) == 1
            await house.gateway.aclose()
            (hold,) = house.holds(call.generation_id)
            assert (hold["state"], hold["outcome"]) == ("released", "aborted")


# By how much the deadline may be overrun, and how often a busy machine is given another try.
OVERRUN_S = 0.05
TRIES = 5


@pytest.mark.parametrize("waits_for", ["an answer", "the rest of it", "a first output", "the second of two", "a place"])
async def test_the_deadline_is_not_overrun_by_more_than_50_ms(tmp_path: Path, waits_for: str):
    scripts = {"the rest of it": hang_after_headers(), "a first output": stream([{"role": "assistant"}], then="hang")}
    names = "ab" if waits_for == "the second of two" else "a"
    async with scripted_upstream() as upstream:
        upstream.default = scripts.get(waits_for, hang())
        targets = tuple(a_deployment(name, upstream.url, max_concurrency=1) for name in names)
        async with open_gateway(tmp_path, targets=targets, breaker=BreakerRule(threshold=10**6)) as house:
            in_the_way = None
            if waits_for == "a place":
                in_the_way = asyncio.create_task(house.ask(a_call("in the way")))
                await upstream.until(lambda it: len(it.requests) == 1)
            for number in range(TRIES):
                if (late_s := await overrun_s(house, number, waits_for)) < OVERRUN_S:
                    break
            assert late_s < OVERRUN_S
            if in_the_way is not None:
                in_the_way.cancel()
                await asyncio.wait([in_the_way])


async def overrun_s(house: House, number: int, waits_for: str) -> float:
    """How long after its deadline a call that is never answered was told so."""
    began_s = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await house.ask(a_call(f"call {number}", deadline_s=0.1, stream=waits_for == "a first output"))
    return time.monotonic() - began_s - 0.1


async def test_the_first_of_two_has_half_of_what_is_left_and_a_stream_its_whole_length():
    now_s = asyncio.get_running_loop().time
    deadline_s = now_s() + 60
    limits = a_streams_limits(StreamLimits(gap_s=90, max_s=80), deadline_s=deadline_s, has_alternative=True)
    sent_s = now_s()
    limits.send()
    turn, after_s = limits.next_stop(), now_s()
    assert turn.why is Why.TURN
    assert (sent_s + deadline_s) / 2 <= turn.at_s <= (after_s + deadline_s) / 2
    limits.heard(is_output=True)
    length = limits.next_stop()
    assert length.why is Why.LENGTH
    assert sent_s + 80 <= length.at_s <= after_s + 80


async def test_a_provider_is_not_silent_while_it_is_made_to_wait():
    limits = a_streams_limits(StreamLimits(gap_s=1))
    limits.send()
    limits.heard(is_output=True)
    assert limits.next_stop().why is Why.GAP
    limits.pause()
    assert limits.next_stop().why is Why.LENGTH
    limits.resume()
    assert limits.next_stop().why is Why.GAP


async def test_a_stream_that_goes_on_is_not_cut_and_one_that_falls_silent_is():
    now_s, limits = asyncio.get_running_loop().time, a_streams_limits(StreamLimits(gap_s=1.0))
    last_s = 0.0

    async def listen():
        nonlocal last_s
        began_s = now_s()
        while now_s() < began_s + 1.5:
            limits.heard(is_output=True)
            last_s = now_s()
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError), watched(limits):
        await listen()
    assert now_s() - last_s > 0.9
    assert limits.fault(waited_s=0.1).outcome is Outcome.CUT


async def test_a_limit_that_moves_forward_is_kept():
    limits = a_streams_limits(StreamLimits())

    async def lose_and_listen():
        limits.lose()
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError), watched(limits):
        await lose_and_listen()
    assert limits.fault(waited_s=0.1).outcome is Outcome.ABORTED


def a_streams_limits(stream, *, deadline_s=None, has_alternative=False):
    """Of an attempt that somebody waits for until a moment: for a minute, unless it is said."""
    flight, provider = Flight("gen_1", "p:m"), Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1/v1")
    flight.join(deadline_s=deadline_s or asyncio.get_running_loop().time() + 60)
    return AttemptLimits(
        flight, provider, stream, is_streamed=True, is_heard_whole=False, has_alternative=has_alternative
    )


@contextmanager
def watched(limits):
    """A block that ends where these do; its request has gone out."""
    with Until(None) as timer:
        limits.watch(timer)
        limits.send()
        yield
