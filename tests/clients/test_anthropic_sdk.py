"""The official `anthropic` package, unchanged, against the service in front of scripted providers of either dialect."""

from contextlib import asynccontextmanager
from typing import Any

import anthropic

from tests import anthropic_scripts as claude
from tests.router.gateways import a_deployment, open_gateway
from tests.service.http.scripted import an_edge
from tests.upstream import answer, scripted_upstream

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def a_service(tmp_path, dialect="anthropic", **gateway):
    """The service with one deployment of this dialect, and an SDK for it."""
    async with scripted_upstream() as upstream:
        base_url = upstream.url if dialect == "openai" else upstream.root
        upstream.default = claude.message() if dialect == "anthropic" else answer()
        target = a_deployment("up", base_url, dialect=dialect)
        async with (
            open_gateway(tmp_path, upstream, targets=(target,), **gateway) as house,
            an_edge(gateway=house.gateway) as (edge, _),
            an_sdk(edge) as sdk,
        ):
            yield upstream, sdk


def an_sdk(edge, **options):
    return anthropic.AsyncAnthropic(base_url=edge.url, api_key="sk-any", **{"max_retries": 0, **options})


async def test_a_message_and_its_stream(tmp_path):
    async with a_service(tmp_path) as (upstream, sdk):
        message = await sdk.messages.create(model="chat", max_tokens=50, messages=HELLO, system="Be kind.")
        assert [block.text for block in message.content] == ["Hello there."]
        assert (message.stop_reason, message.role, message.type) == ("end_turn", "assistant", "message")
        usage = message.usage
        assert (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (9, 3, 4)
        assert usage.output_tokens == 7
        assert usage.cost_nanousd > 0
        (request,) = upstream.requests
        assert request.body == {
            "model": "model-up",
            "max_tokens": 50,
            "messages": HELLO,
            "system": "Be kind.",
            "stream": False,
        }
        async with sdk.messages.stream(model="chat", max_tokens=51, messages=HELLO) as events:
            told = [event async for event in events]
            final = await events.get_final_message()
        assert [event.text for event in told if event.type == "text"] == ["Hello ", "there."]
        assert (final.content[0].text, final.stop_reason) == ("Hello there.", "end_turn")
        assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 7)
        assert final.id.startswith("msg_")
        (last,) = (event for event in told if event.type == "message_delta")
        assert last.usage.cost_nanousd == usage.cost_nanousd
