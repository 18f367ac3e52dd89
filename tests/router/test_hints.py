"""What is learned of deployments: blocks by cause with one probe at a time, and how a deployment wants to be asked."""

import asyncio
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from router.errors import NoDeploymentAvailable, UpstreamFailed, UpstreamRejected
from router.faults import Fault, Outcome
from router.hint_keeper import Hints, report_of
from router.hints import (
    FAILURES_THAT_BLOCK,
    FORBIDDEN_THAT_BLOCK,
    MINUTE_MS,
    MOST_WORKFLOWS,
    PACES,
    PROBE_CLAIM_MS,
    TRANSITIONS,
    Block,
    BlockEvent,
    BlockState,
    Cause,
    Evidence,
    Hint,
    after,
    after_neutral,
    after_successes,
    claimed,
    returns_at_ms,
)
from router.lessons import Adaptation, Lesson, lesson_of
from router.memory import Memory
from router.orders import ACTIONS, WrongOrder, allowed, blocked_by_hand, forgotten, order, preferring
from router.reply import Finished
from tests.router.gateways import a_call, a_deployment, closed_at_the_end, open_gateway, text_of
from tests.scripts import json_response
from tests.upstream import answer, scripted_upstream, status

NOW_MS = 1_000_000
BLOCKED = Block(cause=Cause.FAILING, since_ms=0, until_ms=NOW_MS, wait_ms=MINUTE_MS)
HINTS = {
    BlockState.FREE: Hint(),
    BlockState.BLOCKED: Hint(block=BLOCKED),
    BlockState.PROBING: claimed(Hint(block=BLOCKED), "me", NOW_MS)[0],
    BlockState.HELD: blocked_by_hand(Hint(), "by hand", NOW_MS),
}
OUT_OF_CREDIT = Fault(Outcome.OUT_OF_CREDIT, "no money", status=429, code="insufficient_quota")
EVENTS = {
    BlockEvent.SUCCESS: partial(after_successes, count=1, workflow="", endpoint=""),
    BlockEvent.FAULT: lambda hint: after(hint, evidence(OUT_OF_CREDIT)),
    BlockEvent.NEUTRAL: after_neutral,
    BlockEvent.TIME_UP: lambda hint: claimed(hint, "me", NOW_MS)[0],
    BlockEvent.BLOCK: lambda hint: blocked_by_hand(hint, "", NOW_MS),
    BlockEvent.ALLOW: allowed,
}
ONLY_RESPONSES = "This model is only supported in v1/responses and not in v1/chat/completions."
USE_COMPLETION = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
NO_TEMPERATURE = "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value."

RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "model-a",
    "output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "from over there"}]}
    ],
    "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
}


def evidence(fault: Fault, **more: Any) -> Evidence:
    return Evidence(outcome=fault.outcome, at_ms=more.pop("at_ms", NOW_MS), fault=fault, **more)


def failed(outcome: Outcome, status: int | None = None, code: str = "") -> Evidence:
    return evidence(Fault(outcome, "words", status=status, code=code))


def after_all(hint: Hint, *all_evidence: Evidence) -> Hint:
    for one in all_evidence:
        hint = after(hint, one)
    return hint


@pytest.mark.parametrize(("state", "event"), tuple(itertools.product(BlockState, BlockEvent)))
def test_every_pair_of_state_and_event_goes_where_the_table_says(state: BlockState, event: BlockEvent):
    assert HINTS[state].state == state
    assert EVENTS[event](HINTS[state]).state == TRANSITIONS.get((state, event), state)


@pytest.mark.parametrize(
    ("one", "times", "cause"),
    [
        (failed(Outcome.AUTH_REFUSED, 401), 1, Cause.KEY_REFUSED),
        (failed(Outcome.AUTH_REFUSED, 400, "API_KEY_INVALID"), 1, Cause.KEY_REFUSED),
        (failed(Outcome.AUTH_REFUSED, 403), FORBIDDEN_THAT_BLOCK, Cause.KEY_REFUSED),
        (failed(Outcome.OUT_OF_CREDIT, 402), 1, Cause.OUT_OF_CREDIT),
        (failed(Outcome.CONNECT_FAILED), FAILURES_THAT_BLOCK, Cause.FAILING),
        (failed(Outcome.UPSTREAM_ERROR, 500), FAILURES_THAT_BLOCK, Cause.FAILING),
        (failed(Outcome.STALLED), FAILURES_THAT_BLOCK, Cause.FAILING),
        (failed(Outcome.NOT_SUPPORTED, 404), FAILURES_THAT_BLOCK, Cause.NOT_SUPPORTED),
    ],
)
def test_what_blocks_does_so_at_its_count_and_not_before(one: Evidence, times: int, cause: Cause):
    almost = after_all(Hint(), *[one] * (times - 1))
    assert almost.block is None
    block = after(almost, one).block
    assert block is not None
    assert (block.cause, block.until_ms) == (cause, NOW_MS + PACES[cause].first_ms)


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.LOST, Outcome.REJECTED, Outcome.RATE_LIMITED])
def test_what_is_not_the_deployments_fault_never_blocks(outcome: Outcome):
    assert after_all(Hint(), *[failed(outcome, 400)] * 100).block is None


@pytest.mark.parametrize(
    ("answers_at", "asked_at"),
    [("v1/embeddings", "v1/chat/completions"), ("v1/chat/completions", "v1/embeddings"), ("", "v1/embeddings")],
)
def test_calls_of_a_kind_that_it_does_not_know_keep_none_of_the_other_kind_away(answers_at: str, asked_at: str):
    """Chats at an embedding model, say: whoever sends them blocks nobody's embeddings."""
    hint = after_successes(Hint(), count=1, workflow="", endpoint=answers_at)
    unknown = Fault(Outcome.NOT_SUPPORTED, "This is not a chat model", status=404)
    for _ in range(3 * FAILURES_THAT_BLOCK):
        hint = after(hint, msgspec.structs.replace(evidence(unknown), endpoint=asked_at))
    assert (hint.block, hint.errors) == (None, {"not_supported": 3 * FAILURES_THAT_BLOCK})
    for _ in range(FAILURES_THAT_BLOCK):
        hint = after(hint, msgspec.structs.replace(evidence(unknown), endpoint=answers_at))
    assert hint.block is not None or not answers_at, "a model that is gone is blocked all the same"


def test_a_wait_cut_short_for_the_next_deployment_never_blocks():
    cut = Evidence(outcome=Outcome.STALLED, at_ms=NOW_MS, was_cut_short=True)
    assert after_all(Hint(), *[cut] * 100) == Hint()


def test_who_has_answered_before_is_not_blocked_for_faults_but_for_a_model_that_is_gone():
    known = after_successes(Hint(), count=1, workflow="", endpoint="")
    assert after_all(known, *[failed(Outcome.UPSTREAM_ERROR, 500)] * 100).block is None
    gone = after_all(known, *[failed(Outcome.NOT_SUPPORTED, 404)] * FAILURES_THAT_BLOCK).block
    assert gone is not None
    assert gone.cause == Cause.NOT_SUPPORTED


def test_who_answered_a_moment_ago_is_not_blocked_for_faults():
    hints = Hints(now_ms=lambda: NOW_MS)
    hints.succeeded("p:m", workflow="", endpoint="")
    for _ in range(FAILURES_THAT_BLOCK):
        hints.failed("p:m", failed(Outcome.CONNECT_FAILED))
    assert hints.get("p:m").block is None


@pytest.mark.parametrize("cause", PACES)
def test_a_probe_that_fails_waits_longer_until_the_longest(cause: Cause):
    one = {
        Cause.KEY_REFUSED: failed(Outcome.AUTH_REFUSED, 401),
        Cause.OUT_OF_CREDIT: failed(Outcome.OUT_OF_CREDIT, 402),
        Cause.FAILING: failed(Outcome.CONNECT_FAILED),
        Cause.NOT_SUPPORTED: failed(Outcome.NOT_SUPPORTED, 404),
    }[cause]
    hint, pace, waits = after_all(Hint(), *[one] * FAILURES_THAT_BLOCK), PACES[cause], []
    for _ in range(10):
        assert hint.block is not None
        waits.append(hint.block.wait_ms)
        probing, may_go = claimed(hint, "me", hint.block.until_ms)
        assert may_go
        hint = after(probing, one)
    assert waits == [min(pace.first_ms * pace.growth**n, pace.longest_ms) for n in range(10)]


def test_a_block_lasts_since_its_first_fault_and_another_cause_has_a_pace_of_its_own():
    down = after_all(Hint(), *[failed(Outcome.CONNECT_FAILED)] * FAILURES_THAT_BLOCK)
    probing, _ = claimed(down, "me", down.block.until_ms)
    gone = Evidence(outcome=Outcome.NOT_SUPPORTED, at_ms=down.block.until_ms, fault=Fault(Outcome.NOT_SUPPORTED, ""))
    block = after(probing, gone).block
    assert (block.cause, block.since_ms) == (Cause.NOT_SUPPORTED, down.block.since_ms)
    assert block.wait_ms == PACES[Cause.NOT_SUPPORTED].first_ms


def test_one_call_probes_and_another_only_once_that_one_is_given_up():
    hint, may_go = claimed(HINTS[BlockState.BLOCKED], "a", NOW_MS)
    assert may_go
    assert [claimed(hint, process, NOW_MS)[1] for process in "abc"] == [False] * 3
    assert claimed(hint, "b", NOW_MS + PROBE_CLAIM_MS)[1]
    assert claimed(after_neutral(hint), "b", NOW_MS)[1]


async def test_who_comes_while_a_probe_is_out_is_told_to_come_back_in_a_moment():
    now_ms = NOW_MS
    hints = Hints(now_ms=lambda: now_ms)
    hints.failed("p:m", evidence(OUT_OF_CREDIT, at_ms=now_ms))
    now_ms += MINUTE_MS
    assert await hints.admit("p:m")
    assert hints.returns_in_s("p:m") == 1


def test_a_block_by_hand_stands_until_it_is_lifted_by_hand():
    hint = blocked_by_hand(Hint(), "the bill", NOW_MS)
    assert not claimed(hint, "me", 10**15)[1]
    assert returns_at_ms(hint, NOW_MS) is None
    assert after_successes(hint, count=5, workflow="", endpoint="").block == hint.block
    assert report_of(hint)["block"]["reason"] == "the bill"
    lifted = allowed(after_all(hint, *[failed(Outcome.NOT_SUPPORTED, 404)] * 9))
    assert (lifted.block, lifted.unsupported) == (None, 0)


def test_names_of_workflows_are_bounded_and_all_are_counted():
    hint = Hint()
    for number in range(3 * MOST_WORKFLOWS):
        hint = after_successes(hint, count=1, workflow=f"w{number}", endpoint="")
    assert len(hint.workflows) == MOST_WORKFLOWS + 1
    assert sum(tried.successes for tried in hint.workflows.values()) == hint.successes == 3 * MOST_WORKFLOWS


@pytest.mark.parametrize(
    ("message", "body", "lesson"),
    [
        (ONLY_RESPONSES, {}, Lesson(endpoint="v1/responses", not_endpoint="v1/chat/completions")),
        (USE_COMPLETION, {"max_tokens": 5}, Lesson(renamed={"max_tokens": "max_completion_tokens"})),
        (USE_COMPLETION, {}, None),
        (NO_TEMPERATURE, {"temperature": 0.2}, Lesson(dropped="temperature")),
        ("Unsupported value: 'reasoning_effort' does not support 'none'", {"reasoning_effort": "none"},
         Lesson(dropped="reasoning_effort", is_lasting=False)),
        ("Unrecognized request argument supplied: reasoning_effort", {"reasoning_effort": "low"},
         Lesson(dropped="reasoning_effort")),
        ("Unknown parameter: 'thinking'.", {"thinking": {}}, Lesson(dropped="thinking")),
        # What would change the meaning of the call is never left out for a provider's word.
        ("Unsupported parameter: 'tools'", {"tools": []}, None),
        ("Unsupported parameter: 'response_format'", {"response_format": {}}, None),
        ("The model is only supported in v1/realtime and not in v1/chat/completions.", {}, None),
        ("Please do better", {"temperature": 1}, None),
    ],
)  # fmt: skip
def test_a_refusal_teaches_only_in_words_that_are_known(message: str, body: dict[str, Any], lesson: Lesson | None):
    fault = Fault(Outcome.REJECTED, message, status=400, error_body={"error": {"message": message}})
    assert lesson_of(fault, body, has_endpoints=True) == lesson
    stranger = Fault(Outcome.REJECTED, message, status=400, error_body=None)
    assert lesson_of(stranger, body, has_endpoints=True) is None
    if lesson is not None and lesson.endpoint:
        assert lesson_of(fault, body, has_endpoints=False) is None


BODIES = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers())


@given(BODIES, st.dictionaries(st.just("a"), st.just("b")), st.frozensets(st.sampled_from(["c", "d"])))
def test_an_adapted_body_says_what_was_left_out_and_loses_nothing_else(
    body: dict[str, int], renamed: dict[str, str], dropped: frozenset[str]
):
    adapted, left_out = Adaptation(renamed=renamed, dropped=dropped).applied(body)
    assert set(left_out) == dropped & body.keys()
    assert adapted.keys() == {renamed.get(name, name) for name in body if name not in dropped}
    for name, value in adapted.items():
        assert value in {body.get(name), *(body[old] for old, new in renamed.items() if new == name and old in body)}


class HintMachine(RuleBasedStateMachine):
    """Random ends of calls, in any order, against what the words of the design say."""

    @initialize()
    def begin(self) -> None:
        self.hint, self.now_ms, self.successes = Hint(), NOW_MS, 0

    @rule(outcome=st.sampled_from(sorted(set(Outcome) - {Outcome.OK})), status=st.sampled_from([None, 401, 403, 500]))
    def ends_badly(self, outcome: Outcome, status: int | None) -> None:
        was_free = self.hint.block is None
        self.hint = after(self.hint, evidence(Fault(outcome, "words", status=status), at_ms=self.now_ms))
        if was_free and self.hint.block is not None:
            assert outcome not in {Outcome.ABORTED, Outcome.LOST, Outcome.REJECTED, Outcome.RATE_LIMITED}

    @rule(count=st.integers(1, 3))
    def answers(self, count: int) -> None:
        held = self.hint.state == BlockState.HELD
        self.hint = after_successes(self.hint, count=count, workflow="", endpoint="")
        self.successes += count
        assert (self.hint.block is not None) == held

    @rule(seconds=st.integers(0, 100_000))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    @rule(process=st.sampled_from("ab"))
    def asks(self, process: str) -> None:
        blocked, before = self.hint.block, self.hint
        self.hint, may_go = claimed(self.hint, process, self.now_ms)
        if blocked is None:
            assert may_go
            assert self.hint == before
        elif may_go:
            assert blocked.cause != Cause.OPERATOR
            assert self.now_ms >= blocked.until_ms
            assert self.hint.state == BlockState.PROBING

    @rule()
    def blocks_by_hand(self) -> None:
        self.hint = blocked_by_hand(self.hint, "", self.now_ms)

    @rule()
    def allows_by_hand(self) -> None:
        self.hint = allowed(self.hint)
        assert self.hint.block is None

    @invariant()
    def counts_are_kept(self) -> None:
        assert self.hint.successes == self.successes
        report_of(self.hint)


HintMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestHintMachine = HintMachine.TestCase


async def test_a_call_moves_to_the_endpoint_that_an_error_names_and_the_next_one_goes_there_first(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            wrong = {"error": {"message": ONLY_RESPONSES, "type": "invalid_request_error"}}
            upstream.plays(status(404, wrong))
            upstream.default = json_response(RESPONSE)
            call = a_call()
            finished = await house.ask(call)
            assert text_of(finished) == "from over there"
            assert told(finished) == [("a", "not_supported"), ("a", "ok")]
            assert [hold["state"] for hold in house.holds(call.generation_id)] == ["released", "settled"]
            finished = await house.ask(a_call("another one"))
            assert told(finished) == [("a", "ok")]
            paths = [request.path for request in upstream.requests]
            assert paths == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]
            report = house.health.hints.report("a:model-a")
            assert report["endpoints"] == {"v1/chat/completions": False, "v1/responses": True}
            assert report["preferred_endpoint"] == "v1/responses"
            assert house.health.breaker("a:model-a").total_failures == 0


def told(finished: Finished) -> list[tuple[str, str]]:
    return [(report.provider, report.outcome) for report in finished.receipt.attempts]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("message", "given", "sent", "dropped"),
    [
        (USE_COMPLETION, {"max_tokens": 50}, {"max_completion_tokens": 50}, ()),
        (NO_TEMPERATURE, {"max_tokens": 50, "temperature": 0.2}, {"max_tokens": 50}, ("temperature",)),
    ],
)
async def test_a_call_is_mended_as_its_refusal_says_and_that_is_remembered(
    tmp_path: Path, message: str, given: dict[str, Any], sent: dict[str, Any], dropped: tuple[str, ...], is_stream: bool
):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        wrong = {"error": {"message": message, "code": "unsupported_parameter", "type": "invalid_request_error"}}
        upstream.plays(status(400, wrong))
        finished = await house.ask(a_call(body=given, stream=is_stream))
        assert told(finished) == [("a", "rejected"), ("a", "ok")]
        assert finished.receipt.dropped_params == dropped
        async with closed_at_the_end(await house.gateway.generate(a_call(body=given, stream=is_stream))) as reply:
            assert (reply.cache, reply.dropped_params) == ("hit", dropped)
            assert (await reply.finished()).receipt.dropped_params == dropped
        again = await house.ask(a_call("another", body=given, stream=is_stream))
        assert told(again) == [("a", "ok")]
        for request in upstream.requests[1:]:
            assert {name: request.body[name] for name in request.body if name in {*given, *sent}} == sent


async def test_a_refusal_that_repeats_itself_is_mended_once(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.default = status(400, {"error": {"message": USE_COMPLETION, "type": "invalid_request_error"}})
        with pytest.raises(UpstreamRejected):
            await house.ask(a_call())
        await house.gateway.aclose()
        assert len(upstream.requests) == 2


async def test_a_call_too_long_goes_only_where_the_window_is_larger(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = tuple(
            msgspec.structs.replace(a_deployment(name, upstream.url), context_window=window)
            for name, window in (("a", 1000), ("b", 1000), ("c", None), ("d", 9000))
        )
        async with open_gateway(tmp_path, targets=targets) as house:
            long = {"error": {"message": "too long", "code": "context_length_exceeded"}}
            upstream.plays(status(400, long), answer("it fits here"))
            assert told(await house.ask(a_call())) == [("a", "rejected"), ("d", "ok")]
            upstream.plays(status(400, {"error": {"message": "no", "code": "content_policy_violation"}}))
            with pytest.raises(UpstreamRejected):
                await house.ask(a_call("another"))


async def test_a_refused_key_blocks_at_once_is_probed_by_one_call_and_lifts_by_itself(tmp_path: Path):
    async with scripted_upstream() as upstream:
        targets = (a_deployment("a", upstream.url),)
        async with open_gateway(tmp_path, targets=targets) as house:
            upstream.plays(status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}}))
            with pytest.raises(UpstreamFailed):
                await house.ask(a_call())
            with pytest.raises(NoDeploymentAvailable) as refused:
                await house.ask(a_call("two"))
            assert 50 < refused.value.retry_after_s <= 60
            assert len(upstream.requests) == 1
            await house.pass_time(61)
            assert told(await house.ask(a_call("three"))) == [("a", "ok")]
            assert house.health.hints.get("a:model-a").block is None
            assert told(await house.ask(a_call("four"))) == [("a", "ok")]


async def test_what_is_learned_is_shared_and_outlives_the_process(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:

        def process(name: str) -> tuple[Hints, Memory]:
            memory = Memory(house.ledger)
            return Hints(now_ms=house.clock.now_ms, memory=memory, process=name), memory

        (one, _), (other, others) = process("one"), process("other")
        one.failed("p:m", evidence(OUT_OF_CREDIT, at_ms=house.clock.now_ms()))
        one.succeeded("q:m", workflow="w", endpoint="v1/responses")
        await one.share_all()
        await others.learn()
        assert other.returns_in_s("p:m") > 0
        assert other.report("q:m")["workflows"] == {"w": {"successes": 1, "errors": 0}}
        await house.pass_time(61)
        assert [await hints.admit("p:m") for hints in (one, other, one)] == [True, False, False]
        other.give_back("p:m")
        later, memory = process("later")
        await memory.learn()
        assert later.get("p:m").state == BlockState.PROBING
        await later.change("p:m", allowed)
        assert await later.admit("p:m")
        await later.change("p:m", partial(preferring, endpoint="v1/responses"))
        assert later.asked_as("p:m").endpoint == "v1/responses"


async def test_what_is_shared_by_two_at_once_is_told_once(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        memory = Memory(house.ledger)
        hints = Hints(now_ms=house.clock.now_ms, memory=memory, process="one")
        for name in ("p:m", "q:m"):
            hints.succeeded(name, workflow="", endpoint="")
        await asyncio.gather(hints.share_all(), hints.share_all())
        others = Memory(house.ledger)
        other = Hints(now_ms=house.clock.now_ms, memory=others, process="other")
        await others.learn()
        assert [other.get(name).successes for name in ("p:m", "q:m")] == [1, 1]


async def test_what_is_forgotten_by_hand_comes_back_from_no_process_that_had_not_told_it_yet(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        memory = Memory(house.ledger)
        hints = Hints(now_ms=house.clock.now_ms, memory=memory, process="one")
        hints.succeeded("p:m", workflow="w", endpoint="v1/responses")
        hints.failed("p:m", evidence(OUT_OF_CREDIT, at_ms=house.clock.now_ms()))
        hints.succeeded("p:m", workflow="w", endpoint="v1/responses")
        await hints.change("p:m", forgotten)
        hints.succeeded("q:m", workflow="w", endpoint="")
        await hints.change("q:m", forgotten)
        assert hints.report("q:m")["successes"] == 0
        assert (hints.get("p:m"), hints.report("p:m")["successes"]) == (Hint(), 0)
        await hints.share_all()
        await memory.learn()
        assert hints.get("p:m") == Hint()


async def test_what_is_forgotten_is_gone_for_all_processes_and_what_was_never_known_leaves_nothing(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:

        async def process() -> tuple[Hints, Memory]:
            memory = Memory(house.ledger)
            await memory.learn()
            return Hints(now_ms=house.clock.now_ms, memory=memory), memory

        (one, _), (other, others) = await process(), await process()
        for action in ("forget", "allow"):
            await one.change("p:typo", order(action, now_ms=NOW_MS))
        one.give_back("p:typo")
        assert one.known() == []
        assert await house.ledger.memory_since(0) == (0, {})

        await one.change("p:typo", order("block", now_ms=NOW_MS))
        await others.learn()
        assert (one.known(), other.known()) == (["p:typo"], ["p:typo"])
        await one.change("p:typo", order("forget", now_ms=NOW_MS))
        await others.learn()
        assert (one.known(), other.known()) == ([], [])
        assert other.returns_in_s("p:typo") == 0
        other.succeeded("p:typo", workflow="", endpoint="")
        assert other.known() == ["p:typo"], "what is learned from then on is known"
        later, memory = await process()
        await memory.learn()
        assert later.known() == [], "over a restart, too"


async def test_without_a_ledger_too_nothing_is_left_of_what_is_forgotten():
    hints = Hints(now_ms=lambda: NOW_MS)
    for action, known in (("forget", []), ("block", ["p:m"]), ("forget", [])):
        await hints.change("p:m", order(action, now_ms=NOW_MS))
        assert hints.known() == known


def test_an_order_is_known_by_its_name_and_refused_with_what_would_be_right():
    for action in ACTIONS:
        order(action, now_ms=NOW_MS)(Hint())
    for wrong, field in (
        ({"action": "stop"}, "action"),
        ({"action": "prefer", "endpoint": "v1/realtime"}, "endpoint"),
        ({"action": "block", "endpoint": "v1/responses"}, "endpoint"),
        ({"action": "block", "reason": "x" * 301}, "reason"),
    ):
        with pytest.raises(WrongOrder) as refused:
            order(now_ms=NOW_MS, **wrong)
        assert refused.value.field == field
    assert order("prefer", now_ms=0, endpoint="/v1/responses")(Hint()).asked_as.endpoint == "v1/responses"
    assert order("forget", now_ms=0)(HINTS[BlockState.HELD]) == Hint()


async def test_an_endpoint_that_answered_is_known_to_work(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        await house.ask(a_call())
        assert house.health.hints.report("a:model-a")["endpoints"] == {"v1/chat/completions": True}
