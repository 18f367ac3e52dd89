"""Attempts in order: who answers after whom, what each one costs, and how a call ends that nobody could answer."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from ledger.ceilings import Ceiling
from ledger.errors import CeilingExceeded, CeilingHeld
from ledger.money import format_usd
from router.answer import Delta
from router.bounds import input_bound_tokens
from router.breaker import BreakerRule
from router.call import Call
from router.errors import MaxCostExceeded, NoDeploymentAvailable, UpstreamFailed, UpstreamRejected
from router.reply import Finished
from tests.router.gateways import (
    PRICE,
    READ_NANOUSD,
    WRITTEN_NANOUSD,
    House,
    a_call,
    a_deployment,
    closed_at_the_end,
    hear,
    note,
    open_gateway,
    refused_port,
    text_of,
)
from tests.upstream import (
    Script,
    answer,
    close_after_request,
    garbage,
    half_body,
    hang,
    scripted_upstream,
    status,
    stream,
)

ERROR_INSIDE = garbage(b'{"error": {"message": "overloaded", "type": "server_error"}}')
CUT_BEFORE_OUTPUT = stream([], then="cut")


def hold_nanousd(call: Call) -> int:
    return input_bound_tokens(call.body, None) * READ_NANOUSD + 50 * WRITTEN_NANOUSD


def told(finished: Finished) -> list[tuple[str, str, int | None]]:
    return [(report.provider, report.outcome, report.status) for report in finished.receipt.attempts]


async def ask_and_fail(house: House, call: Call, error: type[Exception]) -> Exception:
    with pytest.raises(error) as raised:
        await house.ask(call)
    await house.gateway.aclose()
    return raised.value


async def test_what_its_caller_would_pay_bounds_all_attempts_together(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = tuple(a_deployment(name, upstream.url, on_abort="hold") for name in "ab")
        held = hold_nanousd(a_call())
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(garbage(), answer("after one that was charged"), garbage(), status(500), answer("the third"))
            enough = await house.ask(a_call(mode="bypass", max_cost_nanousd=2 * held))
            assert text_of(enough) == "after one that was charged"
            refused = await ask_and_fail(house, a_call(mode="bypass", max_cost_nanousd=2 * held - 1), MaxCostExceeded)
            assert isinstance(refused, MaxCostExceeded)
            assert (refused.limit_nanousd, refused.asked_nanousd) == (2 * held - 1, 2 * held)
            assert len(upstream.requests) == 3
            # What failed and cost nothing takes nothing of it.
            assert text_of(await house.ask(a_call(mode="bypass", max_cost_nanousd=held))) == "the third"


async def test_whoever_waits_for_a_call_that_its_own_limit_ends_goes_on_without_it(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = tuple(a_deployment(name, upstream.url, on_abort="hold") for name in "ab")
        async with open_gateway(tmp_path, targets=targets) as house:
            gate = asyncio.Event()
            upstream.plays(status(200, b"no JSON", gate=gate), answer("for who would pay"))
            tight = await house.gateway.generate(a_call(max_cost_nanousd=hold_nanousd(a_call())))
            other = asyncio.create_task(house.ask(a_call()))
            await house.until(lambda: house.sharing() == 2)
            gate.set()
            async with closed_at_the_end(tight):
                with pytest.raises(MaxCostExceeded):
                    await tight.finished()
            assert text_of(await other) == "for who would pay"


@pytest.mark.parametrize(
    ("script", "is_stream", "outcome", "code", "state"),
    [
        (status(500), False, "upstream_error", 500, "released"),
        (status(500), True, "upstream_error", 500, "released"),
        (status(429), False, "rate_limited", 429, "released"),
        (status(401), False, "auth_refused", 401, "released"),
        (status(404), False, "not_supported", 404, "released"),
        # A gateway's own timeout: the provider may go on, and bill.
        (status(504, "<html>timeout</html>"), False, "upstream_error", 504, "settled"),
        (garbage(), False, "bad_answer", 200, "settled"),
        (garbage(), True, "bad_answer", 200, "settled"),
        (ERROR_INSIDE, False, "bad_answer", 200, "settled"),
        (ERROR_INSIDE, True, "bad_answer", 200, "settled"),
        (close_after_request(), False, "cut", None, "settled"),
        (half_body(), False, "cut", 200, "settled"),
        (CUT_BEFORE_OUTPUT, True, "cut", 200, "settled"),
        (stream([], then="end"), True, "cut", 200, "settled"),
    ],
)
async def test_the_next_deployment_answers_and_only_what_may_be_billed_is_charged(
    tmp_path: Path, script: Script, is_stream: bool, outcome: str, code: int | None, state: str
):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(script, answer("saved the day", prompt_tokens=5))
        call = a_call(stream=is_stream)
        finished = await house.ask(call)

        answered_nanousd = 5 * READ_NANOUSD + 3 * WRITTEN_NANOUSD
        assert text_of(finished) == "saved the day"
        assert told(finished) == [("a", outcome, code), ("b", "ok", 200)]
        failed, answered = house.holds(call.generation_id)
        assert (failed["state"], failed["outcome"], failed["status"]) == (state, outcome, code)
        assert (answered["state"], answered["cost_nanousd"]) == ("settled", answered_nanousd)
        # Nothing was delivered, so an estimate is of what was read alone; and never above the hold.
        estimated_nanousd = finished.receipt.estimated_prompt_tokens * READ_NANOUSD
        assert failed["cost_nanousd"] == (None if state == "released" else estimated_nanousd)
        assert failed["cost_basis"] == (None if state == "released" else "estimated")
        assert finished.receipt.cost_nanousd == answered_nanousd + (failed["cost_nanousd"] or 0)
        assert [request.body["model"] for request in upstream.requests] == ["model-a", "model-b"]


async def test_a_refused_port_costs_nothing_and_the_next_deployment_answers(tmp_path: Path):
    with refused_port() as dead:
        async with scripted_upstream() as upstream:
            targets = (a_deployment("a", dead), a_deployment("b", upstream.url))
            async with open_gateway(tmp_path, targets=targets) as house:
                call = a_call()
                finished = await house.ask(call)
                assert told(finished) == [("a", "connect_failed", None), ("b", "ok", 200)]
                assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released", "settled"]
                assert finished.receipt.attempts[0].error == "cannot connect: connection refused"


async def test_a_cut_after_output_is_an_error_never_a_silent_restart(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(stream(["Once ", "upon "], then="cut"))
        call = a_call(stream=True)
        heard: list[Delta] = []
        async with closed_at_the_end(await house.gateway.generate(call)) as reply:
            with pytest.raises(UpstreamFailed) as raised:
                await note(reply, heard)
            assert reply.chat_facts().outcome == "cut"
        assert [delta.text for delta in heard] == ["Once ", "upon "]
        assert [attempt.outcome for attempt in raised.value.attempts] == ["cut"]
        assert len(upstream.requests) == 1
        (hold,) = house.holds(call.generation_id)
        assert (hold["state"], hold["cost_basis"]) == ("settled", "estimated")
        assert 0 < hold["cost_nanousd"] < hold_nanousd(call)
        assert house.count("responses") == 0


async def test_an_error_object_after_output_ends_the_call_as_cut(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(stream(["Once ", b'data: {"error": {"message": "overloaded"}}\n\n']))
        error = await ask_and_fail(house, a_call(stream=True), UpstreamFailed)
        assert isinstance(error, UpstreamFailed)
        assert [attempt.outcome for attempt in error.attempts] == ["cut"]


async def test_when_all_deployments_fail_every_attempt_is_told_of(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(status(500), garbage())
        call = a_call()
        error = await ask_and_fail(house, call, UpstreamFailed)
        assert isinstance(error, UpstreamFailed)
        assert [(it.provider, it.outcome) for it in error.attempts] == [("a", "upstream_error"), ("b", "bad_answer")]
        assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released", "settled"]
        row = house.generation(call.generation_id)
        assert (row["outcome"], row["error_code"], row["deployment"]) == ("bad_answer", "upstream_failed", "b:model-b")


async def test_a_call_the_provider_rejects_passes_through_and_is_not_tried_elsewhere(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        body = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
        upstream.plays(status(400, body))
        call = a_call()
        error = await ask_and_fail(house, call, UpstreamRejected)
        assert isinstance(error, UpstreamRejected)
        assert (error.status, error.message, error.error_body) == (400, "too long", body)
        assert [attempt.outcome for attempt in error.attempts] == ["rejected"]
        assert len(upstream.requests) == 1
        assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released"]


TOO_LARGE = {
    "error": {
        "message": "Request too large for model-a in organization org-1 on tokens per min (TPM): Limit 30000, "
        "Requested 52310. The input or output tokens must be reduced in order to run successfully.",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
    }
}


async def test_a_call_too_large_for_any_minute_goes_elsewhere_and_keeps_nobody_else_away(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        for number in range(4):
            upstream.plays(status(429, TOO_LARGE, headers={"retry-after": "60"}), answer())
            finished = await house.ask(a_call(f"large {number}"))
            assert told(finished) == [("a", "rejected", 429), ("b", "ok", 200)]
        report = house.health.report("a:model-a")
        assert (report["breaker"]["total_failures"], report["paced_until_ms"]) == (0, None)
        assert told(await house.ask(a_call("small"))) == [("a", "ok", 200)]


async def test_followers_share_a_providers_failure_and_pay_nothing(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(status(500, gate=gate), status(500))
        leader = await house.gateway.generate(a_call())
        follower = await house.gateway.generate(second := a_call(stream=True))
        gate.set()
        async with closed_at_the_end(leader), closed_at_the_end(follower):
            for failing in (leader.finished(), hear(follower)):
                with pytest.raises(UpstreamFailed):
                    await failing
        await house.gateway.aclose()
        assert house.holds(second.generation_id) == []
        assert house.generation(second.generation_id)["outcome"] == "upstream_error"


async def test_three_faults_in_a_row_open_the_breaker_and_the_error_says_when_to_return(tmp_path: Path):
    async with scripted_upstream() as upstream:
        (only,) = targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            stored = a_call("stored before")
            await house.ask(stored)
            upstream.default = status(500)
            began_s = time.monotonic()
            for number in range(3):
                await ask_and_fail(house, a_call(f"call {number}"), UpstreamFailed)
            error = await ask_and_fail(house, a_call("too late"), NoDeploymentAvailable)
            assert isinstance(error, NoDeploymentAvailable)
            assert 60 - (time.monotonic() - began_s) <= error.retry_after_s <= 60
            assert len(upstream.requests) == 4
            # What is stored is still served.
            assert (await house.ask(a_call("stored before"))).receipt.cache == "hit"
            await house.pass_time(61)
            upstream.default = answer("back again")
            assert text_of(await house.ask(a_call("after a while"))) == "back again"
            assert house.health.breaker(only.id).state == "closed"


async def test_a_deployment_whose_breaker_is_open_is_passed_over(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        for number in range(3):
            upstream.plays(status(500), answer())
            await house.ask(a_call(f"call {number}"))
        finished = await house.ask(a_call("after"))
        assert told(finished) == [("b", "ok", 200)]


async def test_calls_that_lose_the_race_for_the_one_probe_go_to_the_next_deployment(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url))
        async with open_gateway(tmp_path, targets=targets, breaker=BreakerRule(threshold=1)) as house:
            upstream.plays(status(500))
            await house.ask(a_call("opens it"))
            await house.pass_time(61)
            calls = [a_call(f"probe or not {number}") for number in range(10)]
            heard = await asyncio.gather(*(house.ask(call) for call in calls))
            probes = [finished for finished in heard if finished.receipt.provider == "a"]
            assert len(probes) == 1
            passed_on = [finished for finished in heard if finished.receipt.provider == "b"]
            assert {tuple(told(it)) for it in passed_on} == {(("a", "aborted", None), ("b", "ok", 200))}
            states = [hold["state"] for call in calls for hold in house.holds(call.generation_id)]
            assert sorted(states) == ["released"] * 9 + ["settled"] * 10


async def test_a_call_that_loses_the_race_for_the_only_probe_is_told_to_return(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets, breaker=BreakerRule(threshold=1)) as house:
            upstream.plays(status(500))
            await ask_and_fail(house, a_call("opens it"), UpstreamFailed)
            await house.pass_time(61)
            heard = await asyncio.gather(*(house.ask(a_call(f"{n}")) for n in range(5)), return_exceptions=True)
            assert sum(isinstance(it, Finished) for it in heard) == 1
            refused = [it for it in heard if isinstance(it, NoDeploymentAvailable)]
            assert len(refused) == 4
            assert all(it.retry_after_s >= 1 for it in refused)


async def test_a_half_open_breaker_takes_the_next_probe_after_one_whose_caller_left(tmp_path: Path):
    async with scripted_upstream() as upstream:
        (only,) = targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets, breaker=BreakerRule(threshold=1)) as house:
            upstream.plays(status(500), hang())
            await ask_and_fail(house, a_call("opens it"), UpstreamFailed)
            await house.pass_time(61)
            async with closed_at_the_end(await house.gateway.generate(a_call("probes and leaves"))):
                await upstream.until(lambda it: len(it.requests) == 2)
            await house.gateway.aclose()
            assert (await house.ask(a_call("probes"))).receipt.provider == "a"
            assert house.health.breaker(only.id).state == "closed"


async def test_a_second_deployment_that_no_ceiling_has_room_for_ends_the_leaders_call_alone(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url), a_deployment("b", upstream.url))
        tight = (Ceiling(scope="model:b:model-b", window="day", limit=10),)
        async with open_gateway(tmp_path, targets=targets, ceilings=tight) as house:
            gate = asyncio.Event()
            upstream.plays(status(500, gate=gate), answer("second time lucky"))
            leading, following = a_call(), a_call(stream=True)
            leader = await house.gateway.generate(leading)
            follower = await house.gateway.generate(following)
            assert (leader.cache, follower.cache) == ("miss", "coalesced")
            gate.set()
            async with closed_at_the_end(leader), closed_at_the_end(follower):
                with pytest.raises(CeilingExceeded) as raised:
                    await leader.finished()
                _, finished = await hear(follower)
            assert raised.value.tight.scope == "model:b:model-b"
            assert leader.chat_facts().outcome == "upstream_error"
            # The follower asked again and led.
            assert (text_of(finished), finished.receipt.cache, follower.cache) == ("second time lucky", "miss", "miss")
            assert house.generation(leading.generation_id)["error_code"] == "ceiling_exceeded"
            assert [hold["state"] for hold in house.holds(leading.generation_id)] == ["released"]
            assert [hold["state"] for hold in house.holds(following.generation_id)] == ["settled"]


async def test_an_exhausted_ceiling_refuses_new_calls_and_still_serves_hits_and_followers(tmp_path: Path):
    async with scripted_upstream() as upstream:
        call = a_call("the call that takes all the room there is")
        limit = (Ceiling(scope="global", window="day", limit=hold_nanousd(call)),)
        async with open_gateway(tmp_path, upstream, ceilings=limit) as house:
            gate = asyncio.Event()
            upstream.plays(answer("dear words", prompt_tokens=9, completion_tokens=50, gate=gate))
            leading = asyncio.create_task(house.ask(call))
            await upstream.until(lambda it: len(it.requests) == 1)
            with pytest.raises(CeilingHeld):
                await house.ask(a_call("another"))
            follower = await house.gateway.generate(a_call("the call that takes all the room there is"))
            gate.set()
            async with closed_at_the_end(follower):
                assert (await follower.finished()).receipt.cost_nanousd == 0
            await leading
            with pytest.raises(CeilingExceeded):
                await house.ask(a_call("another"))
            assert (await house.ask(a_call("the call that takes all the room there is"))).receipt.cache == "hit"
            assert len(upstream.requests) == 1


async def test_ten_holds_fit_and_their_room_is_usable_again_once_they_settle_cheaper(tmp_path: Path):
    async with scripted_upstream() as upstream:
        limit = (Ceiling(scope="global", window="month", limit=10 * hold_nanousd(a_call("call 00"))),)
        async with open_gateway(tmp_path, upstream, ceilings=limit) as house:
            gate = asyncio.Event()
            upstream.default = answer("cheap", prompt_tokens=1, gate=gate)
            asking = [asyncio.create_task(house.ask(a_call(f"call {number:02}"))) for number in range(50)]
            await upstream.until(lambda it: len(it.requests) == 10)
            refused = await asyncio.gather(*asking[10:], return_exceptions=True)
            assert {type(it) for it in refused} == {CeilingHeld}
            gate.set()
            await asyncio.gather(*asking[:10])
            await house.ask(a_call("call 99"))
            assert len(upstream.requests) == 11


async def test_usage_beyond_the_hold_is_charged_as_the_provider_reports_it_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(answer("much", prompt_tokens=1000, completion_tokens=9000))
        call = a_call()
        finished = await house.ask(call)
        assert finished.receipt.cost_nanousd == 1000 * READ_NANOUSD + 9000 * WRITTEN_NANOUSD > hold_nanousd(call)
        (posting,) = house.rows("SELECT cost_nanousd, overrun_nanousd FROM postings")
        assert posting["overrun_nanousd"] == finished.receipt.cost_nanousd - hold_nanousd(call)
        (event,) = house.rows("SELECT type, dedup_key, facts FROM events")
        (told,) = [record for record in caplog.records if record.message == "posting.overrun"]
    facts = json.loads(event["facts"])
    hold_id = f"{call.generation_id}.1"
    assert (event["type"], event["dedup_key"]) == ("posting.overrun", f"posting.overrun {hold_id}")
    amounts = {**dict(posting), "held_nanousd": hold_nanousd(call)}
    assert facts == {
        "seq": 1,
        "hold_id": hold_id,
        "deployment": f"{finished.receipt.provider}:{finished.receipt.model}",
        **amounts,
        **{name.replace("_nanousd", "_usd"): format_usd(nanousd) for name, nanousd in amounts.items()},
    }
    said = vars(told)
    assert said["farthing.overrun.nanousd"] == posting["overrun_nanousd"]
    assert said["farthing.hold.id"] == hold_id


async def test_an_answer_without_usage_is_counted_here(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(answer("one two three", prompt_tokens=None))
        finished = await house.ask(a_call())
        usage = finished.answer.usage
        assert usage is not None
        assert usage.prompt_tokens == finished.receipt.estimated_prompt_tokens
        assert usage.completion_tokens == 3
        assert finished.receipt.cost_basis == "estimated"
        assert finished.receipt.cost_nanousd == PRICE.cost_nanousd(usage)


async def test_each_attempt_reaches_the_provider_with_its_own_span_in_the_callers_trace(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(status(500), answer())
        call = a_call()
        await house.ask(call)
        parents = [request.headers["traceparent"].split("-") for request in upstream.requests]
        assert {parent[1] for parent in parents} == {call.trace.trace_id}
        assert len({parent[2] for parent in parents}) == 2
