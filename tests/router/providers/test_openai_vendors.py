"""Vendors who speak OpenAI's dialect, each in its own accent: the shapes that they really answer in, as data.

Sources: Azure: learn.microsoft.com, "Content filtering", "Content streaming", "REST API reference"; Ollama:
docs/openai.md and openai/openai.go; vLLM: entrypoints/openai/protocol.py; LM Studio: docs, "OpenAI compatibility";
Google: ai.google.dev/gemini-api/docs, "OpenAI compatibility", "Thought signatures";
Mistral: docs.mistral.ai, "Reasoning";
llama.cpp: tools/server/README.md and server-common.cpp; GPUStack: docs, "OpenAI compatible APIs".
"""

import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from ledger.usage import Usage
from router.answer import Answer, Choice, Closing, Delta, ToolCall
from router.assemble import Assembly
from router.deployments import Deployment, Provider
from router.faults import Fault, Outcome, says_too_long
from router.providers.openai import OpenAIDialect
from router.vendors import usual_of

BODY = {"messages": [{"role": "user", "content": "Say hi"}]}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
KEY = "sk-test-0123456789"


def sse(*events: Any, done: bool = True) -> bytes:
    """An event stream of these objects; bytes go as they are."""
    pieces = [event if isinstance(event, bytes) else b"data: %s\n\n" % json.dumps(event).encode() for event in events]
    return b"".join(pieces) + (b"data: [DONE]\n\n" if done else b"")


def delta(fields: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        **CHUNK,
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish, **more.pop("choice", {})}],
        **more,
    }


def counts(**more: Any) -> dict[str, Any]:
    return {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, **more}


def thinking(text: str, **more: Any) -> dict[str, Any]:
    """A thought as Mistral has it."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}], **more}


def provider_at(base_url: str, **fields: Any) -> Provider:
    usual = usual_of("openai", base_url)
    return Provider(name="p", dialect="openai", base_url=base_url, api_key=KEY, auth_header=usual.auth_header, **fields)


async def ask(
    respond: Callable[[httpx.Request], httpx.Response], provider: Provider, *, stream: bool
) -> tuple[Answer, Closing]:
    """All that came of one attempt, put together."""
    deployment = Deployment(provider=provider, model="m", price=None, encoding="o200k_base")
    dialect = OpenAIDialect(httpx.MockTransport(respond))
    assembly, closings = Assembly(), []
    async with aclosing(dialect.attempt(deployment, BODY, stream=stream, headers={})) as events:
        async for event in events:
            if isinstance(event, Delta):
                assembly.add(event)
            else:
                closings.append(event)
    (closing,) = closings
    return assembly.answer(closing), closing


def responding(status: int, body: bytes, kind: str = "application/json") -> Callable[[httpx.Request], httpx.Response]:
    def respond(request: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(body)
        return httpx.Response(status, stream=stream, headers={"content-type": kind}, request=request)

    return respond


WEIGH = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {"google": {"thought_signature": "SIG"}}
REFERENCE = {"type": "reference", "reference_ids": [1]}
HI = Choice(text="Hi", finish_reason="stop")
STREAMS: dict[str, tuple[bytes, Choice, Usage | None]] = {
    "azure: the prompt's filter first, with no choice, and a verdict on every piece": (
        sse(
            {
                "choices": [],
                "created": 0,
                "id": "",
                "model": "",
                "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
            },
            delta({"role": "assistant", "content": "", "refusal": None}, choice={"content_filter_results": {}}),
            delta({"content": "Hi"}, choice={"content_filter_results": {"hate": {"filtered": False}}}),
            delta({}, "stop", choice={"content_filter_results": {}}),
            {**CHUNK, "choices": [], "usage": counts()},
        ),
        Choice(
            text="Hi",
            finish_reason="stop",
            extra={"content_filter_results": {"hate": {"filtered": False}}},
            beside=("content_filter_results",),
        ),
        Usage.of(9, 4),
    ),
    "azure: filtered meanwhile, with the offsets behind the text": (
        sse(
            delta({"role": "assistant", "content": "Hi"}),
            {
                **CHUNK,
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": None,
                        "content_filter_offsets": {"check_offset": 1, "start_offset": 0, "end_offset": 2},
                    }
                ],
            },
            delta({}, "content_filter"),
        ),
        Choice(
            text="Hi",
            finish_reason="content_filter",
            extra={"content_filter_offsets": {"check_offset": 1, "start_offset": 0, "end_offset": 2}},
            beside=("content_filter_offsets",),
        ),
        None,
    ),
    "ollama: thoughts as `reasoning`, usage behind": (
        sse(
            delta({"role": "assistant", "content": "", "reasoning": "They greet."}, system_fingerprint="fp_ollama"),
            delta({"role": "assistant", "content": "Hi"}),
            delta({"role": "assistant", "content": ""}, "stop"),
            {**CHUNK, "choices": [], "usage": counts()},
        ),
        Choice(text="Hi", reasoning="They greet.", finish_reason="stop"),
        Usage.of(9, 4),
    ),
    "mistral: thoughts and words in parts, and what they refer to": (
        sse(
            delta({"role": "assistant", "content": ""}),
            delta({"content": [thinking("They "), thinking("greet.", closed=True)]}),
            delta({"content": [{"type": "thinking", "thinking": [REFERENCE], "signature": "s"}]}),
            delta({"content": [{"type": "text", "text": "H"}, REFERENCE]}),
            delta({"content": "i"}, "stop", usage=counts()),
        ),
        Choice(
            text="Hi",
            reasoning="They greet.",
            finish_reason="stop",
            extra={"content_parts": [REFERENCE, {"type": "thinking", "signature": "s"}, REFERENCE]},
        ),
        Usage.of(9, 4),
    ),
    "google: a call with the signature of the thought behind it": (
        sse(
            delta({"role": "assistant", "tool_calls": [{**WEIGH, "index": 0, "extra_content": SIGNED}]}, "tool_calls"),
        ),
        Choice(
            finish_reason="tool_calls",
            tool_calls=(
                ToolCall(id="a", name="f", arguments="{}", extra={"extra_content": SIGNED}, format="chat.completions"),
            ),
        ),
        None,
    ),
    "ollama: two tool calls, each whole": (
        sse(
            delta(
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
                    ],
                }
            ),
            delta(
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "b", "index": 0, "type": "function", "function": {"name": "g", "arguments": "{}"}}
                    ],
                }
            ),
            delta({"role": "assistant", "content": ""}, "tool_calls"),
        ),
        Choice(
            text=None,
            finish_reason="tool_calls",
            tool_calls=(ToolCall(id="a", name="f", arguments='{"x":1}'), ToolCall(id="b", name="g", arguments="{}")),
        ),
        None,
    ),
    "vllm: `reasoning_content` with null beside it, usage that grows with every chunk": (
        sse(
            delta({"role": "assistant", "content": ""}, usage=counts(completion_tokens=0, total_tokens=9)),
            delta({"reasoning_content": "Greet.", "content": None}, usage=counts(completion_tokens=1, total_tokens=10)),
            delta({"content": "Hi", "reasoning_content": None}, usage=counts(completion_tokens=3, total_tokens=12)),
            delta({"content": ""}, "stop", choice={"stop_reason": None}, usage=counts()),
            {**CHUNK, "choices": [], "usage": counts(prompt_tokens_details=None)},
        ),
        Choice(text="Hi", reasoning="Greet.", finish_reason="stop"),
        Usage.of(9, 4),
    ),
    "llama.cpp: keep-alives, timings, usage with the last choice, no [DONE]": (
        sse(
            b":\n\n",
            delta({"role": "assistant", "content": None}),
            b":\n\n",
            delta({"content": "Hi"}),
            delta({}, "stop", usage=counts(prompt_tokens_details={"cached_tokens": 8}), timings={"prompt_n": 1}),
            done=False,
        ),
        HI,
        Usage.of(9, 4, cached=8),
    ),
    "lm studio: figures of its own": (
        sse(
            delta({"role": "assistant", "content": "Hi"}, system_fingerprint="m"),
            delta({}, "stop"),
            {**CHUNK, "choices": [], "usage": counts(completion_tokens_details={"reasoning_tokens": 0}), "stats": {}},
        ),
        HI,
        Usage.of(9, 4),
    ),
    "gpustack: speeds within the usage": (
        sse(
            delta({"role": "assistant", "content": "Hi"}),
            delta({}, "stop"),
            {**CHUNK, "choices": [], "usage": counts(tokens_per_second=31.5, time_to_first_token_ms=80)},
        ),
        HI,
        Usage.of(9, 4),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_every_accent_is_read(name: str) -> None:
    body, choice, usage = STREAMS[name]
    answer, closing = await ask(responding(200, body, "text/event-stream"), provider_at("http://h/v1"), stream=True)
    assert answer.choices == (choice,)
    assert closing.usage == usage
    assert (closing.provider_model, closing.provider_response_id, closing.created_at_s) == ("m", "c1", 1)


async def test_azures_verdict_on_the_prompt_is_kept() -> None:
    body = next(iter(STREAMS.values()))[0]
    answer, _ = await ask(responding(200, body, "text/event-stream"), provider_at("http://h/v1"), stream=True)
    assert answer.extra is not None
    assert answer.extra["prompt_filter_results"][0]["prompt_index"] == 0


REFUSALS: dict[str, tuple[int, dict[str, Any] | str, Outcome]] = {
    "azure: the prompt was filtered": (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
                "policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
            }
        },
        Outcome.REJECTED,
    ),
    "azure: no such deployment": (
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        Outcome.NOT_SUPPORTED,
    ),
    "azure: a wrong path or version": (
        404,
        {"error": {"code": "404", "message": "Resource not found"}},
        Outcome.NOT_SUPPORTED,
    ),
    "azure: a wrong key, said by its front": (
        401,
        {"statusCode": 401, "message": "Access denied due to invalid subscription key or wrong API endpoint."},
        Outcome.AUTH_REFUSED,
    ),
    "azure: too much for now": (
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 "
                "have exceeded token rate limit of your current pricing tier. Please retry after 6 seconds.",
            }
        },
        Outcome.RATE_LIMITED,
    ),
    "ollama: no such model": (
        404,
        {
            "error": {
                "message": 'model "nope" not found, try pulling it first',
                "type": "api_error",
                "param": None,
                "code": None,
            }
        },
        Outcome.NOT_SUPPORTED,
    ),
    "ollama: an older one, in plain words": (
        404,
        {"error": "model 'nope' not found, try pulling it first"},
        Outcome.NOT_SUPPORTED,
    ),
    "ollama: no tools there": (
        400,
        {"error": {"message": "registry.ollama.ai/library/gemma:2b does not support tools", "type": "api_error"}},
        Outcome.REJECTED,
    ),
    "vllm: no such model": (
        404,
        {
            "object": "error",
            "message": "The model `nope` does not exist.",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        },
        Outcome.NOT_SUPPORTED,
    ),
    "vllm: a newer one, within an error": (
        404,
        {
            "error": {
                "message": "The model `nope` does not exist.",
                "type": "NotFoundError",
                "param": "model",
                "code": 404,
            }
        },
        Outcome.NOT_SUPPORTED,
    ),
    "lm studio: no model is loaded": (
        404,
        {
            "error": {
                "message": "No models loaded. Please load a model in the developer page or use the 'lms load' command.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        },
        Outcome.NOT_SUPPORTED,
    ),
    "lm studio: in plain words": (400, {"error": "'messages' field is required"}, Outcome.REJECTED),
    "llama.cpp: it is still loading": (
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        Outcome.UPSTREAM_ERROR,
    ),
    "gpustack: no such model": (
        404,
        {"code": 404, "reason": "NotFound", "message": "Model not found"},
        Outcome.NOT_SUPPORTED,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_every_refusal_is_understood(name: str) -> None:
    status, body, outcome = REFUSALS[name]
    with pytest.raises(Fault) as caught:
        await ask(responding(status, json.dumps(body).encode()), provider_at("http://h/v1"), stream=False)
    fault = caught.value
    assert (fault.outcome, fault.status) == (outcome, status)
    assert fault.message


TOO_LONG: dict[str, dict[str, Any]] = {
    "vllm": {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in "
        "the messages, 1000 in the completion). Please reduce the length of the messages or completion.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "llama.cpp": {
        "error": {
            "code": 400,
            "message": "the request exceeds the available context size. try increasing the context size",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 5000,
            "n_ctx": 4096,
        }
    },
    "lm studio": {
        "error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with "
        "context length of only 4096 tokens, which is not enough."
    },
}


@pytest.mark.parametrize("vendor", TOO_LONG)
async def test_what_is_too_long_is_told_from_what_is_wrong(vendor: str) -> None:
    with pytest.raises(Fault) as caught:
        await ask(responding(400, json.dumps(TOO_LONG[vendor]).encode()), provider_at("http://h/v1"), stream=False)
    assert caught.value.outcome == Outcome.REJECTED
    assert says_too_long(caught.value)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error": {"message": "model runner has unexpectedly stopped", "type": "api_error"}}\n\n',
        b'data: {"error": "model runner has unexpectedly stopped"}\n\n',
        b'event: error\ndata: {"error": {"message": "The model has crashed."}}\n\n',
        b'data: {"object": "error", "message": "EngineDead", "type": "InternalServerError", "code": 500}\n\n',
        # Older llama.cpp: a field that event streams do not have. What came is then no whole answer.
        b'error: {"code": 500, "message": "slot unavailable", "type": "server_error"}\n\n',
    ],
)
async def test_an_error_within_a_stream_is_never_an_answer(event: bytes) -> None:
    body = sse(delta({"role": "assistant", "content": "Hi"}), event, done=False)
    with pytest.raises(Fault) as caught:
        await ask(responding(200, body, "text/event-stream"), provider_at("http://h/v1"), stream=True)
    assert caught.value.outcome in {Outcome.BAD_ANSWER, Outcome.CUT}


WHOLE = {
    "id": "c1",
    "model": "m",
    "created": 1,
    "choices": [{"index": 0, "message": {"content": "Hi"}}],
    "usage": counts(),
}


@pytest.mark.parametrize(
    ("base_url", "query", "url", "header", "value"),
    [
        (
            "https://x.openai.azure.com/openai/deployments/d",
            {"api-version": "2024-10-21"},
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "api-key",
            KEY,
        ),
        (
            "https://x.openai.azure.com/openai/v1",
            {},
            "https://x.openai.azure.com/openai/v1/chat/completions",
            "api-key",
            KEY,
        ),
        (
            "http://127.0.0.1:11434/v1",
            {},
            "http://127.0.0.1:11434/v1/chat/completions",
            "authorization",
            f"Bearer {KEY}",
        ),
    ],
)
async def test_every_vendor_is_asked_at_its_own_address_with_the_key_as_it_wants_it(
    base_url: str, query: dict[str, str], url: str, header: str, value: str
) -> None:
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return responding(200, json.dumps(WHOLE).encode())(request)

    provider = provider_at(base_url, query=query, headers={"x-team": "search", "user-agent": "ours"})
    await ask(respond, provider, stream=False)
    (request,) = asked
    assert str(request.url) == url
    assert request.headers[header] == value
    assert ({"authorization", "api-key"} - {header}).isdisjoint(request.headers)
    assert (request.headers["x-team"], request.headers["user-agent"]) == ("search", "ours")


async def test_azures_models_are_listed_beside_its_deployments() -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return responding(200, b'{"data": [{"id": "gpt-4o"}]}')(request)

    provider = provider_at("https://x.openai.azure.com/openai/deployments/d", query={"api-version": "v"})
    assert await OpenAIDialect(httpx.MockTransport(respond)).list_models(provider) == ["gpt-4o"]
    assert asked == ["https://x.openai.azure.com/openai/models?api-version=v"]
