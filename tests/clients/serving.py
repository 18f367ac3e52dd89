"""The whole service in front of a provider who does what the clients' tests ask of any provider."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

from router.deployments import Dialect
from tests.openai_scripts import embedded
from tests.router.gateways import a_deployment, open_gateway
from tests.scripts import Script, answer
from tests.service.http.scripted import a_service, an_edge
from tests.upstream import ScriptedUpstream, scripted_upstream

if TYPE_CHECKING:
    from openai.resources.chat.completions import AsyncCompletions

    from tests.upstream import Connection, Request

HELLO = [{"role": "user", "content": "hello"}]
SAID = "Hello there."
# What the provider says to whoever asks for an object.
COIN = {"coin": "farthing"}
CONFIG = """
[ledger]
url = "sqlite:{folder}/clients.db"
[router]
unpriced = "free"
[[providers]]
name = "up"
dialect = "openai"
base_url = "{url}"
[[models]]
id = "up:m"
supports = ["tools", "json_schema"]
max_output_tokens = 1000
[[routes]]
name = "default"
targets = ["up:m"]
"""


@asynccontextmanager
async def a_chat_service(
    folder: Path, dialect: Dialect = "openai"
) -> AsyncIterator[tuple[ScriptedUpstream, "AsyncCompletions"]]:
    """A provider of this dialect and, for the service with one deployment of it, the `openai` package's chat."""
    async with scripted_upstream() as upstream:
        target = a_deployment("up", upstream.url if dialect == "openai" else upstream.root, dialect=dialect)
        async with (
            open_gateway(folder, upstream, targets=(target,)) as house,
            an_edge(gateway=house.gateway) as (edge, _),
            openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="sk-any", max_retries=0) as sdk,
        ):
            yield upstream, sdk.chat.completions


@asynccontextmanager
async def clever_service(folder: Path) -> AsyncIterator[tuple[str, ScriptedUpstream]]:
    """Where the service listens, and the provider behind it: a call of the first tool, an object, or `SAID`."""
    async with scripted_upstream() as upstream:
        upstream.default = _clever
        (folder / "farthing.toml").write_text(CONFIG.format(folder=folder, url=upstream.url), "utf-8")
        async with a_service(folder / "farthing.toml") as (parts, _):
            yield f"http://127.0.0.1:{parts.port}", upstream


async def _clever(connection: "Connection", request: "Request") -> None:
    script = embedded() if request.path.endswith("/embeddings") else _chosen(request.body)
    await script(connection, request)


def _chosen(body: dict[str, Any]) -> Script:
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if results:
        return answer(f"It is {_text(results[-1])}.")
    tools = [tool["function"]["name"] for tool in body.get("tools", ())]
    if tools and body.get("tool_choice") != "none":
        # Whoever has a tool to answer by (pydantic-ai's `final_result`) gets its answer so.
        name = tools[-1]
        arguments = {"city": "Paris"} if name == "weather" else COIN
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        return answer("", message={"tool_calls": [{"index": 0, **call}]}, finish_reason="tool_calls")
    if body.get("response_format", {}).get("type") in {"json_schema", "json_object"}:
        return answer(json.dumps(COIN))
    return answer(SAID)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
