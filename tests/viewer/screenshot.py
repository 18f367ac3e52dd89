"""`python -m tests.viewer.screenshot [FILE]`: a hedged call in Arize Phoenix, as the README shows it."""

import sys
import tempfile
from pathlib import Path

import uvloop
from playwright.async_api import async_playwright

from tests.browser.house import CHROMIUM, SWITCHES
from tests.viewer.house import ROOT, a_phoenix, two_calls

FILE = ROOT / "deploy" / "screenshots" / "phoenix.png"


async def _take(file: Path, folder: Path) -> None:
    async with (
        a_phoenix(folder) as phoenix,
        two_calls(folder, phoenix) as (_, hedged),
        async_playwright() as playwright,
    ):
        trace_id = hedged.json()["trace_id"]
        _, chat, *_ = await phoenix.spans(trace_id, 4)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        page = await browser.new_page(viewport={"width": 1360, "height": 900})
        address = await phoenix.page(trace_id)
        await page.goto(f"{address}?selectedSpanNodeId={chat['id']}")
        await page.get_by_text("Output Messages").first.wait_for(timeout=60_000)
        await page.screenshot(path=file)
        await browser.close()


def main() -> None:
    """Take it."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="farthing-viewer-") as folder:
        uvloop.run(_take(file, Path(folder)))


if __name__ == "__main__":
    main()
