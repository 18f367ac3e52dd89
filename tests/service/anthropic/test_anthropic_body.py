"""Bodies of Anthropic's Messages API reach its deployments as they came, and others in other words or not at all."""

import copy
from typing import Any

import msgspec
import pytest

from router.deployments import Deployment, Dialect, Provider
from router.dialects import fitted, spoken
from router.providers.anthropic.request import request_of
from service.anthropic.wire import AnthropicMessagesWire

CACHED = {"type": "ephemeral", "ttl": "1h"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
RICH: dict[str, Any] = {
    "model": "chat",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Long.", "cache_control": CACHED}],
    "messages": [
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "redacted_thinking", "data": "opaque"},
                {"type": "text", "text": "I look.", "citations": [{"type": "char_location", "cited_text": "x"}]},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": [{"c": None}]}, "cache_control": CACHED},
                {"type": "text", "text": "And"},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no"},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "see"}, PNG]},
                {"type": "text", "text": "so?", "cache_control": CACHED},
                PNG,
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "a second one"}]},
    ],
    "tools": [
        {"name": "f", "description": "does", "input_schema": SCHEMA, "strict": True, "cache_control": CACHED},
        {"type": "custom", "name": "g", "input_schema": {"type": "object"}, "defer_loading": True},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "stop_sequences": ["END"],
    "top_k": 5,
    "metadata": {"user_id": "u7"},
    "service_tier": "standard_only",
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "context_management": {"edits": []},
    "a_field_of_tomorrow": [1, {"x": None}],
}  # fmt: skip
ALONE: list[dict[str, Any]] = [
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "T"},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}},
    {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "r"}]},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "a_block_of_tomorrow", "x": 1},
]


def deployment(dialect: Dialect = "anthropic", model: str = "claude-sonnet-4-5") -> Deployment:
    provider = Provider(name="up", dialect=dialect, base_url="http://127.0.0.1:1")
    return Deployment(provider=provider, model=model, price=None, encoding="o200k_base")


def body_of(**fields: Any) -> dict[str, Any]:
    """What a body becomes on its way in."""
    said = {"model": "chat", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}], **fields}
    return AnthropicMessagesWire().read(msgspec.json.encode(said)).body


def sent(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request that reaches Anthropic, and what was left out of it."""
    body, dropped = fitted(body_of(**fields), deployment())
    request = request_of(body, "chat", stream=False)
    assert request.pop("stream") is False
    return request, dropped


def in_chat(dialect: Dialect = "openai", **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body in the words of chat completions, less what was not asked about, and the names of what was lost."""
    body, lost = spoken(body_of(**fields), deployment(dialect))
    if "max_tokens" not in fields:
        del body["max_tokens"]
    if "messages" not in fields and "system" not in fields:
        del body["messages"]
    return body, lost


def test_a_rich_body_reaches_anthropic_as_it_came():
    given = copy.deepcopy(RICH)
    assert sent(**given) == (RICH, ())
    assert given == RICH


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 2000, "display": "omitted"}, {"type": "x"}])
def test_thinking_reaches_it_as_it_came(thinking: dict[str, Any]):
    request, dropped = sent(max_tokens=4000, thinking=thinking, output_config={"effort": "low"}, temperature=1)
    assert (request["thinking"], request["output_config"], dropped) == (thinking, {"effort": "low"}, ())


@pytest.mark.parametrize("block", ALONE, ids=lambda block: block["type"])
def test_every_kind_of_block_reaches_it(block: dict[str, Any]):
    messages = [{"role": "user", "content": [block]}]
    assert sent(messages=messages)[0]["messages"] == messages


def test_tools_and_choices_that_only_anthropic_has_reach_it():
    native: dict[str, Any] = {
        "tools": [{"type": "web_search_20250305", "name": "w"}, {"type": "mcp_toolset", "mcp_server_name": "m"}],
        "tool_choice": {"type": "one_of_tomorrow"},
        "metadata": {"user_id": "u", "more": 1},
        "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "m"}],
        "cache_control": CACHED,
    }  # fmt: skip
    request, dropped = sent(**native)
    assert {name: request[name] for name in native} == native
    assert dropped == ()
