"""`/v1/messages/count_tokens` before providers that count for nothing: their count if they give one, else ours."""

from contextlib import asynccontextmanager
from itertools import product

from tests.gemini_scripts import error
from tests.service.http.scripted import a_service
from tests.upstream import garbage, half_body, hang, redirect, reset_after_request, scripted_upstream, status

PATH = "/v1/messages/count_tokens"
CONFIG = """
[ledger]
url = "sqlite:{folder}/counts.db"
[router]
breaker_threshold = 2
[[providers]]
name = "claude"
dialect = "anthropic"
base_url = "{root}"
api_key = "sk-ant-secret"
max_concurrency = 1
count_tokens = "provider"
[[providers]]
name = "gemini"
dialect = "gemini"
base_url = "{root}"
api_key = "goog-secret"
count_tokens = "provider"
[[providers]]
name = "vertex"
dialect = "gemini"
base_url = "{root}/v1/projects/p/locations/l/publishers/google"
count_tokens = "provider"
[[providers]]
name = "other"
dialect = "anthropic"
base_url = "{root}"
"""
TOOL = {"name": "weigh", "description": "of a coin", "input_schema": {"type": "object", "properties": {}}}
ASKED = {
    "system": "Be kind.",
    "messages": [{"role": "user", "content": "How heavy is it?"}],
    "tools": [TOOL],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}


@asynccontextmanager
async def a_house(tmp_path):
    async with scripted_upstream() as upstream:
        (tmp_path / "farthing.toml").write_text(CONFIG.format(folder=tmp_path, root=upstream.root), "utf-8")
        async with a_service(tmp_path / "farthing.toml") as (parts, client):
            yield parts, upstream, client


async def counted(client, model, **asked):
    answer = await client.post(PATH, json={**ASKED, "model": model, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()["input_tokens"], answer.headers["x-farthing-count"]


async def test_each_provider_is_asked_in_its_words_with_its_key_and_nothing_is_on_record(tmp_path):
    async with a_house(tmp_path) as (_, upstream, client):
        upstream.plays(status(200, {"input_tokens": 4711}))
        headers = {"anthropic-beta": "next-2026", "x-api-key": "the callers own"}
        body = {**ASKED, "model": "claude:claude-sonnet-4-5", "max_tokens": 9}
        answer = await client.post(PATH, json=body, headers=headers)
        assert answer.json() == {"input_tokens": 4711}
        assert answer.headers["x-farthing-count"] == "provider"
        (request,) = upstream.requests
        assert request.path == PATH
        # As it came, with nothing that an answer would want.
        assert request.body == {**ASKED, "model": "claude-sonnet-4-5", "system": request.body["system"]}
        assert (request.headers["x-api-key"], request.headers["anthropic-beta"]) == ("sk-ant-secret", "next-2026")

        total = status(200, {"totalTokens": 42, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 42}]})
        upstream.plays(total, total)
        assert await counted(client, "gemini:gemini-2.5-pro") == (42, "provider")
        assert await counted(client, "vertex:gemini-2.5-pro") == (42, "provider")
        at_google, at_vertex = upstream.requests[1:]
        assert at_google.path == "/v1beta/models/gemini-2.5-pro:countTokens"
        assert at_google.headers["x-goog-api-key"] == "goog-secret"
        whole = at_google.body["generateContentRequest"]
        assert whole["model"] == "models/gemini-2.5-pro"
        assert {"contents", "systemInstruction", "tools"} <= whole.keys()
        assert at_vertex.path.endswith("/publishers/google/models/gemini-2.5-pro:countTokens")
        assert {"contents", "systemInstruction", "tools"} <= at_vertex.body.keys() <= {*whole, "generationConfig"}

        assert (await counted(client, "other:claude-sonnet-4-5"))[1] == "here"
        assert len(upstream.requests) == 3
        spend = (await client.get("/ledger/spend")).json()["total"]
        assert (spend["generations"], spend["attempts"], spend["cost_nanousd"]) == (0, 0, 0)


MODELS = ("claude:claude-sonnet-4-5", "gemini:gemini-2.5-pro")
FAULTS = {
    "refused": status(400, error(400, "INVALID_ARGUMENT")),
    "no key": status(401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
    "too many": status(429, error(429, "RESOURCE_EXHAUSTED"), headers={"retry-after": "60"}),
    "down": status(503),
    "broken off": half_body(),
    "reset": reset_after_request(),
    "not JSON": garbage(),
    "no count": status(200, {"input_tokens": "many", "totalTokens": -1}),
    "true": status(200, {"input_tokens": True, "totalTokens": True}),
    "silent": hang(),
}


async def test_whatever_a_provider_does_it_is_counted_and_nothing_is_held_against_it(tmp_path):
    async with a_house(tmp_path) as (_, upstream, client), scripted_upstream() as elsewhere:
        faults = {**FAULTS, "elsewhere": redirect(elsewhere.url, 307)}
        for model, (name, script) in product(MODELS, faults.items()):
            upstream.plays(script)
            asked, hurry = {**ASKED, "model": model}, {"x-farthing-deadline-ms": "600"}
            answer = await client.post(PATH, json=asked, headers=hurry if name == "silent" else {})
            assert answer.status_code == 200, (name, answer.text)
            assert answer.headers["x-farthing-count"] == "here", name
            assert 10 < answer.json()["input_tokens"] < 100, name
        assert len(upstream.requests) == len(MODELS) * len(faults)
        assert elsewhere.requests == []
        known = (await client.get("/router/status")).json()["deployments"]
        assert all(it["breaker"]["total_failures"] == 0 and not it["paced_until_ms"] for it in known)
        for model in MODELS:
            upstream.plays(status(200, {"input_tokens": 7, "totalTokens": 7}))
            assert await counted(client, model) == (7, "provider")


async def test_who_is_left_alone_or_has_no_free_place_is_not_asked(tmp_path):
    async with a_house(tmp_path) as (parts, upstream, client):
        gate = parts.router._gates.gate(parts.catalog.resolve("claude:claude-sonnet-4-5").targets[0].provider)
        async with gate.pass_through():
            assert (await counted(client, "claude:claude-sonnet-4-5"))[1] == "here"
        assert upstream.requests == []
        upstream.plays(status(200, {"input_tokens": 8}), status(500), status(500))
        assert await counted(client, "claude:claude-sonnet-4-5") == (8, "provider")
        # What a count takes says nothing of how long answers take.
        assert gate.usual._count == 1
        for _ in range(2):
            await client.post("/v1/messages", json={**ASKED, "model": "claude:claude-sonnet-4-5", "max_tokens": 9})
        asked = len(upstream.requests)
        assert (await counted(client, "claude:claude-sonnet-4-5"))[1] == "here"
        assert len(upstream.requests) == asked
        # Nor who could not be told all of it.
        document = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
        messages = [{"role": "user", "content": [document]}]
        assert (await counted(client, "gemini:gemini-2.5-pro", messages=messages))[1] == "here"
        assert len(upstream.requests) == asked
