"""`POST /estimate` and the models' prices, of the whole service within this process."""

import openai
import pytest

from tests.lazily import anthropic
from tests.service.http.scripted import a_service
from tests.upstream import scripted_upstream

CONFIG = """
[ledger]
url = "sqlite:{folder}/farthing.db"
[[providers]]
name = "openai"
dialect = "openai"
base_url = "{url}"
[[models]]
id = "openai:own"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
context_window = 1000
max_output_tokens = 100
[[models]]
id = "openai:aside"
input_usd_per_mtok = "3"
output_usd_per_mtok = "4"
[[routes]]
name = "chat"
targets = ["openai:own", "openai:unpriced"]
[[routes]]
name = "one"
targets = ["openai:gpt-4o-mini"]
[[ceilings]]
scope = "user:u1"
window = "day"
limit_usd = "0.0002"
"""


def configured(tmp_path, upstream):
    file = tmp_path / "farthing.toml"
    file.write_text(CONFIG.format(folder=tmp_path, url=upstream.url), "utf-8")
    return file


async def test_an_estimate_says_what_a_body_would_hold_and_what_would_bind(tmp_path):
    async with scripted_upstream() as upstream, a_service(configured(tmp_path, upstream)) as (_, client):
        body = {"model": "chat", "prompt": "hello", "params": {"max_tokens": 20}}
        said = (await client.post("/estimate", json=body, headers={"x-farthing-user": "u1"})).json()
        first, second = said["deployments"]
        assert (said["admitted"], said["deployment"], second["skipped"]) == (True, "openai:own", "unpriced")
        # Counted: 1 token, 3 for the message, 1 for the role, 3 for the answer's start.
        assert (said["estimated_prompt_tokens"], said["min_usd"]) == (8, "0.000008000")
        assert (first["likely_completion_tokens"], first["likely_basis"]) == (20, "assumed")
        assert said["likely_nanousd"] == 8 * 1000 + 20 * 2000
        assert said["max_nanousd"] == said["held_nanousd"] >= said["likely_nanousd"]
        ceiling = said["binding_ceiling"]
        assert (ceiling["scope"], ceiling["window"], ceiling["room_usd"]) == ("user:u1", "day", "0.000200000")
        assert (second["held_usd"], second["binding_ceiling"]) == (None, None)

        dear = {"model": "chat", "prompt": "hello", "user": "u1"}
        said = (await client.post("/estimate", json=dear)).json()
        refused = await client.post("/generate", json=dear)
        assert (said["admitted"], said["admission"]) == (False, "refuse")
        assert said["refusal"] == refused.json()
        assert said["refusal"]["code"] == "ceiling_exceeded"

        for wrong, code in (({"model": "nobody", "prompt": "x"}, 404), ({}, 400), ({**dear, "max_cost_usd": "0"}, 402)):
            same = [await client.post(path, json=wrong) for path in ("/estimate", "/generate")]
            assert [answer.status_code for answer in same] == [code, code]
            assert same[0].json() == same[1].json()
        assert upstream.requests == []

        assert (await client.post("/generate", json=body)).status_code == 200
        said = (await client.post("/estimate", json=body)).json()
        assert (said["cache"], said["max_usd"], said["deployment"]) == ("hit", "0.000000000", None)
        assert len((await client.get("/ledger/generations")).json()["generations"]) == 1


async def test_models_are_listed_with_windows_and_prices_for_either_sdk(tmp_path):
    async with scripted_upstream() as upstream, a_service(configured(tmp_path, upstream)) as (_, client):
        models = {it["id"]: it for it in (await client.get("/v1/models")).json()["data"]}
        assert list(models) == ["chat", "one", "openai:own", "openai:unpriced", "openai:gpt-4o-mini", "openai:aside"]
        assert models["chat"]["deployments"] == ["openai:own", "openai:unpriced"]
        assert (models["chat"]["context_window"], models["chat"]["pricing"]) == (1000, None)
        assert models["one"]["pricing"] == models["openai:gpt-4o-mini"]["pricing"]
        own = models["openai:own"]["pricing"]
        assert (own["input_usd_per_mtok"], own["output_usd_per_mtok"]) == ("1.000000000", "2.000000000")
        assert own["version"] == "config: input 1, output 2"
        assert models["openai:unpriced"]["pricing"] is None
        assert (await client.get("/v1/models/openai:own")).json() == models["openai:own"]

        # What is on no route can be asked for by name, and is shown where its price is known.
        shown = (await client.get("/v1/models/openai:gpt-4o")).json()
        assert (shown["id"], shown["deployments"]) == ("openai:gpt-4o", ["openai:gpt-4o"])
        assert shown["pricing"]["output_usd_per_mtok"] == "10.000000000"
        assert (await client.get("/v1/models/openai:nobody-knows-it")).status_code == 404

        where = str(client.base_url)
        async with openai.AsyncOpenAI(base_url=f"{where}/v1", api_key="unused") as sdk:
            assert [it.id async for it in sdk.models.list()] == list(models)
            assert (await sdk.models.retrieve("openai:own")).pricing == own
        async with anthropic.AsyncAnthropic(base_url=where, api_key="unused") as sdk:
            listed = [it async for it in sdk.models.list()]
            assert [it.id for it in listed] == list(models)
            assert (listed[0].type, listed[0].max_input_tokens) == ("model", 1000)
            assert (await sdk.models.retrieve("one")).display_name == "one"
            with pytest.raises(anthropic.NotFoundError):
                await sdk.models.retrieve("nobody")
