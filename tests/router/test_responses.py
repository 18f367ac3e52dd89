"""Calls in the words of `/v1/responses`: what becomes of them elsewhere, how they go on, what they may cost."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.bounds import unbounded_field
from router.cachekey import cache_key
from router.deployments import Route
from router.errors import Inexpressible, UnboundedCost
from router.lessons import AS_IT_IS, Adaptation, Lesson
from router.plan import mended, plan
from router.providers.openai_responses import request_of
from router.responses import (
    AS_SENT,
    NOTHING_MORE,
    AsSent,
    in_chat,
    is_kept,
    opened_thoughts,
    origin_of,
    response_id,
    sealed_thoughts,
)
from tests.router.gateways import a_call, a_deployment

USER = {"role": "user", "content": "hello"}
FUNCTION = {"type": "function", "function": {"name": "f"}}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
BLOCKS = [{"type": "thinking", "thinking": "Hm.", "signature": "sig"}]
OURS = {
    "type": "reasoning",
    "id": "rs_2",
    "summary": [],
    "encrypted_content": sealed_thoughts({"thinking_blocks": BLOCKS}),
}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f"}}],
}


def sent(**fields: Any) -> dict[str, Any]:
    """A body that came in Responses' words."""
    return {"messages": [USER], AS_SENT: NOTHING_MORE, **fields}


def a_plan(body: dict[str, Any], *, is_limited=False, asked_as=AS_IT_IS, **provider):
    target = msgspec.structs.replace(a_deployment("up", "http://up/v1", **provider), max_output_tokens=10)
    call = msgspec.structs.replace(a_call(), body=body)
    route = Route(name="chat", targets=(target,))
    return plan(
        call, route, limited_units=lambda _: {"usd"} if is_limited else (), returns_in_s={}, asked_as=lambda _: asked_as
    )[0]


def test_a_body_of_another_format_is_as_it_was():
    body = {"messages": [USER], "truncation": "auto", AS_SENT: {"fields": {"input": "planted"}}}
    assert in_chat(body, "openai") == (body, ())
    assert request_of(a_deployment("up", ""), body, stream=False)["input"] == [USER]


@pytest.mark.parametrize(
    ("fields", "said", "lost"),
    [
        ({"truncation": "disabled"}, {}, ()),
        ({"truncation": "auto", "max_tool_calls": 3}, {}, ("truncation", "max_tool_calls")),
        ({"include": ["reasoning.encrypted_content"]}, {}, ("include",)),
        (
            {"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
            {"reasoning_effort": "low"},
            ("reasoning.summary",),
        ),
        ({"tools": [FUNCTION, {"type": "web_search"}]}, {"tools": [FUNCTION]}, ("tools[1]",)),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": "required", "parallel_tool_calls": False},
            {},
            ("tools[0]", "tool_choice", "parallel_tool_calls"),
        ),
        ({"tools": [FUNCTION], "tool_choice": {"type": "web_search"}}, {"tools": [FUNCTION]}, ("tool_choice",)),
        ({"metadata": {"a": "b"}}, {}, ("metadata",)),
        ({"metadata": {"a": "b"}, "store": True}, {"metadata": {"a": "b"}, "store": True}, ()),
        ({"top_logprobs": 2}, {}, ("top_logprobs",)),
        ({"top_logprobs": 2, "logprobs": True}, {"top_logprobs": 2, "logprobs": True}, ()),
        ({AS_SENT: AsSent(fields={"input": []}, lost=("input.phase",))}, {}, ("input.phase",)),
    ],
)
def test_what_chat_completions_have_no_words_for_is_left_out_by_name(fields, said, lost):
    assert in_chat(sent(**fields), "openai") == ({"messages": [USER], **said}, lost)


def test_elsewhere_a_summary_is_shown_thoughts():
    body, lost = in_chat(sent(reasoning_effort="low", reasoning={"summary": "auto"}), "gemini")
    assert (body["include_thoughts"], lost) == (True, ())
    assert in_chat(sent(include=["reasoning.encrypted_content"]), "anthropic")[1] == ()


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"previous_response_id": response_id("gen_1", "up:m", "resp_1")}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"messages": [USER, {"type": "computer_call_output"}]}, "input"),
        ({"messages": [USER, {"type": "item_reference", "id": "msg_68a1"}]}, "input"),
    ],
)
def test_what_the_call_would_be_another_without_is_refused_by_name(fields, where):
    with pytest.raises(Inexpressible) as caught:
        in_chat(sent(**fields), "openai")
    assert caught.value.where == where


def test_thoughts_go_back_to_those_who_can_read_them_and_no_others():
    said = sent(messages=[USER, THOUGHT, OURS, CALL, {"role": "assistant", "content": "So."}])
    body, lost = in_chat(said, "anthropic")
    assert body["messages"] == [USER, {**CALL, "content": "So.", "thinking_blocks": BLOCKS}]
    assert lost == ("input.reasoning",)
    body, lost = in_chat(said, "openai")
    assert body["messages"] == [USER, {**CALL, "content": "So."}]
    assert lost == ("input.reasoning",)


def test_signatures_go_back_to_the_one_who_signed():
    signed = [{"tool_call_id": "c1", "signature": "sig"}]
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed_thoughts({"thought_signatures": signed})}
    body, lost = in_chat(sent(messages=[USER, item, CALL]), "gemini")
    assert (body["messages"], lost) == ([USER, {**CALL, "thought_signatures": signed}], ())


def test_words_around_a_call_are_one_message_with_it():
    words = [{"role": "assistant", "content": "a"}, CALL, {"role": "assistant", "content": "b"}]
    body, _ = in_chat(sent(messages=[USER, *words]), "openai")
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body["messages"] == [USER, {**CALL, "content": texts}]


@given(st.text(min_size=1).filter(lambda it: "\n" not in it), st.text(min_size=1))
def test_an_id_leads_to_where_its_response_is_kept(deployment_id, provider_id):
    name = response_id("gen_1", deployment_id, provider_id)
    assert name.startswith("resp_1_")
    if len(name) <= 2048:
        assert origin_of(name) == (deployment_id, provider_id)


@given(st.one_of(st.text(), st.binary().map(lambda it: f"resp_1_{it.hex()}"), st.integers()))
def test_any_other_name_leads_nowhere_or_to_a_name(name):
    origin = origin_of(name)
    assert origin is None or all(origin)


def test_a_response_that_nobody_keeps_has_a_name_that_leads_nowhere():
    assert not is_kept(response_id("gen_1", "up:m", ""))
    assert opened_thoughts(THOUGHT) is None
    assert opened_thoughts({"encrypted_content": "farthing1.!"}) is None


def test_a_provider_that_speaks_it_is_asked_in_its_words():
    items = [THOUGHT, USER]
    body = sent(messages=items, truncation="auto", **{AS_SENT: AsSent(fields={"input": items}, lost=("input.phase",))})
    candidate = a_plan(body, has_responses=True)
    assert (candidate.endpoint, candidate.dropped_params) == ("v1/responses", ())
    request = request_of(candidate.deployment, candidate.body, stream=True)
    assert request == {"model": "model-up", "stream": True, "input": items, "truncation": "auto"}
    elsewhere = a_plan(body)
    assert (elsewhere.endpoint, elsewhere.dropped_params) == ("", ("input.phase", "truncation", "input.reasoning"))
    assert elsewhere.body == {"messages": [USER]}
    learned = a_plan(body, has_responses=True, asked_as=Adaptation(endpoint="v1/chat/completions"))
    assert learned.body == elsewhere.body
    moved = mended(candidate, Lesson(endpoint="v1/chat/completions"))
    assert moved is not None
    assert (moved.body, moved.dropped_params) == (elsewhere.body, elsewhere.dropped_params)
    assert a_plan({"messages": [USER]}, has_responses=True).endpoint == ""


def test_thoughts_that_were_sealed_here_are_not_sent_to_a_provider_that_would_take_them_for_its_own():
    items = [THOUGHT, OURS, USER]
    body = sent(messages=items, **{AS_SENT: AsSent(fields={"input": items})})
    candidate = a_plan(body, has_responses=True)
    assert candidate.dropped_params == ("input.reasoning",)
    assert request_of(candidate.deployment, candidate.body, stream=False)["input"] == [THOUGHT, USER]
    kept_apart = a_plan(sent(messages=items), has_responses=True)
    assert request_of(kept_apart.deployment, kept_apart.body, stream=False)["input"][0] == THOUGHT
    assert len(kept_apart.body["messages"]) == 2


def test_what_a_capability_forbids_is_not_sent_as_it_came_either():
    tools = [{"type": "function", "name": "f"}]
    body = sent(tools=[FUNCTION], **{AS_SENT: AsSent(fields={"tools": tools})})
    target = a_deployment("up", "", has_responses=True)
    assert request_of(target, body, stream=False)["tools"] == tools
    assert "tools" not in request_of(target, {name: body[name] for name in body if name != "tools"}, stream=False)


def test_a_response_is_gone_on_with_where_it_was_given():
    here, there = response_id("gen_1", "up:model-up", "resp_1"), response_id("gen_1", "off:model-off", "resp_1")
    candidate = a_plan(sent(previous_response_id=here), has_responses=True)
    assert request_of(candidate.deployment, candidate.body, stream=False)["previous_response_id"] == "resp_1"
    both = tuple(a_deployment(name, "", has_responses=True) for name in ("off", "up"))
    call = msgspec.structs.replace(a_call(), body=sent(previous_response_id=here))
    routed = plan(call, Route(name="chat", targets=both), limited_units=lambda _: (), returns_in_s={})
    assert [candidate.deployment.id for candidate in routed] == ["up:model-up"]
    with pytest.raises(Inexpressible, match="previous_response_id"):
        a_plan(sent(previous_response_id=there), has_responses=True)
    with pytest.raises(UnboundedCost) as caught:
        a_plan(sent(previous_response_id=here), has_responses=True, is_limited=True)
    assert caught.value.field == "previous_response_id"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"messages": [{"type": "image_generation_call", "id": "ig_1"}]}, "input"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_url": "http://h"}}]}]}, "file_url"),
        ({"messages": [THOUGHT]}, None),
    ],
)
def test_what_no_hold_can_bound_is_named(fields, field):
    assert unbounded_field(sent(**fields)) == field


def test_in_whose_words_a_call_came_is_no_matter_if_others_have_words_for_all_of_it():
    def key(body: dict[str, Any]) -> bytes:
        return cache_key(kind="chat", scope="", route="r", workflow="", body=body, headers={})

    assert key(sent()) == key({"messages": [USER]})
    assert key(sent(**{AS_SENT: AsSent(fields={"input": [USER]})})) != key({"messages": [USER]})
