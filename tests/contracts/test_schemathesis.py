"""Schemathesis asks the whole service whatever its own document allows, and what it does not: all is answered as said.

The document's examples are asked first. The longer campaign is `make soak`'s.
"""

import asyncio
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ledger.events import EventRaised
from service.http.operations import OPERATIONS
from tests.openai_scripts import embedded
from tests.scripts import echo
from tests.service.http.scripted import a_service
from tests.upstream import scripted_upstream

CONFIG = """
[ledger]
url = "sqlite:{folder}/farthing.db"
synchronous = "normal"
[router]
deadline_ms = 60000
breaker_threshold = 1000000
[[providers]]
name = "openai"
dialect = "openai"
base_url = "{url}"
[[models]]
id = "openai:made-up"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
[[routes]]
name = "chat"
targets = ["openai:gpt-4o-mini", "openai:made-up"]
[[ceilings]]
scope = "user:u1"
window = "month"
limit_usd = "100"
"""
AN_EVENT = EventRaised(type="disk.low", dedup_key="disk.low", at_ms=1_795_219_200_000, facts={"free_mb": 7})
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


async def answered(connection, request):
    """A provider that does as it is asked."""
    await (embedded() if request.path.endswith("/embeddings") else echo())(connection, request)


def operations(url: str) -> Iterator[schemathesis.APIOperation]:
    for result in schemathesis.openapi.from_url(f"{url}/schema").get_all_operations():
        yield result.ok()


def modes(operation) -> Iterator[GenerationMode]:
    """Good requests, and bad ones where there is something to be wrong in: any path of text is a good one."""
    yield GenerationMode.POSITIVE
    if operation.body or operation.query:
        yield GenerationMode.NEGATIVE


def campaign(url: str, *, examples: int) -> int:
    """So many requests of each kind, good and bad, to each operation. Returns how many there were."""
    asked = 0
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(url):
            for mode in modes(operation):

                @seed(1)
                @given(case=operation.as_strategy(generation_mode=mode))
                @settings(
                    max_examples=examples,
                    database=None,
                    deadline=None,
                    phases=(Phase.generate,),
                    suppress_health_check=list(HealthCheck),
                )
                def ask(case):
                    nonlocal asked
                    asked += 1
                    response = case.call(session=session, timeout=30)
                    assert response.status_code != 500, response.text
                    case.validate_response(response, checks=CHECKS)

                ask()
    return asked


async def examples_are_answered(client) -> None:
    for operation in OPERATIONS:
        path, method = operation.path_example or operation.path, operation.method.upper()
        if operation.path == "/ledger/generations/{id}":
            newest = (await client.get("/ledger/generations?limit=1")).json()["generations"][0]
            path = f"/ledger/generations/{newest['id']}"
        if operation.path == "/alerts/{id}/acknowledge":
            path = f"/alerts/{(await client.get('/alerts')).json()['alerts'][0]['id']}/acknowledge"
        if operation.path == "/keys/{id}":
            path = f"/keys/{(await client.get('/keys')).json()['keys'][0]['id']}"
        answer = await client.request(method, path, json=operation.body_example)
        assert answer.status_code == 200, (method, path, answer.text)
        assert answer.headers["content-type"].partition(";")[0] == operation.media_type
        if operation.example is not None:
            said = answer.json()
            assert operation.example.keys() == said.keys(), path
            if "rows" in said:
                assert {name for row in said["rows"] for name in row} == operation.example["rows"][0].keys()
    assert (await client.get("/ledger/generations/gen_lost")).status_code == 404


async def explore(tmp_path, *, examples: int) -> int:
    async with scripted_upstream() as upstream:
        upstream.default = answered
        file = tmp_path / "farthing.toml"
        file.write_text(CONFIG.format(folder=tmp_path, url=upstream.url), "utf-8")
        async with a_service(file) as (parts, client):
            await parts.alerts.raise_event(AN_EVENT)
            await examples_are_answered(client)
            return await asyncio.to_thread(campaign, str(client.base_url).rstrip("/"), examples=examples)


async def test_every_example_runs_and_no_request_gets_an_undocumented_answer(tmp_path):
    assert await explore(tmp_path, examples=6) > 5 * len(OPERATIONS)


@pytest.mark.soak
async def test_no_request_gets_an_undocumented_answer_however_many_are_made(tmp_path):
    await explore(tmp_path, examples=20)
