"""`POST /v1/embeddings` over real HTTP, a real router and a real ledger, by the official SDK where it can say it."""

import base64
import struct
from contextlib import asynccontextmanager

import msgspec
import openai
import pytest

from ledger.reports import SpendQuery
from service.openai_embeddings import vector_in
from telemetry.spans import spans_of
from tests.openai_scripts import embedded, vector_of
from tests.router.gateways import READ_NANOUSD, open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import scripted_upstream, status

PATH = "/v1/embeddings"
COST_NANOUSD = 6 * READ_NANOUSD


@asynccontextmanager
async def a_service(tmp_path):
    async with (
        scripted_upstream() as upstream,
        open_gateway(tmp_path, upstream) as house,
        an_edge(gateway=house.gateway) as (edge, client),
    ):
        upstream.default = embedded()
        yield house, upstream, edge, client


@asynccontextmanager
async def an_sdk(edge):
    async with openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=0) as sdk:
        yield sdk.embeddings


@pytest.mark.parametrize("knows_base64", [True, False])
async def test_the_sdk_gets_its_vectors_in_either_encoding(tmp_path, knows_base64):
    async with a_service(tmp_path) as (_, upstream, edge, _), an_sdk(edge) as embeddings:
        upstream.default = embedded(knows_base64=knows_base64)
        texts = ["a farthing", "a penny"]
        # Left to itself, the SDK asks for base64 and turns it into numbers.
        unsaid = await embeddings.create(model="chat", input=texts)
        floats = await embeddings.create(model="chat", input=texts, encoding_format="float")
        coded = await embeddings.create(model="chat", input=texts, encoding_format="base64")
        assert (
            [it.embedding for it in unsaid.data] == [it.embedding for it in floats.data] == list(map(vector_of, texts))
        )
        assert [list(struct.unpack("<3f", base64.b64decode(it.embedding))) for it in coded.data] == list(
            map(vector_of, texts)
        )
        assert [it.index for it in unsaid.data] == [0, 1]
        assert (unsaid.model, unsaid.usage.prompt_tokens, unsaid.usage.total_tokens) == ("model-a", 6, 6)
        # Both encodings went out as they were asked for, and one of the three was a hit.
        assert [request.body["encoding_format"] for request in upstream.requests] == ["base64", "float"]


async def test_headers_say_who_answered_at_what_cost_and_the_ledger_has_its_row(tmp_path):
    async with a_service(tmp_path) as (house, _, _, client):
        body = {"model": "chat", "input": "a farthing", "user": "u7"}
        first = await client.post(PATH, json=body, headers={"x-farthing-workflow": "index"})
        again = await client.post(PATH, json=body, headers={"x-farthing-workflow": "index"})
        assert first.headers["x-farthing-model"] == "a:model-a"
        assert first.headers["x-farthing-cost-usd"] == f"0.{COST_NANOUSD:09d}"
        assert (first.headers["x-farthing-cache"], again.headers["x-farthing-cache"]) == ("miss", "hit")
        assert first.json()["usage"]["cost_nanousd"] == COST_NANOUSD
        assert again.json()["data"] == first.json()["data"]
        report = await house.ledger.spend(SpendQuery(group_by=("workflow", "user", "model")))
        (row,) = report["rows"]
        assert (row["workflow"], row["user"], row["model"]) == ("index", "u7", "a:model-a")
        assert (row["cost_nanousd"], row["saved_nanousd"], row["prompt_tokens"]) == (COST_NANOUSD, COST_NANOUSD, 6)


async def test_a_call_failed_over_is_one_tree_of_embeddings_spans(tmp_path):
    async with a_service(tmp_path) as (_, upstream, edge, client):
        upstream.plays(status(500), embedded())
        answer = await client.post(PATH, json={"model": "chat", "input": [[1, 2]], "dimensions": 3})
        assert answer.headers["x-farthing-model"] == "b:model-b"
        server, generation, *attempts = spans_of(await edge.telemetry.next())
        assert (server.name, generation.name) == (f"POST {PATH}", "embeddings model-b")
        assert [span.name for span in attempts] == ["embeddings model-a", "embeddings model-b"]
        assert {span.attributes["gen_ai.operation.name"] for span in (generation, *attempts)} == {"embeddings"}
        assert generation.attributes["gen_ai.embeddings.dimension.count"] == 3
        assert "gen_ai.response.finish_reasons" not in generation.attributes


async def test_the_same_key_gives_the_same_vectors_again(tmp_path):
    async with a_service(tmp_path) as (_, upstream, _, client):
        headers = {"Idempotency-Key": "k", "x-farthing-cache": "bypass"}
        first, again = [
            await client.post(PATH, json={"model": "chat", "input": "a"}, headers=headers) for _ in range(2)
        ]
        assert again.headers["idempotent-replayed"] == "true"
        assert (again.content, len(upstream.requests)) == (first.content, 1)


REFUSED = [
    ({"input": ""}, "input"),
    ({"input": []}, "input"),
    ({"input": ["a", ""]}, "input[1]"),
    ({"input": [[1], []]}, "input[1]"),
    ({"input": ["a", 1]}, "input[1]"),
    ({"input": [-1]}, "input"),
    ({"input": {"text": "a"}}, "input"),
    ({}, "input"),
    ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ({"input": "a", "dimensions": 0}, "dimensions"),
    ({"input": "a", "stream": True}, "stream"),
]


@pytest.mark.parametrize(("body", "where"), REFUSED)
async def test_a_body_that_is_not_valid_is_refused_in_openais_shape_and_says_where(tmp_path, body, where):
    async with a_service(tmp_path) as (_, upstream, _, client):
        answer = await client.post(PATH, json={"model": "chat", **body})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (400, "invalid_request", "invalid_request_error")
        assert where in error["message"]
        assert upstream.requests == []


async def test_the_sdk_hears_of_errors_as_its_own(tmp_path):
    async with a_service(tmp_path) as (_, upstream, edge, _), an_sdk(edge) as embeddings:
        upstream.plays(
            status(400, {"error": {"message": "too long", "type": "invalid_request_error", "param": "input"}})
        )
        with pytest.raises(openai.BadRequestError) as rejected:
            await embeddings.create(model="chat", input="a")
        assert (rejected.value.code, rejected.value.param) == ("upstream_rejected", "input")
        with pytest.raises(openai.NotFoundError):
            await embeddings.create(model="nobody", input="a")
        upstream.default = status(500)
        with pytest.raises(openai.InternalServerError) as failed:
            await embeddings.create(model="chat", input="b")
        assert failed.value.code == "upstream_failed"


def test_a_vector_that_came_in_the_other_encoding_is_turned():
    text = b'"' + base64.b64encode(struct.pack("<2f", 0.5, -3.0)) + b'"'
    assert bytes(vector_in(text, True)) == text
    assert msgspec.json.decode(vector_in(text, False)) == [0.5, -3.0]
    assert bytes(vector_in(b"[0.5, -3]", False)) == b"[0.5, -3]"
    assert bytes(vector_in(b"[0.5, -3]", True)) == text
