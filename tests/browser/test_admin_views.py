"""Deployments and keys: what admins do by hand, and what everybody else is told instead."""

import pytest

from ledger.events import EventRaised
from service.auth.issuing import KeyWish, new_key
from service.auth.secret import new_secret
from tests.service.http.scripted import a_service

DEPLOYMENT = "spare:small"


async def test_a_deployment_is_blocked_and_allowed_again(house):
    async with house.page("?view=deployments") as page:
        row = page.get_by_role("region", name="Standing of each").locator("tr", has_text=DEPLOYMENT)
        await row.get_by_role("button", name=f"Block {DEPLOYMENT}").click()
        dialog = page.get_by_role("dialog", name=f"Block {DEPLOYMENT}?")
        await house.is_accessible(page)
        await page.keyboard.press("Escape")
        await dialog.wait_for(state="hidden")
        await row.get_by_role("button", name="Block").click()
        await dialog.get_by_label("Why").fill("too dear")
        await dialog.get_by_role("button", name="Block it").click()
        try:
            await row.get_by_text("by hand: too dear").wait_for()
            hint = (await house.get("/router/hints?provider=spare"))["hints"][0]
            assert (hint["block"]["cause"], hint["block"]["reason"]) == ("operator", "too dear")
        finally:
            await row.get_by_role("button", name=f"Allow {DEPLOYMENT}").click()
        await row.get_by_text("available").wait_for()
        assert (await house.get("/router/hints?provider=spare"))["hints"][0]["block"] is None


async def test_a_key_is_made_shown_once_and_revoked(house):
    async with house.page("?view=keys", expected=("400 (Bad Request)",)) as page:
        await page.get_by_text("No keys yet").wait_for()
        await page.get_by_label("Name").fill("batch jobs")
        await page.get_by_label("Ceilings").fill("a lot")
        await page.get_by_role("button", name="Make it").click()
        await page.get_by_role("alert").get_by_text("'a lot' is none").wait_for()
        await page.get_by_label("Ceilings").fill("50/month, 5/day")
        await page.get_by_role("button", name="Make it").click()
        made = page.get_by_label("The new key")
        secret = await made.locator("code").inner_text()
        await house.is_accessible(page)
        answer = await house.client.get("/router/status", headers={"authorization": f"Bearer {secret}"})
        assert answer.json()["detail"] == "This takes a key of the role reader; this one's role is caller."
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await made.get_by_role("button", name="Copy").click()
        await made.get_by_role("button", name="Copied").wait_for()
        assert await page.evaluate("navigator.clipboard.readText()") == secret
        await made.get_by_role("button", name="I have it").click()
        assert secret not in await page.content()
        row = page.get_by_role("region", name="Keys, the oldest first").locator("tr", has_text="batch jobs")
        assert "$5.00 a day, $50.00 a month" in await row.inner_text()
        await row.get_by_role("button", name="Revoke batch jobs").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
        await row.get_by_text("revoked", exact=True).wait_for()
        answer = await house.client.get("/router/status", headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == 401


async def test_an_alert_is_told_and_seen_to(house):
    facts = {"hold_id": "gen_1.2", "scope": "team:a", "window": "month", "unit": "usd", "threshold": 0.8}
    facts |= {"limit_usd": "100.000000000", "spent_usd": "80.120000000"}
    raised = EventRaised(type="ceiling.threshold", dedup_key="a test", at_ms=house.parts.now_ms(), facts=facts)
    assert await house.parts.reports.raise_event(raised)
    async with house.page("?view=alerts") as page:
        alert = page.get_by_role("listitem").filter(has_text="team:a, a month")
        await alert.get_by_text("$80.12 of $100.00 spent, over 80 %.").wait_for()
        assert await alert.get_by_role("link", name="its call").get_attribute("href") == "?view=call&id=gen_1"
        await alert.get_by_text("Facts and deliveries").click()
        await house.is_accessible(page)
        await alert.get_by_role("button", name="Seen to").click()
        await page.get_by_text("All quiet").wait_for()
        await page.get_by_text("Seen to", exact=True).first.click()
        await alert.get_by_text("seen to by anonymous").wait_for()
    told = (await house.get("/alerts?state=acknowledged"))["alerts"]
    assert [(event["id"], event["acknowledged"]["by"]) for event in told] == [(raised.id, "anonymous")]


async def test_readers_see_why_they_may_not(house, tmp_path):
    file = tmp_path / "farthing.toml"
    file.write_text(f'[server]\nauth = "required"\n[ledger]\nurl = "sqlite:{tmp_path}/keys.db"\n', "utf-8")
    async with a_service(file) as (parts, _):
        secret = new_secret()
        key = new_key(KeyWish(name="r", role="reader"), secret, resolve=lambda name: None, now_ms=parts.now_ms())
        await parts.keyring.create(key, secret)
        url, refused = f"http://127.0.0.1:{parts.port}", ("401 (Unauthorized)", "403 (Forbidden)")
        async with house.page("?view=live", url=url, expected=refused) as page:
            await page.get_by_label("Key").fill(secret.text.decode())
            await page.keyboard.press("Enter")
            await page.get_by_text("No calls yet").wait_for()
            await page.get_by_role("link", name="Deployments").click()
            await page.get_by_text("by hand: This takes a key of the role admin").wait_for()
            assert await page.get_by_role("button", name="Block").count() == 0
            await page.get_by_role("link", name="Keys").click()
            await page.get_by_text("Not for this key").wait_for()
            assert await page.get_by_label("Name").count() == 0
            await house.is_accessible(page)


@pytest.mark.parametrize(("theme", "width"), [("light", 360), ("dark", 1280)])
async def test_these_views_pass_axe_and_fit_the_screen(house, theme, width):
    call = await house.ask(f"looked at in the {theme}", workflow="translate")
    regions = {"": "Tokens and prices", "Live": "Calls, newest first", "Deployments": "Standing of each"}
    async with house.page(f"?view=call&id={call['id']}", theme=theme, width=width) as page:
        for link, region in regions.items():
            if link:
                await page.get_by_role("link", name=link, exact=True).click()
            await page.get_by_role("region", name=region).wait_for()
            await house.is_accessible(page)
            assert await page.evaluate("document.documentElement.scrollWidth") == width, region
