"""Requests: what a chat completion becomes, and that whatever has no place is named."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.deployments import Deployment, Provider
from router.dialects import fitted
from router.errors import Inexpressible
from router.providers.gemini.contents import NO_SIGNATURE
from router.providers.gemini.request import request_of

PROVIDER = Provider(name="gemini", dialect="gemini", base_url="http://127.0.0.1:1")
HELLO = [{"role": "user", "content": "hello"}]
OLD, PRO, FLASH, NEW, NEW_PRO = (
    "gemini-2.0-flash",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
)
TOOL = {"type": "function", "function": {"name": "f", "description": "does", "parameters": {"type": "object"}}}
SENT_TOOLS = [
    {"functionDeclarations": [{"name": "f", "description": "does", "parametersJsonSchema": {"type": "object"}}]}
]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def sent(model: str = FLASH, *, messages: Any = HELLO, **params: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request, and what was left out of it."""
    deployment = Deployment(provider=PROVIDER, model=model, price=None, encoding="o200k_base")
    body, dropped = fitted({"messages": messages, **params}, deployment)
    assert fitted(body, deployment) == (body, tuple(name for name in dropped if name not in params))
    return request_of(body, model), dropped


def config(model: str = FLASH, **params: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What parameters become."""
    request, dropped = sent(model, **params)
    return request.get("generationConfig", {}), dropped


def contents(*messages: dict[str, Any], model: str = FLASH) -> list[dict[str, Any]]:
    request, dropped = sent(model, messages=list(messages))
    assert dropped == ()
    found: list[dict[str, Any]] = request["contents"]
    return found


def test_system_text_stands_apart_and_neighbours_of_one_role_are_one_content() -> None:
    request, _ = sent(
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "and kind"}]},
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": ""}]},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": "", "refusal": "no"},
        ]
    )
    assert request == {
        "systemInstruction": {"parts": [{"text": "be brief"}, {"text": "and kind"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
            {"role": "model", "parts": [{"text": "c"}, {"text": "no"}]},
        ],
    }


def test_pictures_files_and_sounds_are_sent_by_data_and_pictures_by_address_too() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://h/a/b.JPG?sig=1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
    ]
    (content,) = contents({"role": "user", "content": parts})
    assert content["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"fileData": {"fileUri": "https://h/a/b.JPG?sig=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}},
    ]


def test_tool_calls_and_their_results_are_parts_and_a_result_has_its_functions_name() -> None:
    second = {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}
    _, model, results = contents(
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "c2", "content": "plain words"},
        {"role": "tool", "tool_call_id": "c1", "content": '{"x": 1}'},
    )
    assert model["parts"] == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}},
        {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
    ]
    assert results == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "c2", "name": "g", "response": {"output": "plain words"}}},
            {"functionResponse": {"id": "c1", "name": "f", "response": {"x": 1}}},
        ],
    }


def test_signatures_go_back_with_their_calls_and_a_model_that_needs_one_gets_one() -> None:
    ours = {"role": "assistant", "tool_calls": [CALL], "thought_signatures": [{"tool_call_id": "c1", "signature": "s"}]}
    googles = {"role": "assistant", "tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": "t"}}}]}
    foreign = {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "c2"}]}

    def signatures(message: dict[str, Any], model: str) -> list[Any]:
        return [part.get("thoughtSignature") for part in contents(*HELLO, message, model=model)[1]["parts"]]

    assert signatures(ours, FLASH) == ["s"]
    assert signatures(googles, NEW) == ["t"]
    assert signatures(foreign, FLASH) == [None, None]
    assert signatures(foreign, NEW) == [NO_SIGNATURE, None]


@pytest.mark.parametrize(
    ("message", "where"),
    [
        ("x", "messages[1]"),
        ({"role": "judge"}, "messages[1]"),
        ({"role": "user", "content": 7}, "messages[1].content"),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": ["text"]}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 7}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, "messages[1].content[0]"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://youtu.be/watch"}}]},
            "messages[1].content[0]",
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:x,y"}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[1].content[0]"),
        ({"role": "tool", "tool_call_id": "unknown", "content": "x"}, "messages[1]"),
        ({"role": "assistant", "tool_calls": [{}]}, "messages[1].tool_calls[0]"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]},
            "messages[1].tool_calls[0]",
        ),
    ],
)
def test_a_message_that_cannot_be_said_is_refused_and_never_changed(message: Any, where: str) -> None:
    with pytest.raises(Inexpressible) as refused:
        sent(messages=[*HELLO, message])
    assert (refused.value.where, refused.value.dialect) == (where, "gemini")


def test_a_conversation_without_a_word_is_refused() -> None:
    with pytest.raises(Inexpressible):
        sent(messages=[{"role": "system", "content": "x"}])


def test_parameters_have_googles_names() -> None:
    asked = {
        "max_tokens": 9,
        "temperature": 1.5,
        "top_p": 0.9,
        "top_k": 5,
        "seed": 7,
        "n": 2,
        "stop": "x",
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
    }
    assert config(**asked) == (
        {
            "maxOutputTokens": 9,
            "temperature": 1.5,
            "topP": 0.9,
            "topK": 5,
            "seed": 7,
            "candidateCount": 2,
            "stopSequences": ["x"],
            "presencePenalty": 0.5,
            "frequencyPenalty": -0.5,
        },
        (),
    )


def test_log_probabilities_are_asked_for_by_their_names_there() -> None:
    assert config(logprobs=True) == ({"responseLogprobs": True}, ())
    assert config(logprobs=True, top_logprobs=3) == ({"responseLogprobs": True, "logprobs": 3}, ())
    assert config(logprobs=True, top_logprobs=0) == ({"responseLogprobs": True}, ())
    assert config(logprobs=True, top_logprobs=21) == ({"responseLogprobs": True}, ("top_logprobs",))


def test_what_asks_for_nothing_is_left_out_without_a_word() -> None:
    nothing = {"n": 1, "logprobs": False, "presence_penalty": 0, "seed": None, "response_format": {"type": "text"}}
    assert config(**nothing, parallel_tool_calls=True, include_thoughts=False) == ({}, ())


def test_what_has_no_place_is_named() -> None:
    unsaid = {
        "user": "u",
        "logprobs": "yes",
        "top_logprobs": 3,
        "logit_bias": {"1": 1},
        "n": 9,
        "seed": 2**40,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "service_tier": "flex",
    }
    found, dropped = sent(**unsaid)
    assert found == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    assert sorted(dropped) == sorted(unsaid)
    stops = ["a", "b", 3, "c", "d", "e", "f"]
    assert config(stop=stops) == ({"stopSequences": ["a", "b", "c", "d", "e"]}, ("stop[2]", "stop[6]"))


def test_tools_are_declared_and_the_vendors_own_are_left_out() -> None:
    strict = {"function": {"name": "f", "strict": True}}
    request, dropped = sent(tools=[TOOL], tool_choice="required")
    assert (request["tools"], dropped) == (SENT_TOOLS, ())
    assert request["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    request, dropped = sent(tools=[strict, {"googleSearch": {}}], tool_choice={"function": {"name": "f"}})
    assert dropped == ("tools[0].strict", "tools[1]")
    assert request["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    chosen = {"mode": "ANY", "allowedFunctionNames": ["f"]}
    assert request["toolConfig"] == {"functionCallingConfig": chosen}


def test_answers_in_json_are_asked_for_and_not_beside_tools_where_that_is_refused() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    json_schema = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert config(response_format=form) == (json_schema, ())
    assert config(response_format={"type": "json_object"}) == ({"responseMimeType": "application/json"}, ())
    assert config(response_format={"type": "grammar"}) == ({}, ("response_format",))
    assert config(response_format=form, tools=[TOOL]) == ({}, ("response_format",))
    assert config(NEW, response_format=form, tools=[TOOL]) == (json_schema, ())


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "dropped"),
    [
        (FLASH, {"thinking_budget": 500}, {"thinkingBudget": 500}, ()),
        (FLASH, {"thinking_budget": 0}, {"thinkingBudget": 0}, ()),
        (FLASH, {"thinking_budget": -1, "include_thoughts": True}, {"thinkingBudget": -1, "includeThoughts": True}, ()),
        (FLASH, {"thinking_budget": -2}, None, ("thinking_budget",)),
        (PRO, {"thinking_budget": 0}, None, ("thinking_budget",)),
        (FLASH, {"thinking_budget": 5, "reasoning_effort": "low"}, {"thinkingBudget": 5}, ("reasoning_effort",)),
        (FLASH, {"reasoning_effort": "medium"}, {"thinkingBudget": 8192}, ()),
        (FLASH, {"reasoning_effort": "none"}, {"thinkingBudget": 0}, ()),
        (PRO, {"reasoning_effort": "none"}, None, ("reasoning_effort",)),
        (PRO, {"reasoning_effort": "a lot"}, None, ("reasoning_effort",)),
        (NEW, {"reasoning_effort": "minimal"}, {"thinkingLevel": "minimal"}, ()),
        (NEW, {"reasoning_effort": "none"}, None, ("reasoning_effort",)),
        (NEW_PRO, {"reasoning_effort": "medium"}, {"thinkingLevel": "high"}, ()),
        ("gemini-3.1-pro", {"reasoning_effort": "medium"}, {"thinkingLevel": "medium"}, ()),
        ("gemini-flash-latest", {"reasoning_effort": "low"}, {"thinkingBudget": 1024}, ()),
        (OLD, {"thinking_budget": 0, "reasoning_effort": "none", "include_thoughts": False}, None, ()),
        (OLD, {"thinking_budget": 9, "include_thoughts": True}, None, ("thinking_budget", "include_thoughts")),
    ],
)
def test_thinking_is_asked_for_as_each_generation_understands_it(
    model: str, asked: dict[str, Any], thinking: Any, dropped: tuple[str, ...]
) -> None:
    found, unsaid = config(model, **asked)
    assert (found.get("thinkingConfig"), unsaid) == (thinking, dropped)


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
trees = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = ("temperature", "stop", "n", "seed", "tools", "tool_choice", "response_format", "thinking_budget", "top_k")


@settings(max_examples=60)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, trees)),
    st.sampled_from([OLD, PRO, FLASH, NEW]),
    st.just(HELLO) | trees,
)
def test_a_body_of_any_shape_is_said_or_refused(params: dict[str, Any], model: str, messages: Any) -> None:
    with suppress(Inexpressible):
        sent(model, messages=messages, **params)
