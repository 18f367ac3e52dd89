"""Requests: what a chat completion becomes, and that whatever has no place is named."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.deployments import Deployment, Provider
from router.dialects import fitted
from router.errors import Inexpressible
from router.providers.anthropic.models import model_of
from router.providers.anthropic.request import DEFAULT_MAX_TOKENS, request_of

PROVIDER = Provider(name="anthropic", dialect="anthropic", base_url="http://127.0.0.1:1")
HELLO = [{"role": "user", "content": "hello"}]
OLD, NEW, SONNET = "claude-3-5-haiku-latest", "claude-opus-4-7", "claude-sonnet-4-5"
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True},
}
SENT_TOOL = {"name": "f", "description": "does", "input_schema": {"type": "object"}, "strict": True}

LAX_TOOL = {name: value for name, value in SENT_TOOL.items() if name != "strict"}


def sent(
    model: str = SONNET, *, max_output_tokens: int | None = None, messages: Any = HELLO, **params: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request less what is always in it, and what was left out of it."""
    deployment = Deployment(
        provider=PROVIDER, model=model, price=None, encoding="o200k_base", max_output_tokens=max_output_tokens
    )
    body, dropped = fitted({"messages": messages, **params}, deployment)
    request = request_of(body, model, stream=False)
    assert fitted(body, deployment) == (body, tuple(name for name in dropped if name not in params))
    assert (request.pop("model"), request.pop("stream")) == (model, False)
    return request, dropped


def params(model: str = SONNET, **given: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What parameters become: the request less its messages and, where none was asked for, its length."""
    request, dropped = sent(model, **given)
    del request["messages"]
    if "max_tokens" not in given and request["max_tokens"] == DEFAULT_MAX_TOKENS:
        del request["max_tokens"]
    return request, dropped


def conversation(*messages: dict[str, Any]) -> dict[str, Any]:
    request, dropped = sent(messages=list(messages))
    assert dropped == ()
    del request["max_tokens"]
    return request


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_system_text_stands_apart_wherever_it_stood():
    assert conversation(
        {"role": "system", "content": "be kind"}, *HELLO, {"role": "developer", "content": [text("be brief")]}
    ) == {
        "system": [text("be kind"), text("be brief")],
        "messages": [{"role": "user", "content": [text("hello")]}],
    }


CALLS = [
    {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}},
]
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def test_a_tool_call_and_its_results_are_blocks_and_neighbours_of_one_role_are_one_message():
    assert conversation(
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": CALLS, "thinking_blocks": [THOUGHT]},
        {"role": "tool", "tool_call_id": "t1", "content": "one"},
        {"role": "tool", "tool_call_id": "t2", "content": [text("two")]},
        {"role": "user", "content": "and?"},
    )["messages"] == [
        {"role": "user", "content": [text("hello")]},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [text("one")]},
                {"type": "tool_result", "tool_use_id": "t2", "content": [text("two")]},
                text("and?"),
            ],
        },
    ]


def test_thoughts_that_were_numbered_in_a_stream_are_sent_back_as_they_came():
    sealed = {"type": "redacted_thinking", "data": "x"}
    numbered = [{**block, "index": index} for index, block in enumerate((THOUGHT, sealed))]
    said = {"role": "assistant", "content": "", "tool_calls": CALLS[:1], "thinking_blocks": numbered}
    called = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    messages = conversation(*HELLO, said)["messages"]
    assert messages[1] == {"role": "assistant", "content": [THOUGHT, sealed, called]}


def test_images_and_papers_come_as_data_or_by_their_address():
    message = {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}, "cache_control": {"type": "e"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,BBBB", "filename": "b.pdf"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
        ],
    }
    assert conversation(message)["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://example.com/a.png"},
            "cache_control": {"type": "e"},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"},
            "title": "b.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
    ]


@pytest.mark.parametrize(
    ("message", "where"),
    [
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": []}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}, "messages[0]"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, "messages[0].content[0]"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0]"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}, "messages[0].tool"),
        ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}, "messages[0].tool_calls[0]"),
        ({"role": "user", "content": 7}, "messages[0].content"),
        ({"role": "system", "content": "alone"}, "messages"),
    ],
)
def test_messages_that_cannot_be_said_there_are_refused_and_never_changed(message: dict[str, Any], where: str):
    with pytest.raises(Inexpressible) as raised:
        sent(messages=[message])
    assert raised.value.where.startswith(where)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8, "max_tokens": 7}, 8),
        ({"max_output_tokens": 9}, 9),
        ({"thinking_budget": 2000}, DEFAULT_MAX_TOKENS + 2000),
        ({"thinking": {"type": "enabled", "budget_tokens": 3000}}, DEFAULT_MAX_TOKENS + 3000),
        ({}, DEFAULT_MAX_TOKENS),
    ],
)
def test_an_answers_length_is_always_said(given: dict[str, Any], limit: int):
    assert sent(**given)[0]["max_tokens"] == limit


BUDGET = {"type": "enabled", "budget_tokens": 2048}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
FORMAT = {"type": "json_schema", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("model", "given", "request_has", "dropped"),
    [
        (SONNET, {"stop": "a", "temperature": 0.5}, {"stop_sequences": ["a"], "temperature": 0.5}, ()),
        (SONNET, {"stop": ["a", "\n"]}, {"stop_sequences": ["a"]}, ("stop[1]",)),
        (SONNET, {"temperature": 1.5}, {}, ("temperature",)),
        (SONNET, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {"temperature": 0.5, "top_k": 4}, ("top_p",)),
        (OLD, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, ()),
        (NEW, {"temperature": 0.5, "top_p": 0.9, "top_k": 1}, {}, ("temperature", "top_p", "top_k")),
        (SONNET, {"user": "u"}, {"metadata": {"user_id": "u"}}, ()),
        (SONNET, {"metadata": {"team": "x"}}, {}, ("metadata",)),
        (SONNET, {"n": 2, "seed": 3, "logit_bias": {}, "zz": 1}, {}, ("n", "seed", "logit_bias", "zz")),
        (SONNET, {"n": 1, "frequency_penalty": 0.0, "store": False, "seed": None}, {}, ()),
        (SONNET, {"service_tier": "default"}, {"service_tier": "standard_only"}, ()),
        (SONNET, {"service_tier": "flex"}, {}, ("service_tier",)),
        (SONNET, {"response_format": SCHEMA}, {"output_config": {"format": FORMAT}}, ()),
        (OLD, {"response_format": SCHEMA}, {}, ("response_format",)),
        (SONNET, {"response_format": {"type": "json_object"}}, {}, ("response_format",)),
        (SONNET, {"tools": [TOOL]}, {"tools": [SENT_TOOL]}, ()),
        (OLD, {"tools": [TOOL]}, {"tools": [LAX_TOOL]}, ("tools[0].strict",)),
        (SONNET, {"tools": [{"type": "web", "name": "w"}]}, {"tools": [{"type": "web", "name": "w"}]}, ()),
        (SONNET, {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, {}, ("tools[0]",)),
        (SONNET, {"tool_choice": "auto"}, {}, ("tool_choice",)),
        (SONNET, {"reasoning_effort": "medium"}, {"thinking": BUDGET}, ()),
        (SONNET, {"reasoning_effort": "medium", "temperature": 0.2}, {"thinking": BUDGET}, ("temperature",)),
        (SONNET, {"reasoning_effort": "medium", "top_p": 0.97}, {"thinking": BUDGET, "top_p": 0.97}, ()),
        (SONNET, {"reasoning_effort": "medium", "max_tokens": 1024}, {"max_tokens": 1024}, ("reasoning_effort",)),
        (SONNET, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ()),
        (OLD, {"reasoning_effort": "none"}, {}, ()),
        (OLD, {"reasoning_effort": "low"}, {}, ("reasoning_effort",)),
        (NEW, {"reasoning_effort": "odd"}, {}, ("reasoning_effort",)),
        (NEW, {"thinking_budget": 2048, "max_tokens": 9000}, {"max_tokens": 9000}, ("thinking_budget",)),
        (SONNET, {"thinking_budget": 100}, {"max_tokens": 4196}, ("thinking_budget",)),
        (SONNET, {"include_thoughts": True}, {}, ("include_thoughts",)),
        (SONNET, {"thinking": BUDGET, "max_tokens": 3000, "reasoning_effort": "low"},
         {"thinking": BUDGET, "max_tokens": 3000}, ("reasoning_effort",)),
        (NEW, {"reasoning_effort": "xhigh", "include_thoughts": True, "response_format": SCHEMA},
         {"thinking": {"type": "adaptive", "display": "summarized"},
          "output_config": {"effort": "xhigh", "format": FORMAT}}, ()),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"},
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, ()),
    ],
)  # fmt: skip
def test_each_parameter_is_sent_or_named(model: str, given: dict[str, Any], request_has: Any, dropped: tuple[str, ...]):
    request, left_out = params(model, **given)
    assert (request, left_out) == (request_has, dropped)


@pytest.mark.parametrize(
    ("given", "choice", "dropped"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}, ()),
        ({"tool_choice": "required"}, {"type": "any"}, ()),
        ({"tool_choice": "none"}, {"type": "none"}, ()),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f"},
            (),
        ),
        ({"tool_choice": {"type": "allowed_tools"}}, None, ("tool_choice",)),
        ({"parallel_tool_calls": True}, None, ()),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}, ()),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
            (),
        ),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}, ("parallel_tool_calls",)),
        ({"reasoning_effort": "high", "tool_choice": "required"}, {"type": "any"}, ("reasoning_effort",)),
    ],
)
def test_the_choice_of_tools(given: dict[str, Any], choice: Any, dropped: tuple[str, ...]):
    request, left_out = params(tools=[TOOL], **given)
    assert (request.get("tool_choice"), left_out) == (choice, dropped)


def test_thoughts_that_were_not_sent_along_with_a_tool_call_end_thinking():
    said: list[dict[str, Any]] = [*HELLO, {"role": "assistant", "tool_calls": CALLS}]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in CALLS]
    assert sent(messages=said + results, reasoning_effort="high")[1] == ("reasoning_effort",)
    said[1]["thinking_blocks"] = [THOUGHT]
    assert sent(messages=said + results, reasoning_effort="high")[1] == ()


@pytest.mark.parametrize(
    ("name", "thinks", "is_adaptive"),
    [
        ("claude-3-5-sonnet-20241022", False, False),
        ("claude-3-7-sonnet-20250219", True, False),
        ("claude-opus-4-20250514", True, False),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", True, False),
        ("claude-sonnet-4.6", True, True),
        ("claude-opus-5", True, True),
        ("my-alias", True, False),
    ],
)
def test_a_models_generation_is_read_from_its_name(name: str, thinks: bool, is_adaptive: bool):
    assert (model_of(name).thinks, model_of(name).is_adaptive) == (thinks, is_adaptive)


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
json = values | st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2)
NAMES = [
    *("temperature", "top_p", "top_k", "stop", "user", "metadata", "response_format", "output_config", "service_tier"),
    *("cache_control", "tools", "tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens"),
    *("thinking", "thinking_budget", "reasoning_effort", "include_thoughts", "n", "seed"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), json, max_size=8), st.sampled_from([OLD, SONNET, NEW, "alias"]))
def test_whatever_is_given_is_sent_or_named_and_asked_again_nothing_more_is(given_params, model):
    if type(given_params.get("max_completion_tokens", given_params.get("max_tokens", 1))) is not int:
        # The edge refuses these before anybody plans.
        return
    given_params["max_tokens"] = given_params.get("max_tokens") or 5
    sent(model, **given_params)


def test_a_field_that_is_called_as_messages_own_are_kept_is_a_field_like_any_other():
    """Whatever stood in it would go to Anthropic as it is: another model, a longer answer than the hold is for."""
    forged = {"model": "claude-opus-4-1", "max_tokens": 64_000, "messages": [], "fields": {"model": "claude-opus-4-1"}}
    request, dropped = sent(max_tokens=5, anthropic=forged)
    assert request == {"messages": [{"role": "user", "content": [text("hello")]}], "max_tokens": 5}
    assert dropped == ("anthropic",)
