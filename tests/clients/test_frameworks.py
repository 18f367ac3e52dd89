"""Frameworks that people build on, unchanged: LangChain and pydantic-ai."""

from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pydantic import BaseModel

from tests.clients.serving import SAID, clever_service

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI
    from pydantic_ai.models import Model

pytestmark = THEIR_WARNINGS = [
    # Of theirs, not of ours: what they import warns of what else they import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


class Coin(BaseModel):
    """What is asked for."""

    coin: str


def a_langchain(url: str, **options: Any) -> "ChatOpenAI":
    langchain_openai = pytest.importorskip("langchain_openai")
    return langchain_openai.ChatOpenAI(
        base_url=f"{url}/v1", api_key="unused", model="default", max_retries=0, **options
    )


def pydantic_ai_models(url: str, http: httpx2.AsyncClient) -> "tuple[Model, ...]":
    """The route `default` by each of the three formats: chat, responses, messages."""
    pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    openai = OpenAIProvider(base_url=f"{url}/v1", api_key="unused", http_client=http)
    anthropic = AnthropicProvider(base_url=url, api_key="unused", http_client=http)
    return (
        OpenAIChatModel("default", provider=openai),
        OpenAIResponsesModel("default", provider=openai),
        AnthropicModel("default", provider=anthropic),
    )


async def test_langchain_talks_streams_calls_tools_and_gets_objects(tmp_path):
    from langchain_core.tools import tool

    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    async with clever_service(tmp_path) as (url, _), httpx2.AsyncClient(trust_env=False) as http:
        for options in ({"stream_usage": True}, {"use_responses_api": True, "output_version": "responses/v1"}):
            chat = a_langchain(url, http_async_client=http, **options)
            said = await chat.ainvoke("Say hello.")
            assert said.text == SAID
            assert (said.usage_metadata["input_tokens"], said.usage_metadata["output_tokens"]) == (9, 2)
            pieces = [piece async for piece in chat.astream("Say hello to me.")]
            assert "".join(piece.text for piece in pieces) == SAID
            assert sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata) == 2
            asked = [("user", "Weather in Paris?")]
            called = await chat.bind_tools([weather]).ainvoke(asked)
            (call,) = called.tool_calls
            assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})
            told = await chat.bind_tools([weather]).ainvoke([*asked, called, await weather.ainvoke(call)])
            assert told.text == "It is sunny in Paris."
            coin = await chat.with_structured_output(Coin, method="json_schema").ainvoke("An object.")
            assert coin == Coin(coin="farthing")


async def test_pydantic_ai_runs_agents_by_each_of_its_three_ways_to_us(tmp_path):
    pytest.importorskip("pydantic_ai")
    from pydantic_ai import Agent, NativeOutput

    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    async with clever_service(tmp_path) as (url, _), httpx2.AsyncClient(trust_env=False) as http:
        models = pydantic_ai_models(url, http)
        for model in models:
            plain = await Agent(model).run("Say hello.")
            assert plain.output == SAID
            assert (plain.usage.input_tokens, plain.usage.output_tokens) == (9, 2)
            async with Agent(model).run_stream("Say hello to me.") as streamed:
                assert [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)][-1]
                assert await streamed.get_output() == SAID
            helped = await Agent(model, tools=[weather]).run("Weather in Paris?")
            assert helped.output == "It is sunny in Paris."
            assert (await Agent(model, output_type=Coin).run("A coin.")).output == Coin(coin="farthing")
        native = Agent(models[0], output_type=NativeOutput(Coin))
        assert (await native.run("A coin.")).output == Coin(coin="farthing")
