"""What each caller hears of a call, however it is being answered and however it asked to hear it."""

import asyncio
from pathlib import Path
from typing import Any

from router.answer import ToolCall, ToolCallDelta
from tests.router.gateways import a_call, closed_at_the_end, end_of, hear, open_gateway, text_of
from tests.upstream import answer, raw, scripted_upstream, status, stream

RICH: dict[str, Any] = {
    "id": "chatcmpl-rich",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "model-a-2026",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "first",
                "reasoning_content": "thought",
                "annotations": [{"type": "url_citation"}],
            },
            "logprobs": {"content": [{"token": "first", "logprob": -0.1}], "refusal": None},
            "finish_reason": "stop",
            "matched_stop": 7,
        },
        {
            "index": 1,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}},
                    {"id": "call_2", "type": "function", "function": {"name": "look_up", "arguments": "{}"}},
                ],
            },
            "finish_reason": "tool_calls",
        },
    ],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
}


async def test_tools_reasoning_logprobs_two_choices_and_unknown_fields_replay_without_loss(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(status(200, RICH))
        missed = await house.ask(a_call(body={"n": 2}))
        hit = await house.ask(a_call(body={"n": 2}))
        deltas, streamed = await hear(reply := await house.gateway.generate(a_call(body={"n": 2}, stream=True)))
        await reply.aclose()

        assert hit.answer == streamed.answer == missed.answer
        assert (hit.receipt.cache, streamed.receipt.cache) == ("hit", "hit")
        first, second = missed.answer.choices
        assert (first.text, first.reasoning, first.finish_reason) == ("first", "thought", "stop")
        assert first.logprobs == RICH["choices"][0]["logprobs"]
        assert first.extra == {"annotations": [{"type": "url_citation"}], "matched_stop": 7}
        assert second.tool_calls == (
            ToolCall(id="call_1", name="look_up", arguments='{"a": 1}'),
            ToolCall(id="call_2", name="look_up", arguments="{}"),
        )
        assert (second.text, second.finish_reason) == (None, "tool_calls")
        assert missed.answer.extra == {"system_fingerprint": "fp_1"}
        assert (missed.answer.provider_model, missed.answer.provider_response_id) == ("model-a-2026", "chatcmpl-rich")
        assert [(delta.choice, delta.finish_reason) for delta in deltas] == [(0, "stop"), (1, "tool_calls")]
        assert deltas[1].tool_calls[1] == ToolCallDelta(index=1, id="call_2", name="look_up", arguments="{}")
        usage = hit.receipt.usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens) == (
            20,
            5,
            10,
            4,
        )


async def test_a_streamed_answer_with_tools_is_stored_as_the_whole_one_it_adds_up_to(tmp_path: Path):
    pieces = [
        {"reasoning": "hm "},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]},
    ]
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(stream(pieces, finish_reason="tool_calls", completion_tokens=5))
        missed = await house.ask(a_call(stream=True))
        hit = await house.ask(a_call())
        assert hit.answer == missed.answer
        assert hit.answer.choices[0].tool_calls == (ToolCall(id="call_1", name="f", arguments='{"a": 1}'),)
        assert hit.answer.choices[0].reasoning == "hm "


async def test_whoever_joins_a_stream_late_hears_it_from_its_first_word(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(stream(["one ", "two ", gate, "three"]))
        leader = await house.gateway.generate(a_call(stream=True))
        events = leader.events()
        await anext(events)
        await anext(events)
        assert leader.timing is not None
        assert leader.timing.upstream_ms > 0
        late = await house.gateway.generate(a_call(stream=True))
        assert late.timing is None
        whole = await house.gateway.generate(a_call())
        gate.set()
        async with closed_at_the_end(leader), closed_at_the_end(late):
            deltas, finished = await hear(late)
            await events.aclose()
        assert [delta.text for delta in deltas] == ["one ", "two ", "three", ""]
        assert text_of(finished) == text_of(await end_of(whole, stream=False)) == "one two three"


async def test_a_streaming_caller_who_joins_an_unstreamed_flight_gets_the_whole_answer_as_events(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(answer("all at once", gate=gate))
        leader = await house.gateway.generate(a_call())
        follower = await house.gateway.generate(a_call(stream=True))
        assert (leader.cache, follower.cache, follower.deployment_id) == ("miss", "coalesced", "a:model-a")
        gate.set()
        async with closed_at_the_end(leader), closed_at_the_end(follower):
            deltas, finished = await hear(follower)
            assert [delta.text for delta in deltas] == ["all at once"]
            assert (await leader.finished()).answer == finished.answer
        assert not upstream.requests[0].is_stream


async def test_finished_comes_after_the_ledger_has_the_call(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        for is_stream in (False, True):
            call = a_call(f"{is_stream}", stream=is_stream)
            finished = await house.ask(call)
            (hold,) = house.holds(call.generation_id)
            assert (hold["state"], hold["cost_nanousd"]) == ("settled", finished.receipt.cost_nanousd)
            assert house.generation(call.generation_id)["outcome"] == "ok"


async def test_a_server_that_answers_whole_though_it_was_asked_to_stream_is_heard(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(status(200, RICH))
        deltas, finished = await hear(reply := await house.gateway.generate(a_call(stream=True)))
        await reply.aclose()
        assert [delta.text for delta in deltas] == ["first", ""]
        assert finished.answer.choices[0].reasoning == "thought"


async def test_the_trace_of_a_call_says_who_was_tried_and_what_it_cost(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        gate = asyncio.Event()
        upstream.plays(status(500, gate=gate), answer("well"))
        leader, follower = await house.gateway.generate(a_call()), await house.gateway.generate(a_call())
        gate.set()
        async with closed_at_the_end(leader), closed_at_the_end(follower):
            finished = await leader.finished()
            await follower.finished()
        facts, following = leader.chat_facts(), follower.chat_facts()
        assert (facts.outcome, facts.cache, facts.provider) == ("ok", "miss", "b")
        assert facts.cost_nanousd == finished.receipt.cost_nanousd
        assert [(attempt.outcome, attempt.status) for attempt in facts.attempts] == [
            ("upstream_error", 500),
            ("ok", 200),
        ]
        assert [name for name, _, _ in facts.events] == ["farthing.admit", "farthing.hold", "farthing.settle"]
        assert facts.ended_at_ns >= facts.attempts[-1].ended_at_ns >= facts.started_at_ns
        assert (following.outcome, following.cache, following.cost_nanousd, following.attempts) == (
            "ok",
            "coalesced",
            0,
            (),
        )
        assert (facts.input_messages, facts.output_messages) == (None, None)


async def test_a_call_that_was_left_says_aborted_in_its_trace(tmp_path: Path):
    async with scripted_upstream() as upstream, open_gateway(tmp_path, upstream) as house:
        upstream.plays(raw(b"", then="hang"))
        reply = await house.gateway.generate(a_call())
        await upstream.until(lambda it: len(it.requests) == 1)
        await reply.aclose()
        await reply.aclose()
        assert reply.chat_facts().outcome == "aborted"
