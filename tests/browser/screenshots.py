"""`python -m tests.browser.screenshots [FOLDER]`: the dashboard over a month of calls, as the README shows it."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from playwright.async_api import Browser, async_playwright

from ledger.ledger import wall_ms
from tests.browser.history import DEPLOYMENTS, FLASH, GPT, SONNET, make_history
from tests.browser.house import CHROMIUM, SWITCHES
from tests.scripts import hang, status, stream
from tests.service.http.scripted import a_service
from tests.upstream import Connection, Request, scripted_upstream

FOLDER = Path(__file__).parents[2] / "deploy" / "screenshots"
# name: (address, theme, width, height); {call} is the id of the call in `_told_call`.
SHOTS = {
    "spend-light": ("?view=spend&since=7d", "light", 1360, 960),
    "spend-dark": ("?view=spend&since=30d&group=workflow", "dark", 1360, 960),
    "latency-dark": ("?view=latency&since=30d", "dark", 1360, 960),
    "spend-phone": ("?view=spend&since=24h", "light", 390, 844),
    "call-light": ("?view=call&id={call}", "light", 1360, 1130),
    "live-dark": ("?view=live", "dark", 1360, 900),
}
SETTLED_MS = 1500
CEILINGS = (
    ("global", "month", "20"),
    ("global", "day", "1.5"),
    ("team:support", "month", "15"),
    ("team:editorial", "month", "1"),
    ("model:openai:gpt-4o", "month", "12"),
    ("workflow:code review", "month", "8.5"),
)


def config(folder: Path, url: str) -> str:
    """The service of all deployments in the history."""
    providers = sorted({deployment.partition(":")[0] for deployment in DEPLOYMENTS})
    blocks = [f'[ledger]\nurl = "sqlite:{folder}/farthing.db"\n[cache]\nttl_s = 3600']
    blocks += [f'[[providers]]\nname = "{name}"\ndialect = "openai"\nbase_url = "{url}"' for name in providers]
    for deployment, facts in DEPLOYMENTS.items():
        read, written = (price / 1000 for price in facts.prices)
        prices = f'input_usd_per_mtok = "{read}"\noutput_usd_per_mtok = "{written}"'
        blocks.append(f'[[models]]\nid = "{deployment}"\n{prices}\nmax_output_tokens = 4096')
    targets = ", ".join(f'"{deployment}"' for deployment in DEPLOYMENTS)
    blocks.append(f'[[routes]]\nname = "chat"\ntargets = [{targets}]')
    hedged = f'targets = ["{GPT}", "{SONNET}", "{FLASH}"]\nhedge = true\nhedge_after_ms = 700'
    blocks.append(f'[[routes]]\nname = "assistant"\n{hedged}\n[router]\nhedge_max_ratio = 1.0')
    blocks.append('[telemetry]\ntrace_url = "http://127.0.0.1:16686/trace/{trace_id}"')
    blocks += [
        f'[[ceilings]]\nscope = "{scope}"\nwindow = "{window}"\nlimit_usd = "{limit}"'
        for scope, window, limit in CEILINGS
    ]
    return "\n".join(blocks)


@asynccontextmanager
async def a_busy_service(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Where a service listens that has a month behind it, and the id of a call that had to try three times."""
    await make_history(folder / "farthing.db", wall_ms())
    async with scripted_upstream() as upstream:
        file = folder / "farthing.toml"
        file.write_text(config(folder, upstream.url), "utf-8")
        async with a_service(file) as (parts, client):
            upstream.default = _moody
            body = {"model": "assistant", "prompt": "Where is my order? " * 470, "params": {"max_tokens": 200}}
            who = {"workflow": "support chat", "user": "mara", "tags": {"channel": "web"}, "stream": True}
            call = await client.post("/generate", json=body | who)
            yield f"http://127.0.0.1:{parts.port}", call.headers["x-farthing-id"]


async def _moody(connection: Connection, request: Request) -> None:
    """One provider is overloaded, the next one slow, and the third takes its time to say it all."""
    model = request.body["model"]
    if GPT.endswith(model):
        await asyncio.sleep(0.12)
        await status(503)(connection, request)
    elif SONNET.endswith(model):
        await hang()(connection, request)
    else:
        pause = asyncio.Event()
        asyncio.get_running_loop().call_later(0.9, pause.set)
        await asyncio.sleep(0.24)
        await stream(["It left ", pause, "this morning."], prompt_tokens=2380, completion_tokens=164)(
            connection, request
        )


async def shoot(browser: Browser, url: str, call: str, name: str, folder: Path) -> None:
    """One picture."""
    address, theme, width, height = SHOTS[name]
    page = await browser.new_page(color_scheme=theme, viewport={"width": width, "height": height})
    await page.goto(f"{url}/{address.format(call=call)}")
    await page.locator(".chart canvas, main table").first.wait_for()
    # Not until nothing is loaded any more: the live view never comes to that.
    await page.wait_for_timeout(SETTLED_MS)
    await page.screenshot(path=folder / f"{name}.png")
    await page.close()


async def main() -> None:
    """All pictures."""
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        async with a_busy_service(Path(work)) as (url, call), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
            for name in SHOTS:
                await shoot(browser, url, call, name, folder)
            await browser.close()


if __name__ == "__main__":
    uvloop.run(main())
