"""OpenAI's `/responses`: what a call is sent as, what is read, and that whatever goes wrong is a Fault."""

import json
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.usage import Usage
from router.answer import Answer, Closing, Delta, ToolCallDelta
from router.assemble import Assembly
from router.deployments import Deployment, Provider
from router.faults import Fault, Outcome
from router.providers.openai import OpenAIDialect
from router.providers.openai_responses import ENDPOINT, fit, request_of
from router.providers.openai_responses_reading import ResponseStream, WholeResponse
from router.providers.sse import EVENT_BYTES
from router.providers.transport import open_transport
from tests.openai_scripts import a_response, event_stream, events, last, responded, text_events, text_item
from tests.upstream import Script, scripted_upstream, status

PROVIDER = Provider(name="p", dialect="openai", base_url="", api_key="sk-test-0123456789")
DEPLOYMENT = Deployment(provider=PROVIDER, model="gpt-test", price=None, encoding="")
USER = {"role": "user", "content": "Say hi"}
ALWAYS = {"model": "gpt-test", "stream": False, "store": False}


def sent(**body: Any) -> dict[str, Any]:
    """What this call is sent as, less what every one is."""
    request = request_of(DEPLOYMENT, {"messages": [USER], **body}, stream=False)
    assert request.items() >= ALWAYS.items()
    return {name: value for name, value in request.items() if name not in ALWAYS}


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa", "detail": "low"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aa"}}
FUNCTION_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "raw"}}
CONVERSATION = [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
    {"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE, FILE]},
    {"role": "assistant", "content": "Let me see.", "tool_calls": [FUNCTION_CALL, CUSTOM_CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "43"}]},
    {"role": "assistant", "content": None, "refusal": "No."},
    {"role": "assistant", "content": [{"type": "text", "text": "So"}]},
]
INPUT = [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": "data:image/png;base64,aa", "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aa"},
        ],
    },
    {"role": "assistant", "content": "Let me see."},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "g", "input": "raw"},
    {"type": "function_call_output", "call_id": "call_1", "output": "42"},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "43"}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"role": "assistant", "content": [{"type": "output_text", "text": "So"}]},
]


def test_messages_become_input_items() -> None:
    assert sent(messages=CONVERSATION) == {"input": INPUT}


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA}}
GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
CUSTOM = {"type": "custom", "custom": {"name": "g", "format": GRAMMAR}}
FLAT_GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
NO_PARAMETERS = {"type": "object", "properties": {}}
ALLOWED = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}
TRANSLATIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_tokens": 5}, {"max_output_tokens": 5}),
    ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_output_tokens": 7}),
    ({"max_tokens": 5, "max_completion_tokens": None}, {"max_output_tokens": 5}),
    ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    (
        {"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
        {"reasoning": {"effort": "low", "summary": "auto"}},
    ),
    ({"reasoning": {"effort": "high"}}, {"reasoning": {"effort": "high"}}),
    ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
    (
        {
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
            "verbosity": "low",
        },
        {
            "text": {
                "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
                "verbosity": "low",
            }
        },
    ),
    (
        {"tools": [FUNCTION]},
        {"tools": [{"type": "function", "name": "f", "description": "does", "parameters": SCHEMA, "strict": False}]},
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
        {"tools": [{"type": "function", "name": "f", "parameters": NO_PARAMETERS, "strict": True}]},
    ),
    ({"tools": [CUSTOM]}, {"tools": [{"type": "custom", "name": "g", "format": FLAT_GRAMMAR}]}),
    ({"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search"}]}),
    ({"tools": []}, {}),
    ({"tool_choice": "required"}, {"tool_choice": "required"}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": {"type": "function", "name": "f"}},
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
    ),
    ({"logprobs": True, "top_logprobs": 2}, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}),
    ({"logprobs": False}, {}),
]
SAME: dict[str, Any] = {
    "temperature": 0,
    "top_p": 1,
    "top_logprobs": 2,
    "parallel_tool_calls": False,
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "user": "u",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "some_new_field": {"deep": [1, 2.5]},
}


@pytest.mark.parametrize(("body", "said"), TRANSLATIONS)
def test_parameters_go_where_they_belong(body: dict[str, Any], said: dict[str, Any]) -> None:
    assert sent(**body) == {"input": [USER], **said}


def test_parameters_of_the_same_name_and_those_nobody_here_knows_stay_as_they_are() -> None:
    assert sent(**SAME) == {"input": [USER], **SAME}


def test_what_has_no_place_is_left_out_by_name() -> None:
    message = {**USER, "name": "Ann"}
    body = {"messages": [message], "stop": "x", "n": 2, "seed": None, "logit_bias": {"1": 2}, "temperature": 0}
    said, dropped = fit(body, DEPLOYMENT)
    assert said == {"messages": [message], "temperature": 0}
    assert dropped == ("logit_bias", "messages.name", "n", "stop")
    assert sent(**body) == {"input": [USER], "temperature": 0}
    assert fit({"messages": [USER], "n": 1}, DEPLOYMENT) == ({"messages": [USER]}, ())


def test_an_answer_is_kept_by_the_provider_only_if_the_caller_asked_for_it() -> None:
    assert request_of(DEPLOYMENT, {"messages": [USER], "store": True}, stream=False)["store"] is True
    assert request_of(DEPLOYMENT, {"messages": [USER], "store": None}, stream=False)["store"] is False


def test_the_request_is_one_that_the_openai_package_would_send() -> None:
    params = pytest.importorskip("openai.types.responses.response_input_param")
    tools = pytest.importorskip("openai.types.responses.tool_param")
    pydantic = pytest.importorskip("pydantic")
    request = sent(messages=CONVERSATION, tools=[FUNCTION, CUSTOM])
    # In its types, parts of an assistant's message belong to one with an id; the service itself asks for none.
    items = [item for item in request["input"] if item.get("role") != "assistant" or isinstance(item["content"], str)]
    pydantic.TypeAdapter(params.ResponseInputParam).validate_python(items, strict=True)
    for tool in request["tools"]:
        pydantic.TypeAdapter(tools.ToolParam).validate_python(tool, strict=True)


CLOSING = Closing(
    usage=Usage.of(9, 7, cached=4, reasoning=5),
    provider_model="gpt-test-2026",
    provider_response_id="resp_1",
    created_at_s=1_700_000_000,
)


async def heard(dialect: OpenAIDialect, deployment: Deployment, *, is_stream: bool) -> list[Delta | Closing]:
    """What an attempt at this endpoint says, to its end."""
    attempt = dialect.attempt(deployment, {"messages": [USER]}, stream=is_stream, headers={}, endpoint=ENDPOINT)
    async with aclosing(attempt):
        return [event async for event in attempt]


async def test_the_dialect_goes_to_the_endpoint_that_it_is_told() -> None:
    async with scripted_upstream() as upstream, open_transport(limit=10) as transport:
        provider = Provider(name="p", dialect="openai", base_url=upstream.url, api_key="sk-test-0123456789")
        deployment = Deployment(provider=provider, model="gpt-test", price=None, encoding="")
        for is_stream in (False, True):
            upstream.plays(responded("Hi you"))
            *deltas, closing = await heard(OpenAIDialect(transport), deployment, is_stream=is_stream)
            assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == "Hi you"
            assert closing == msgspec.structs.replace(CLOSING, format="responses")
        assert [request.path for request in upstream.requests] == ["/v1/responses"] * 2
        assert upstream.requests[1].body == {**ALWAYS, "stream": True, "input": [USER]}
        assert upstream.requests[0].headers["authorization"] == "Bearer sk-test-0123456789"


def read(data: bytes, *cuts: int) -> list[Delta | Closing]:
    """What these bytes say, cut before each of these places."""
    reading = ResponseStream(PROVIDER, 200)
    said: list[Delta | Closing] = []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        said += reading.feed(data[start:end])
    return [*said, *reading.finish(), reading.closing()]


def read_whole(response: Any) -> list[Delta | Closing]:
    reading = WholeResponse(PROVIDER, 200)
    assert list(reading.feed(json.dumps(response).encode())) == []
    return [*reading.finish(), reading.closing()]


def added_up(said: list[Delta | Closing]) -> Answer:
    assembly = Assembly()
    *deltas, closing = said
    for delta in deltas:
        assert isinstance(delta, Delta)
        assembly.add(delta)
    assert isinstance(closing, Closing)
    return assembly.answer(closing)


THOUGHTS = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "Größe."}],
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": "日本語"}'}
OTHER_CALL = {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "g", "arguments": "{}"}
RAW_CALL = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_3", "name": "h", "input": "a b"}
SOURCE = {"type": "url_citation", "url": "https://example.com", "title": "E", "start_index": 0, "end_index": 3}
LOGPROB = {"token": "Grüße", "logprob": -0.5, "bytes": None, "top_logprobs": []}
MESSAGE = text_item("Grüße 🙂", annotations=[SOURCE], logprobs=[LOGPROB])
RESPONSE = a_response(THOUGHTS, MESSAGE, CALL, OTHER_CALL, RAW_CALL, {"type": "new_item"}, service_tier="default")
ANSWER = {
    "text": "Grüße 🙂",
    "reasoning": "Hm.\n\nGröße.",
    "logprobs": {"content": [LOGPROB]},
    "extra": {
        "annotations": [
            {"type": "url_citation", "url_citation": {name: SOURCE[name] for name in SOURCE if name != "type"}}
        ]
    },
    "finish_reason": "tool_calls",
}
CALLS = [
    ("call_1", "f", '{"a": "日本語"}', "function"),
    ("call_2", "g", "{}", "function"),
    ("call_3", "h", "a b", "custom"),
]


def thought(part: int, text: str) -> dict[str, Any]:
    event = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1"}
    return {**event, "summary_index": part, "delta": text}


def begun(place: int, item: dict[str, Any], **less: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": {**item, **less}}


def piece(place: int, item_id: str, text: str, kind: str = "function_call_arguments") -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": place, "item_id": item_id, "delta": text}


TEXT = {"type": "response.output_text.delta", "output_index": 1, "item_id": "msg_1", "content_index": 0}
EVENTS = [
    {"type": "response.created", "response": a_response(status="in_progress", usage=None)},
    thought(0, "Hm."),
    thought(1, "Grö"),
    thought(1, "ße."),
    {**TEXT, "delta": "Grüße", "logprobs": [LOGPROB]},
    {**TEXT, "delta": " 🙂", "logprobs": []},
    {"type": "response.output_text.annotation.added", "output_index": 1, "item_id": "msg_1", "annotation": SOURCE},
    # Two calls at once, their arguments in turns.
    begun(2, CALL, arguments=""),
    begun(3, OTHER_CALL, arguments=""),
    piece(2, "fc_1", '{"a": '),
    piece(3, "fc_2", "{}"),
    piece(2, "fc_1", '"日本語"}'),
    begun(4, RAW_CALL, input=""),
    piece(4, "ctc_1", "a b", "custom_tool_call_input"),
    {"type": "response.new_event", "response": "what this is nobody knows"},
    {"type": "response.output_item.done", "output_index": 2, "item": CALL},
    last(RESPONSE),
]
GOLDEN = events(*EVENTS)


@pytest.mark.parametrize("said", [read(GOLDEN), read_whole(RESPONSE)], ids=["streamed", "whole"])
def test_everything_a_response_says_is_heard_once(said: list[Delta | Closing]) -> None:
    answer = added_up(said)
    (choice,) = answer.choices
    assert {name: getattr(choice, name) for name in ANSWER} == ANSWER
    assert [(call.id, call.name, call.arguments, call.type) for call in choice.tool_calls] == CALLS
    assert answer.extra == {"service_tier": "default"}
    assert answer.usage == Usage.of(9, 7, cached=4, reasoning=5)


def test_a_golden_stream_reads_the_same_wherever_it_is_cut() -> None:
    data = events(*text_events("Grüße 🙂 日本語"), {"type": "response.late"})
    whole = read(data)
    assert [delta.text for delta in whole[:-1] if isinstance(delta, Delta)] == ["Grüße ", "🙂 ", "日本語", ""]
    for cut in range(len(data)):
        assert read(data, cut) == whole
    assert read(GOLDEN, *range(1, len(GOLDEN))) == read(GOLDEN)


def test_a_golden_stream_that_breaks_off_at_any_byte_of_its_body_is_never_whole() -> None:
    data = events(*text_events("Hi you"))
    for end in range(len(data) - 2):
        with pytest.raises(Fault):
            read(data[:end])


def without(fields: set[str], event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in fields}


@pytest.mark.parametrize("unsaid", [{"output_index"}, {"item_id"}])
def test_items_are_told_apart_by_whichever_name_the_server_gives(unsaid: set[str]) -> None:
    said = [without(unsaid, event) for event in EVENTS]
    assert added_up(read(events(*said))) == added_up(read(GOLDEN))


def test_what_only_the_last_event_says_is_heard() -> None:
    assert added_up(read(events(last(RESPONSE)))) == added_up(read_whole(RESPONSE))
    # A call that began without its arguments, and was never gone on with.
    told = [begun(0, CALL, arguments=""), last(a_response(CALL))]
    first, second, _ = read(events(*told))
    assert first == Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="f"),))
    assert second == Delta(
        tool_calls=(ToolCallDelta(index=0, arguments=CALL["arguments"]),), finish_reason="tool_calls"
    )


def test_a_refusal_is_one() -> None:
    said = {"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}
    streamed = events({"type": "response.refusal.delta", "delta": "I will not."}, last(a_response(said)))
    assert [choice.refusal for choice in added_up(read(streamed)).choices] == ["I will not."]
    assert added_up(read(streamed)) == added_up(read_whole(a_response(said)))


ENDINGS = [
    ({"reason": "max_output_tokens"}, "length"),
    ({"reason": "content_filter"}, "content_filter"),
    ({"reason": "a_new_reason"}, "a_new_reason"),
    (None, "incomplete"),
]


@pytest.mark.parametrize(("details", "finish_reason"), ENDINGS)
def test_an_answer_that_was_cut_short_says_why(details: Any, finish_reason: str) -> None:
    response = a_response(text_item("Hi"), status="incomplete", incomplete_details=details)
    for said in (read_whole(response), read(events(last(response)))):
        assert said[0] == Delta(text="Hi", finish_reason=finish_reason)


def test_usage_that_was_not_said_is_unknown_and_newly_cached_tokens_are_a_class_of_their_own() -> None:
    unsaid = read_whole(a_response(usage=None))[-1]
    details = {"cached_tokens": 2, "cache_write_tokens": 3}
    usage = {"input_tokens": 9, "input_tokens_details": details, "output_tokens": 1}
    said = read_whole(a_response(usage=usage))[-1]
    assert isinstance(unsaid, Closing)
    assert isinstance(said, Closing)
    assert unsaid.usage is None
    assert said.usage == Usage(input_tokens=4, cached_tokens=2, cache_write_tokens=3, output_tokens=1)


async def test_events_with_much_in_them_are_read_as_a_whole_answer_is() -> None:
    """What it echoes of the request, and a picture that it made, are one event each."""
    echo = {"type": "response.created", "response": a_response(status="in_progress", instructions="x" * 3_000_000)}
    done = a_response(text_item("Hi"), instructions="x" * 3_000_000)
    async with scripted_upstream() as upstream, open_transport(limit=10) as transport:
        provider = Provider(name="p", dialect="openai", base_url=upstream.url, api_key="sk-test-0123456789")
        deployment = Deployment(provider=provider, model="gpt-test", price=None, encoding="")
        upstream.plays(event_stream(events(echo, *text_events("Hi")[:-1], last(done))))
        told = await heard(OpenAIDialect(transport), deployment, is_stream=True)
    assert "".join(event.text for event in told if isinstance(event, Delta)) == "Hi"


ERROR = {"code": "server_error", "message": "The key sk-test-0123456789 broke."}
QUOTA = {"type": "error", "code": "insufficient_quota", "message": "You exceeded your quota."}
FAULTS: list[tuple[Script, bool, Outcome, str]] = [
    (status(200, a_response(status="failed", error=ERROR)), False, Outcome.BAD_ANSWER, "The key [key] broke."),
    (event_stream(events(last(a_response(status="failed", error=ERROR)))), True, Outcome.BAD_ANSWER, "The key [key]"),
    (event_stream(events({"type": "error", **ERROR})), True, Outcome.BAD_ANSWER, "The key [key] broke."),
    (event_stream(events(QUOTA)), True, Outcome.OUT_OF_CREDIT, "You exceeded your quota."),
    (event_stream(b'data: {"error": {"message": "boom"}}\n\n'), True, Outcome.BAD_ANSWER, "boom"),
    (event_stream(b"event: error\ndata: boom\n\n"), True, Outcome.BAD_ANSWER, "not valid JSON"),
    (event_stream(events(last(a_response(status="cancelled")))), True, Outcome.BAD_ANSWER, "did not come to an end"),
    (event_stream(events({"type": "response.completed"})), True, Outcome.BAD_ANSWER, "holds no response"),
    (event_stream(events(*text_events("Hi")[:-1])), True, Outcome.CUT, "ended before"),
    (event_stream(b"data: [DONE]\n\n"), True, Outcome.CUT, "ended before"),
    (event_stream(b"data: " + b"x" * EVENT_BYTES + b"\n\n"), True, Outcome.BAD_ANSWER, "longer than"),
    (status(200, a_response(status="in_progress")), False, Outcome.BAD_ANSWER, "did not come to an end"),
    (status(200, {"error": {"message": "boom"}}), False, Outcome.BAD_ANSWER, "boom"),
    (status(200, {"detail": "boom"}), False, Outcome.BAD_ANSWER, "boom"),
    (status(200, {"choices": []}), False, Outcome.BAD_ANSWER, "an error instead of an answer"),
    (status(200, {"output": {}}), False, Outcome.BAD_ANSWER, "output is not a list"),
    (status(200, {"output": [{"type": "message", "content": [{"text": 1, "type": "output_text"}]}]}), False,
     Outcome.BAD_ANSWER, "text is not text"),
    (status(404, {"error": {"message": "no", "code": "unsupported_endpoint"}}), False, Outcome.NOT_SUPPORTED, "no"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "is_stream", "outcome", "words"), FAULTS)
async def test_whatever_goes_wrong_is_a_fault(script: Script, is_stream: bool, outcome: Outcome, words: str) -> None:
    async with scripted_upstream() as upstream, open_transport(limit=10) as transport:
        provider = Provider(name="p", dialect="openai", base_url=upstream.url, api_key="sk-test-0123456789")
        deployment = Deployment(provider=provider, model="gpt-test", price=None, encoding="")
        upstream.plays(script)
        with pytest.raises(Fault) as caught:
            await heard(OpenAIDialect(transport), deployment, is_stream=is_stream)
        assert caught.value.outcome == outcome
        assert words in caught.value.message


KINDS = sorted({event["type"] for event in EVENTS} | {"error", "message", "reasoning", "output_text", "function_call"})
FIELDS = ["type", "response", "item", "output", "content", "summary", "text", "delta", "error", "status", "usage"]
FIELDS += ["call_id", "name", "arguments", "output_index", "item_id", "annotation", "input_tokens", "logprobs", "id"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(KINDS),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), some, max_size=5),
    max_leaves=20,
)
BODIES = st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), max_size=4)


@settings(max_examples=150, deadline=None)
@given(BODIES, st.binary(max_size=20))
def test_no_stream_whatever_ends_in_anything_but_deltas_or_a_fault(said: list[Any], junk: bytes) -> None:
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in said) + junk
    # Anything but a Fault fails the test.
    with suppress(Fault):
        read(data, *range(50, len(data), 50))
    for body in said:
        with suppress(Fault):
            read_whole(body)


CALLED = st.lists(st.dictionaries(st.sampled_from(["id", "type", "function", "custom"]), JSON), max_size=2)
SAID = st.dictionaries(st.sampled_from(["role", "content", "refusal", "tool_call_id"]), JSON)
MESSAGES = st.lists(st.builds(lambda said, calls: {**said, "tool_calls": calls}, SAID, CALLED | JSON), max_size=3)
REQUESTS = st.dictionaries(st.sampled_from(["tools", "tool_choice", "reasoning", "text", "include", "n"]), JSON)


@settings(max_examples=80, deadline=None)
@given(MESSAGES | JSON, REQUESTS, st.sampled_from(["user", "assistant", "tool"]))
def test_no_request_whatever_is_anything_but_translated(messages: Any, body: dict[str, Any], role: str) -> None:
    if isinstance(messages, list):
        messages = [{"role": role, **message} if isinstance(message, dict) else message for message in messages]
    said, _ = fit({"messages": messages, **body}, DEPLOYMENT)
    assert request_of(DEPLOYMENT, said, stream=True)["stream"] is True
