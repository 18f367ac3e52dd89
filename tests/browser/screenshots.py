"""`python -m tests.browser.screenshots [FOLDER]`: the dashboard over a month of calls, as the README shows it."""

import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from playwright.async_api import Browser, async_playwright

from ledger.ledger import wall_ms
from tests.browser.history import DEPLOYMENTS, make_history
from tests.browser.house import CHROMIUM, SWITCHES
from tests.service.http.scripted import a_service
from tests.upstream import scripted_upstream

FOLDER = Path(__file__).parents[2] / "deploy" / "screenshots"
# name: (address, theme, width, height)
SHOTS = {
    "spend-light": ("?view=spend&since=7d", "light", 1360, 1130),
    "spend-dark": ("?view=spend&since=30d&group=workflow", "dark", 1360, 1130),
    "latency-dark": ("?view=latency&since=7d", "dark", 1360, 1130),
    "spend-phone": ("?view=spend&since=24h", "light", 390, 844),
}
CEILINGS = (
    ("global", "month", "20"),
    ("global", "day", "1.5"),
    ("team:support", "month", "15"),
    ("team:editorial", "month", "1"),
    ("model:openai:gpt-4o", "month", "12"),
    ("workflow:code review", "month", "8"),
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
    blocks += [
        f'[[ceilings]]\nscope = "{scope}"\nwindow = "{window}"\nlimit_usd = "{limit}"'
        for scope, window, limit in CEILINGS
    ]
    return "\n".join(blocks)


@asynccontextmanager
async def a_busy_service(folder: Path) -> AsyncIterator[str]:
    """Where a service listens that has a month behind it."""
    await make_history(folder / "farthing.db", wall_ms())
    async with scripted_upstream() as upstream:
        file = folder / "farthing.toml"
        file.write_text(config(folder, upstream.url), "utf-8")
        async with a_service(file) as (parts, _):
            yield f"http://127.0.0.1:{parts.port}"


async def shoot(browser: Browser, url: str, name: str, folder: Path) -> None:
    """One picture."""
    address, theme, width, height = SHOTS[name]
    page = await browser.new_page(color_scheme=theme, viewport={"width": width, "height": height})
    await page.goto(f"{url}/{address}", wait_until="networkidle")
    await page.locator(".chart canvas").first.wait_for()
    await page.screenshot(path=folder / f"{name}.png")
    await page.close()


async def main() -> None:
    """All pictures."""
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        async with a_busy_service(Path(work)) as url, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
            for name in SHOTS:
                await shoot(browser, url, name, folder)
            await browser.close()


if __name__ == "__main__":
    uvloop.run(main())
