"""A body of `/v1/responses` as a chat completion's, and that nothing is lost on the way there and back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.providers.openai_responses import fields_of, fit
from router.responses import AS_SENT, NOTHING_MORE, AsSent, in_chat, response_id
from service.refusals import InvalidRequest
from service.responses.body import chat_body
from tests.router.gateways import a_deployment

DEPLOYMENT = a_deployment("up", "")
USER = {"role": "user", "content": "hello"}
FLAT = {"type": "function", "name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True}
NESTED = {"type": "function", "function": {name: value for name, value in FLAT.items() if name != "type"}}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "phase": "final_answer",
    "content": [{"type": "output_text", "text": "So.", "annotations": [{"type": "file_path", "file_id": "f1"}]}],
}
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(**value: Any) -> dict[str, Any]:
    """The body, less what is kept beside it."""
    return {name: said for name, said in chat_body(value).items() if name != AS_SENT}


def beside(**value: Any) -> AsSent:
    found = chat_body(value)[AS_SENT]
    assert isinstance(found, AsSent)
    return found


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ([{"id": "msg_68a1"}], [{"type": "item_reference", "id": "msg_68a1"}]),
        ("hello", [{"role": "user", "content": "hello"}]),
        ([{"role": "user", "content": "hello"}], [{"role": "user", "content": "hello"}]),
        (
            [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}],
            [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": "data:image/png;base64,aa", "detail": "low"},
                        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aa"},
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa", "detail": "low"}},
                        {
                            "type": "file",
                            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aa"},
                        },
                    ],
                }
            ],
        ),
        (
            [{"role": "assistant", "content": "Let me see."}, {**CALL}, {**CALL, "call_id": "c2"}, RESULT],
            [
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "tool_calls": [TOOL_CALL, {**TOOL_CALL, "id": "c2"}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
            ],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [{"role": "assistant", "content": None, "refusal": "No."}],
        ),
        (
            [
                {"type": "custom_tool_call", "call_id": "c3", "name": "g", "input": "raw"},
                {"type": "custom_tool_call_output", "call_id": "c3", "output": [{"type": "input_text", "text": "1"}]},
            ],
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c3", "type": "custom", "custom": {"name": "g", "input": "raw"}}],
                },
                {"role": "tool", "tool_call_id": "c3", "content": [{"type": "text", "text": "1"}]},
            ],
        ),
    ],
)
def test_input_becomes_messages(given, messages):
    assert chat(input=given) == {"messages": messages}


def test_instructions_are_the_first_message():
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]
    assert chat(input="hello", instructions="Be kind.") == {"messages": messages}


SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
TRANSLATIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_output_tokens": 5}, {"max_tokens": 5}),
    ({"tools": [FLAT]}, {"tools": [NESTED]}),
    ({"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search"}]}),
    (
        {"tools": [{"type": "function", "name": "f", "description": None, "strict": None}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ),
    (
        {
            "tools": [
                {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "s"}}
            ]
        },
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "g",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}},
                    },
                }
            ]
        },
    ),
    ({"tool_choice": "required"}, {"tool_choice": "required"}),
    (
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            }
        },
    ),
    (
        {"reasoning": {"effort": "low", "summary": "auto"}},
        {"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
    ),
    (
        {"text": {"format": SCHEMA, "verbosity": "low"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {name: value for name, value in SCHEMA.items() if name != "type"},
            },
            "verbosity": "low",
        },
    ),
    ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    (
        {"include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 2},
        {"logprobs": True, "include": ["reasoning.encrypted_content"], "top_logprobs": 2},
    ),
    ({"parallel_tool_calls": False, "temperature": 0}, {"parallel_tool_calls": False, "temperature": 0}),
    ({"store": False, "metadata": {"a": "b"}, "new": [1]}, {"store": False, "metadata": {"a": "b"}, "new": [1]}),
]


@pytest.mark.parametrize(("value", "body"), TRANSLATIONS)
def test_fields_go_where_they_belong(value, body):
    assert chat(input="hello", **value) == {"messages": [{"role": "user", "content": "hello"}], **body}


def test_what_others_have_words_for_too_is_as_if_it_had_come_in_theirs():
    assert chat_body({"input": "hello", "tools": [FLAT]})[AS_SENT] is NOTHING_MORE


def test_what_has_no_place_elsewhere_is_kept_as_it_was_sent_and_named():
    items = [THOUGHT, CALL, RESULT, SAID]
    assert beside(input=items) == AsSent(fields={"input": items}, lost=("input.phase", "input.annotations"))
    messages = chat(input=items)["messages"]
    assert messages[0] == THOUGHT
    assert [message.get("role") for message in messages[1:]] == ["assistant", "tool", "assistant"]


def test_a_thought_of_ours_that_is_only_referred_to_is_gone_by_name():
    referred = {"type": "item_reference", "id": f"rs_{'0' * 26}_0"}
    body = chat_body({"input": [USER, referred, CALL, RESULT]})
    assert body[AS_SENT].gone == ("input.reasoning",)
    assert fields_of(body)["input"] == [USER, CALL, RESULT]
    assert fit(body, DEPLOYMENT)[1] == in_chat(body, "openai")[1] == ("input.reasoning",)


def test_a_body_goes_back_as_it_came():
    value: dict[str, Any] = {"input": [THOUGHT, CALL, RESULT, SAID], "instructions": "Be kind.", "truncation": "auto"}
    for said, _ in TRANSLATIONS:
        value |= said
    back = fields_of(chat_body(value))
    assert {name: back[name] for name in value if name != "include"} == {
        name: value[name] for name in value if name != "include"
    }
    assert set(back["include"]) == set(value["include"])


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"input": [{"type": "item_reference", "id": f"fc_{'0' * 26}_1"}]}, "input[0]"),
        ({"input": [{"id": f"msg_{'0' * 26}_0"}]}, "input[0]"),
        ({"input": [{"role": "owner", "content": ""}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 1}]}, "input[0].content"),
        ({"input": "hello", "background": True}, "background"),
        ({"input": "hello", "n": 2}, "n"),
        ({"input": "hello", "max_tokens": 5}, "max_tokens"),
        ({"input": "hello", "previous_response_id": "resp_68a1"}, "previous_response_id"),
        ({"input": "hello", "previous_response_id": response_id("gen_1", "a:b", "")}, "previous_response_id"),
        ({}, "input"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(value, where):
    with pytest.raises(InvalidRequest) as caught:
        chat_body(value)
    assert caught.value.where == where


TEXTS = st.text(max_size=5)
PARTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["input_text", "output_text"]), "text": TEXTS}),
        st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXTS}),
        st.fixed_dictionaries({"type": st.just("input_image"), "file_id": TEXTS}),
    ),
    max_size=3,
)
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.one_of(TEXTS, PARTS)},
        optional={"type": st.just("message"), "id": TEXTS, "phase": TEXTS},
    ),
    st.sampled_from([THOUGHT, CALL, RESULT, SAID, {"type": "web_search_call", "id": "ws_1"}, {"type": "strange"}]),
)


@settings(max_examples=100)
@given(st.lists(ITEMS, min_size=1, max_size=6), st.one_of(st.none(), TEXTS))
def test_whatever_is_sent_comes_out_as_it_went_in(items, instructions):
    value = {"input": items} | ({} if instructions is None else {"instructions": instructions})
    back = fields_of(chat_body(value))
    if instructions:
        assert back["instructions"] == instructions
        assert back["input"] == items
    else:
        plain = [{name: said for name, said in item.items() if (name, said) != ("type", "message")} for item in items]
        assert back["input"][0 if instructions is None else 1 :] == plain or back["input"] == items
