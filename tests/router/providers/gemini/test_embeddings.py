"""Embeddings of the Gemini API: what is asked, what comes of it, and what is refused by name."""

import base64
import json
import struct
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from ledger.usage import Usage
from router.answer import Closing, Delta
from router.deployments import Deployment, Provider
from router.dialects import fitted
from router.embeddings import ENDPOINT
from router.errors import Inexpressible
from router.faults import Fault, Outcome
from router.providers.gemini.dialect import GeminiDialect

VERTEX = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/publishers/google"
SAID = {"embeddings": [{"values": [0.5, -1.25]}, {"values": [2, 0.0]}], "usageMetadata": {"promptTokenCount": 7}}


def deployment(base_url: str = "https://generativelanguage.googleapis.com", **fields: Any) -> Deployment:
    provider = Provider(name="g", dialect="gemini", base_url=base_url, api_key="AIza-0123456789", **fields)
    return Deployment(provider=provider, model="gemini-embedding-001", price=None, encoding="o200k_base")


async def embed(body: dict[str, Any], said: Any) -> tuple[httpx.Request, list[Delta | Closing]]:
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        return httpx.Response(200, stream=httpx.ByteStream(data), request=request)

    dialect, there = GeminiDialect(httpx.MockTransport(respond)), deployment()
    sent, _ = fitted(body, there, ENDPOINT)
    attempt = dialect.attempt(there, sent, stream=True, headers={}, endpoint=ENDPOINT)
    async with aclosing(attempt) as events:
        found = [event async for event in events]
    return asked[0], found


async def test_all_inputs_go_in_one_request_and_each_vector_is_one_choice() -> None:
    request, events = await embed({"input": ["a", "b"], "dimensions": 2, "task_type": "RETRIEVAL_QUERY"}, SAID)
    assert request.url.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert request.headers["x-goog-api-key"] == "AIza-0123456789"
    one = {"model": "models/gemini-embedding-001", "outputDimensionality": 2, "taskType": "RETRIEVAL_QUERY"}
    assert json.loads(request.content) == {
        "requests": [{**one, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }
    assert events == [
        Delta(choice=0, vector=b"[0.5, -1.25]", finish_reason="stop"),
        Delta(choice=1, vector=b"[2, 0.0]", finish_reason="stop"),
        Closing(usage=Usage(input_tokens=7)),
    ]


async def test_vectors_are_packed_where_that_was_asked_for() -> None:
    _, events = await embed({"input": ["a", "b"], "encoding_format": "base64"}, SAID)
    assert isinstance(events[0], Delta)
    assert struct.unpack("<2f", base64.b64decode(json.loads(events[0].vector))) == (0.5, -1.25)


async def test_without_a_word_on_usage_none_is_made_up() -> None:
    _, events = await embed({"input": "a"}, {"embeddings": [{"values": [1.0]}]})
    assert events[-1] == Closing(usage=None)


@pytest.mark.parametrize(
    "said",
    [
        b"<html>",
        b"[]",
        {},
        {"embeddings": []},
        {"embeddings": [{"values": []}]},
        {"embeddings": [{"values": ["a"]}]},
        {"embeddings": [{"values": [1e300]}]},
        {"embeddings": [{"values": [1]}, {"values": [1]}]},
        {"error": {"code": 500, "message": "no", "status": "INTERNAL"}},
    ],
)
async def test_what_is_not_a_vector_for_each_input_is_no_answer(said: Any) -> None:
    with pytest.raises(Fault) as caught:
        await embed({"input": "a"}, said)
    assert caught.value.outcome == Outcome.BAD_ANSWER


def test_what_has_no_place_there_is_named() -> None:
    body = {"input": "a", "user": "u", "encoding_format": "float", "odd": 1}
    assert fitted(body, deployment(), ENDPOINT) == ({"input": "a", "encoding_format": "float"}, ("user", "odd"))


@pytest.mark.parametrize(
    ("base_url", "given", "where"),
    [("https://h", [1, 2], "input[0]"), ("https://h", ["a", [1]], "input[1]"), (VERTEX, "a", "input")],
)
def test_what_cannot_be_embedded_there_is_refused_by_name(base_url: str, given: Any, where: str) -> None:
    with pytest.raises(Inexpressible) as caught:
        fitted({"input": given}, deployment(base_url), ENDPOINT)
    assert caught.value.where == where


@pytest.mark.parametrize("stream", [False, True])
async def test_vertex_has_its_version_in_the_base_url_and_takes_a_token(stream: bool) -> None:
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        said = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
        kind = {"content-type": "application/json"}
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(said).encode()), headers=kind, request=request)

    there = deployment(VERTEX, auth_header="authorization")
    body = {"messages": [{"role": "user", "content": "Say hi"}]}
    attempt = GeminiDialect(httpx.MockTransport(respond)).attempt(there, body, stream=stream, headers={})
    async with aclosing(attempt) as events:
        deltas = [event async for event in events]
    assert deltas[0] == Delta(text="Hi")
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert str(asked[0].url) == f"{VERTEX}/models/gemini-embedding-001:{method}"
    assert asked[0].headers["authorization"] == "Bearer AIza-0123456789"
    assert "x-goog-api-key" not in asked[0].headers


async def test_vertex_lists_its_models_for_everybody() -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        data = b'{"publisherModels": [{"name": "publishers/google/models/gemini-2.5-pro"}]}'
        return httpx.Response(200, stream=httpx.ByteStream(data), request=request)

    provider = deployment(VERTEX).provider
    assert await GeminiDialect(httpx.MockTransport(respond)).list_models(provider) == ["gemini-2.5-pro"]
    assert asked == ["https://eu-aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=1000"]
