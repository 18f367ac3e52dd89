"""What every view shares: both themes, every width, the keyboard, keys, and what is said where there is nothing."""

import pytest

from service.auth.issuing import KeyWish, new_key
from service.auth.secret import new_secret
from tests.service.http.scripted import a_service

VIEWS = ("spend", "latency")
WIDTHS = {"phone": (360, 740), "wall": (2560, 1440)}


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_view_passes_axe(house, theme):
    async with house.page(theme=theme) as page:
        for view in VIEWS:
            await page.goto(f"{house.url}/?view={view}&model=up:large")
            await page.locator("table, .chart").first.wait_for()
            for summary in await page.get_by_text("As a table").all():
                await summary.click()
            await house.is_accessible(page)


@pytest.mark.parametrize("device", WIDTHS)
async def test_nothing_is_wider_than_the_screen(house, device):
    width, height = WIDTHS[device]
    async with house.page(width=width, height=height) as page:
        for view in VIEWS:
            await page.goto(f"{house.url}/?view={view}")
            await page.locator(".chart").first.wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") == width, view
            # The drawing fills what there is, and no more.
            canvas = page.locator(".chart .canvas").first
            inner, outer = await canvas.locator("canvas").bounding_box(), await canvas.bounding_box()
            assert abs(inner["width"] - outer["width"]) <= 1, view


async def test_the_theme_is_kept_and_charts_change_with_it(house):
    async with house.page(theme="light") as page:
        for other in ("Dark theme", "Light theme"):
            await page.get_by_role("button", name=other).click()
            await page.reload()
            scheme = await page.evaluate("getComputedStyle(document.documentElement).colorScheme")
            assert scheme == other.split()[0].lower()


async def test_the_keyboard_skips_to_the_content_and_views_take_the_focus(house):
    async with house.page() as page:
        await page.locator(".chart").first.wait_for()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"


async def test_who_may_see_what(house, tmp_path):
    file = tmp_path / "farthing.toml"
    file.write_text(f'[server]\nauth = "required"\n[ledger]\nurl = "sqlite:{tmp_path}/keys.db"\n', "utf-8")
    async with a_service(file) as (parts, _):
        secrets = {}
        for role in ("caller", "reader"):
            secrets[role] = new_secret()
            key = new_key(
                KeyWish(name=role, role=role), secrets[role], resolve=lambda name: None, now_ms=parts.now_ms()
            )
            await parts.keyring.create(key, secrets[role])
        refused = ("401 (Unauthorized)", "403 (Forbidden)")
        async with house.page(url=f"http://127.0.0.1:{parts.port}", expected=refused) as page:
            field = page.get_by_label("Key")
            await field.wait_for()
            await house.is_accessible(page)
            await field.fill("fk_nobodys")
            await page.keyboard.press("Enter")
            await page.get_by_text("This key is not known").wait_for()
            await field.fill(secrets["caller"].text.decode())
            await page.keyboard.press("Enter")
            await page.get_by_text("This takes a key of the role reader; this one's role is caller.").first.wait_for()
            await house.is_accessible(page)
            await page.get_by_role("button", name="Sign out").click()
            await field.fill(secrets["reader"].text.decode())
            await page.keyboard.press("Enter")
            await page.get_by_text("No calls in this window").wait_for()
            await page.get_by_text("No ceilings").wait_for()
            await house.is_accessible(page)
            await page.reload()
            await page.get_by_text("No calls in this window").wait_for()
            kept = await page.evaluate("[Object.keys(sessionStorage), Object.keys(localStorage), document.cookie]")
            assert kept == [["farthing.key"], [], ""]


async def test_a_service_that_fails_or_is_gone_is_said_and_what_was_known_stays(house):
    async with house.page(expected=("503", "ERR_FAILED")) as page:
        problem = {"status": 503, "code": "ledger_unavailable", "detail": "The ledger cannot be read just now."}
        await page.route("**/ledger/*", lambda route: route.fulfill(status=503, json=problem))
        await page.reload()
        await page.get_by_text(problem["detail"]).first.wait_for()
        await house.is_accessible(page)
        await page.unroute("**/ledger/*")
        await page.clock.install()
        await page.reload()
        await page.locator(".chart").first.wait_for()
        await page.route("**/ledger/*", lambda route: route.abort())
        await page.clock.fast_forward(11_000)
        await page.get_by_text("The service does not answer.").first.wait_for()
        assert await page.locator(".chart").count() == 2
        await page.unroute("**/ledger/*")
        await page.clock.fast_forward(11_000)
        await page.get_by_text("The service does not answer.").first.wait_for(state="detached")


async def test_a_page_that_nobody_sees_asks_nothing(house):
    async with house.page() as page:
        await page.locator(".chart").first.wait_for()
        await page.clock.install()
        await page.reload()
        await page.locator(".chart").first.wait_for()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        hide = "isHidden => { Object.defineProperty(document, 'hidden', {value: isHidden, configurable: true}); "
        hide += "document.dispatchEvent(new Event('visibilitychange')) }"
        await page.evaluate(hide, True)
        await page.clock.fast_forward(60_000)
        assert asked == []
        async with page.expect_request("**/ledger/spend?*"):
            await page.evaluate(hide, False)
            await page.clock.fast_forward(1)
