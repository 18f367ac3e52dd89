"""A real viewer, and a service that has told it of two calls: one that failed over, and one that was hedged."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.service.http.scripted import a_service
from tests.upstream import answer, scripted_upstream, status, stream

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".viewer" / "bin" / "python"
# It imports for half a minute on a busy machine.
STARTS_WITHIN_S = 90
ARRIVES_WITHIN_S = 20
CAPITAL = "Paris is the capital of France."
MESSAGES = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "What is the capital of France?"},
]
CONFIG = """
[ledger]
url = "sqlite:{folder}/viewed.db"
[telemetry]
capture_content = true
[[providers]]
name = "azure"
dialect = "openai"
base_url = "{azure}"
[[providers]]
name = "openai"
dialect = "openai"
base_url = "{openai}"
[[routes]]
name = "chat"
targets = ["azure:gpt-4o", "openai:gpt-4o-mini"]
[[routes]]
name = "quick"
targets = ["azure:gpt-4o", "openai:gpt-4o-mini"]
hedge = true
hedge_after_ms = 250
[[ceilings]]
scope = "global"
window = "month"
limit_usd = "250"
[[ceilings]]
scope = "workflow:*"
window = "day"
limit_usd = "5"
"""


COST = "query ($id: ID!) { node(id: $id) { ... on Span { costSummary { total { cost } } } } }"


class Phoenix:
    """A running viewer. url: where it shows spans and takes them."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self._client = client

    async def spans(self, trace_id: str, count: int) -> list[dict[str, Any]]:
        """The spans of this trace, in the order in which they began, once there are so many."""
        asks = {"limit": 100, "trace_id": trace_id}
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            while len(found := await self._found(asks)) < count:
                await asyncio.sleep(0.2)
        return sorted(found, key=lambda span: span["start_time"])

    async def cost_usd(self, span: dict[str, Any]) -> float:
        """What it shows as the cost of this span."""
        asks = {"query": COST, "variables": {"id": span["id"]}}
        answered = await self._client.post("/graphql", json=asks)
        return float(answered.json()["data"]["node"]["costSummary"]["total"]["cost"])

    def page(self, trace_id: str) -> str:
        """Where it shows this trace to people."""
        return f"{self.url}/redirects/traces/{trace_id}"

    async def _found(self, asks: dict[str, Any]) -> list[dict[str, Any]]:
        response = await self._client.get("/v1/projects/default/spans", params=asks)
        # Until its first span has come it knows no project.
        return response.json()["data"] if response.status_code == httpx.codes.OK else []


@asynccontextmanager
async def a_phoenix(folder: Path) -> AsyncIterator[Phoenix]:
    """Phoenix on a free port, with its files in this folder, as `make viewer` installed it."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    script = str(ROOT / "deploy" / "viewer" / "serve.py")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    with (folder / "phoenix.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            script,
            "--port",
            str(port),
            "--folder",
            str(folder / "phoenix"),
            stdout=log,
            stderr=log,
            env=environ,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
                await _listening(client, process)
                yield Phoenix(f"http://127.0.0.1:{port}", client)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _listening(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while process.returncode is None:
            try:
                await client.get("/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.2)
            else:
                return
    raise RuntimeError(f"Phoenix ended with {process.returncode}")


@asynccontextmanager
async def two_calls(folder: Path, phoenix: Phoenix) -> AsyncIterator[tuple[httpx.Response, httpx.Response]]:
    """The answers to a call that failed over and to a hedged one, both of which Phoenix has been told of."""
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{phoenix.url}/v1/traces", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with scripted_upstream() as azure, scripted_upstream() as openai:
        file = folder / "farthing.toml"
        file.write_text(CONFIG.format(folder=folder, azure=azure.url, openai=openai.url), "utf-8")
        async with a_service(file, environ) as (_, http):
            # The first call of a process loads the tokenizer: it would make the others' picture crooked.
            await http.post(
                "/generate", json={"prompt": "hello"}, headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
            )
            azure.plays(status(503))
            openai.plays(answer(CAPITAL, prompt_tokens=23, completion_tokens=8, delay_s=0.4))
            asked = {"workflow": "geography", "user": "ada", "params": {"max_tokens": 200, "temperature": 0.2}}
            over = await http.post("/generate", json={"model": "chat", "messages": MESSAGES, **asked})
            azure.plays(stream([asyncio.Event(), "never"]))
            openai.plays(answer(CAPITAL, prompt_tokens=23, completion_tokens=8, delay_s=0.2))
            hedged = await http.post("/generate", json={"model": "quick", "messages": MESSAGES, **asked})
            yield over, hedged
