"""`python -m tests.viewer.screenshot [FILE]`: a hedged call in Arize Phoenix, as the README shows it."""

import sys
import tempfile
from pathlib import Path

import uvloop
from playwright.async_api import async_playwright

from tests.browser.house import CHROMIUM, SWITCHES
from tests.viewer.house import CAPITAL, ROOT, a_phoenix, two_calls

FILE = ROOT / "deploy" / "screenshots" / "phoenix.png"
# Its page is a large one, and this machine may be busy.
WAIT_MS = 90_000


async def _take(file: Path, folder: Path) -> None:
    async with (
        a_phoenix(folder) as phoenix,
        two_calls(folder, phoenix) as (_, hedged),
        async_playwright() as playwright,
    ):
        trace_id = hedged.json()["trace_id"]
        await phoenix.spans(trace_id, 4)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        page = await browser.new_page(viewport={"width": 1360, "height": 900})
        await page.goto(phoenix.page(trace_id), timeout=WAIT_MS)
        await page.get_by_text("chat gpt-4o-mini").first.click(timeout=WAIT_MS)
        await page.get_by_text(CAPITAL).first.wait_for(timeout=WAIT_MS)
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
