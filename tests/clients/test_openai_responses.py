"""The official `openai` package's `responses`, unchanged, against the service in front of scripted providers."""

from contextlib import asynccontextmanager

import openai
import pytest

from tests import anthropic_scripts as claude
from tests.openai_scripts import responded
from tests.router.gateways import a_deployment, open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import answer, scripted_upstream

CHAT, RESPONSES, ANTHROPIC = "chat completions", "responses", "anthropic"
SPEAKERS = (CHAT, RESPONSES, ANTHROPIC)
PATHS = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", ANTHROPIC: "/v1/messages"}
DEFAULTS = {CHAT: answer(), RESPONSES: responded(), ANTHROPIC: claude.message()}


@asynccontextmanager
async def a_service(tmp_path, speaks, **gateway):
    """The service with one deployment that answers so, and an SDK for it."""
    async with scripted_upstream() as upstream:
        upstream.default = DEFAULTS[speaks]
        is_openai = speaks != ANTHROPIC
        target = a_deployment(
            "up",
            upstream.url if is_openai else upstream.root,
            dialect="openai" if is_openai else "anthropic",
            has_responses=speaks == RESPONSES,
        )
        async with (
            open_gateway(tmp_path, upstream, targets=(target,), **gateway) as house,
            an_edge(gateway=house.gateway) as (edge, _),
            openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=0) as sdk,
        ):
            yield upstream, sdk


@pytest.mark.parametrize("speaks", SPEAKERS)
async def test_a_response_and_its_stream(tmp_path, speaks):
    async with a_service(tmp_path, speaks) as (upstream, sdk):
        response = await sdk.responses.create(model="chat", input="hello", max_output_tokens=50)
        assert upstream.requests[0].path.endswith(PATHS[speaks])
        assert response.output_text == "Hello there."
        assert (response.status, response.object, response.error) == ("completed", "response", None)
        usage = response.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert usage.cost_nanousd > 0
        assert response.max_output_tokens == 50
        async with sdk.responses.stream(model="chat", input="hi", max_output_tokens=50) as events:
            told = [event async for event in events]
            final = await events.get_final_response()
        assert [event.sequence_number for event in told] == list(range(len(told)))
        assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == "Hello there."
        assert final.output_text == "Hello there."
