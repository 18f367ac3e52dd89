"""What models take, by their names: what they lack is left out by name, and what a call cannot do without decides."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.capabilities import CAPABILITIES, PARAMETERS, gated, lacks, needed
from router.deployments import Deployment, Route
from router.errors import ContextTooLong
from router.plan import plan
from router.registry import ModelFacts, facts_of
from tests.router.gateways import a_call, a_deployment, open_gateway, text_of
from tests.upstream import scripted_upstream

IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/cat.png"}}]}]
TOOL_RESULT = [{"role": "tool", "tool_call_id": "1", "content": "4"}]
STRICT = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {}}}


def deployment_of(model: str, **more: Any) -> Deployment:
    facts = facts_of(model)
    known = {name: getattr(facts, name) for name in ("supports", "context_window", "max_output_tokens", "adaptation")}
    return msgspec.structs.replace(a_deployment("p", "http://127.0.0.1:1/v1"), model=model, **{**known, **more})


@pytest.mark.parametrize(
    ("model", "body", "dropped"),
    [
        ("gpt-4o", {"reasoning_effort": "low", "temperature": 0.2}, ("reasoning_effort",)),
        ("gpt-4o-mini-2024-07-18", {"reasoning_effort": "low"}, ("reasoning_effort",)),
        ("gpt-5-mini", {"reasoning_effort": "low", "temperature": 0.2}, ("temperature",)),
        ("gpt-5", {"temperature": 1, "top_p": 1.0, "presence_penalty": 0}, ()),
        ("gpt-5-chat-latest", {"reasoning_effort": "low", "temperature": 0.2}, ("reasoning_effort",)),
        ("o3", {"reasoning_effort": "high", "thinking_budget": 100}, ("thinking_budget",)),
        ("o4-mini", {"reasoning_effort": "high", "logprobs": True}, ("logprobs",)),
        ("gpt-4o", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ("thinking",)),
        ("claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ()),
        ("o1-mini", {"tools": [], "reasoning_effort": "low"}, ("tools", "reasoning_effort")),
        ("gemini-2.5-pro", {"thinking_budget": 100, "include_thoughts": True}, ()),
        ("gemini-2.0-flash", {"thinking_budget": 100, "temperature": 0}, ("thinking_budget",)),
        ("openai/gpt-4.1-nano", {"reasoning": {"summary": "auto"}}, ("reasoning",)),
        ("somebody-elses", {name: 2 for names in PARAMETERS.values() for name in names}, ()),
    ],
)  # fmt: skip
def test_what_a_model_does_not_take_is_left_out_and_named(model: str, body: dict[str, Any], dropped: tuple[str, ...]):
    sent, left_out = gated(body, deployment_of(model))
    assert left_out == dropped
    assert sent == {name: value for name, value in body.items() if name not in dropped}


def test_the_longest_name_that_fits_decides_and_no_other_name_is_taken_for_one():
    assert facts_of("gpt-4o-2024-08-06") == facts_of("gpt-4o") != facts_of("gpt-4")
    assert facts_of("GPT-4O") == facts_of("gpt-4o")
    assert facts_of("o3-pro").adaptation.endpoint == "v1/responses"
    assert facts_of("gpt-4omega") == facts_of("o30") == facts_of("my-gpt-4o") == facts_of("") == ModelFacts()
    assert facts_of("gpt-4o:my-tuning") == facts_of("gpt-4o")


@given(st.text(st.sampled_from("gpto-4.5:@/1x"), max_size=20))
def test_any_name_has_an_answer(name: str):
    supports = facts_of(name).supports
    assert supports is None or supports <= CAPABILITIES


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, set()),
        ({"messages": IMAGE}, {"vision"}),
        ({"messages": TOOL_RESULT}, {"tools"}),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, {"tools"}),
        ({"tools": [], "tool_choice": "auto"}, set()),
        ({"tools": [], "tool_choice": "required"}, {"tools"}),
        ({"response_format": STRICT}, {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"messages": "nonsense"}, set()),
        ({"messages": ["nonsense", {"content": ["nonsense"]}]}, set()),
    ],
)
def test_what_a_call_cannot_do_without(body: dict[str, Any], wanted: set[str]):
    assert needed(body) == wanted


def planned(call: Any, *targets: Deployment, prompt_tokens: int | None = None) -> list[str]:
    route = Route(name="chat", targets=targets)
    candidates = plan(call, route, limited_units=lambda _: (), returns_in_s={}, prompt_tokens=prompt_tokens)
    return [candidate.deployment.model for candidate in candidates]


def test_who_lacks_what_the_call_needs_is_passed_over_unless_all_do():
    blind, seeing = deployment_of("gpt-3.5-turbo"), deployment_of("gpt-4o")
    call = a_call(body={"messages": IMAGE})
    assert lacks(blind, needed(call.body))
    assert planned(call, blind, seeing) == ["gpt-4o"]
    assert planned(call, blind) == ["gpt-3.5-turbo"]
    assert planned(a_call(), blind, seeing) == ["gpt-3.5-turbo", "gpt-4o"]


def test_a_call_that_is_surely_too_long_for_a_window_is_not_sent_there():
    small, large = deployment_of("gpt-4"), deployment_of("gpt-4o")
    assert planned(a_call(), small, large, prompt_tokens=20_000) == ["gpt-4o"]
    # The count may be too high by a quarter.
    assert planned(a_call(), small, large, prompt_tokens=9_000) == ["gpt-4", "gpt-4o"]
    with pytest.raises(ContextTooLong) as refused:
        planned(a_call(), small, prompt_tokens=20_000)
    assert refused.value.windows == {"p:gpt-4": 8_192}


def test_a_field_is_sent_under_the_name_that_the_model_knows():
    (candidate,) = plan(
        a_call(), Route(name="chat", targets=(deployment_of("o3"),)), limited_units=lambda _: (), returns_in_s={}
    )
    assert candidate.body["max_completion_tokens"] == 50
    assert "max_tokens" not in candidate.body
    assert candidate.dropped_params == ()


async def test_a_call_too_long_for_the_first_is_answered_by_the_next_without_asking_the_first(tmp_path):
    async with scripted_upstream() as upstream:
        targets = tuple(
            msgspec.structs.replace(a_deployment(name, upstream.url), context_window=window)
            for name, window in (("a", 100), ("b", 100_000))
        )
        async with open_gateway(tmp_path, targets=targets) as house:
            finished = await house.ask(a_call("a word " * 300))
            assert text_of(finished).startswith("a word")
            assert [request.body["model"] for request in upstream.requests] == ["model-b"]
            with pytest.raises(ContextTooLong):
                await house.ask(a_call("a word " * 70_000))
            assert len(upstream.requests) == 1
