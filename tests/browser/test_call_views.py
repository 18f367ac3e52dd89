"""Live calls and one call's story: what begins shows up, and failovers and hedges are told as the ledger has them."""

import re
from contextlib import AsyncExitStack

import pytest

from tests.upstream import answer, hang, status, stream

EASY = answer("ok", prompt_tokens=9, completion_tokens=7)


async def waterfall(page):
    """[(deployment, note, outcome)] of the attempts, and of each its bar: {kind: (from, length)} in percent."""
    table = page.get_by_role("region", name="Attempts along time")
    await table.wait_for()
    rows, bars = [], []
    for row in (await table.locator("tbody tr").all())[1:]:
        name, note = (await row.locator("th").inner_text()).split("\n")
        # How long it was queued is the machine's business.
        rows.append((name, note.partition(" · queued")[0], await row.locator(".badge").inner_text()))
        places = "all => all.map(it => [it.classList[0], parseFloat(it.getAttribute('x')), it.getAttribute('width')])"
        parts = await row.locator("rect").evaluate_all(places)
        bars.append({kind: (at, float(length.rstrip("%"))) for kind, at, length in parts})
    return rows, bars


async def charged(page):
    """{what: [its tokens, price and cost]} of the arithmetic, and the sum."""
    table = page.get_by_role("region", name="Tokens and prices")
    found = {}
    for row in await table.locator("tbody tr:not(.group):not(.sum)").all():
        found[await row.locator("th").inner_text()] = await row.locator("td").all_inner_texts()
    return found, await table.locator("tfoot td").last.inner_text()


async def go(page, address):
    """As a link within the page does: nothing is loaded anew."""
    await page.evaluate("href => import('./dashboard/lib/address.js').then(it => it.go(href))", address)


async def a_hedged_call(house):
    async def by_deployment(connection, request):
        slow = request.body["model"] == "large"
        await (hang() if slow else stream(["quick"], prompt_tokens=9, completion_tokens=1))(connection, request)

    house.upstream.default = by_deployment
    try:
        return await house.ask("hedge", model="hedged", workflow="summarise")
    finally:
        house.upstream.default = EASY


async def test_a_call_shows_up_as_it_begins_and_its_story_opens(house):
    house.upstream.plays(status(500), stream(["half ", "a"], then="hang", prompt_tokens=9, completion_tokens=2))
    body = {"model": "chat", "prompt": "live", "workflow": "translate", "stream": True}
    async with house.page("?view=live") as page, AsyncExitStack() as calling:
        await page.get_by_text("0 in progress").wait_for()
        await calling.enter_async_context(house.client.stream("POST", "/generate", json=body))
        newest = page.get_by_role("region", name="Calls, newest first").locator("tbody tr").first
        await newest.get_by_text("answering").wait_for()
        await newest.get_by_text(re.compile("2 attempts")).wait_for()
        await page.get_by_text("1 in progress").wait_for()
        await calling.aclose()
        await newest.get_by_text("caller left").wait_for()
        await newest.get_by_role("link").click()
        rows, _ = await waterfall(page)
        assert rows == [
            ("up:large", "attempt 1", "upstream error"),
            ("spare:small", "attempt 2", "aborted"),
        ]


async def test_live_calls_can_be_narrowed_and_paused(house):
    async with house.page("?view=live&kind=failed&q=nowhere") as page:
        await page.get_by_text("Nothing matches").wait_for()
        await page.get_by_role("searchbox").fill("")
        await page.get_by_text("All", exact=True).click()
        table = page.get_by_role("region", name="Calls, newest first")
        await table.get_by_text("from the cache").first.wait_for()
        await page.get_by_role("button", name="Pause").click()
        before = await table.locator("tbody tr").count()
        await house.ask("while it was paused", workflow="translate")
        await page.get_by_text("paused, 1 newer").wait_for()
        assert await table.locator("tbody tr").count() == before
        await page.get_by_role("button", name="Go on").click()
        await table.locator("tbody tr").nth(before).wait_for()
        await page.get_by_text("0 in progress").wait_for()
        assert await table.locator("tbody tr").count() == before + 1


@pytest.mark.parametrize("width", [1024, 1280, 1920])
async def test_a_long_name_of_a_caller_hides_nothing_of_the_others(house, width):
    for user in ("0123456789abcdef" * 4, "a user whose name is a sentence " * 4):
        await house.ask("who?", user=user, workflow="w" * 100)
    async with house.page("?view=live", width=width) as page:
        table = page.get_by_role("region", name="Calls, newest first")
        await table.get_by_text("0123456789abcdef").first.wait_for()
        # Nothing of it is beyond the edge.
        shown, whole = await table.evaluate("it => [it.clientWidth, it.scrollWidth]")
        assert whole <= shown
        who = await table.locator("thead th").last.bounding_box()
        assert who["width"] < shown / 2


async def test_a_correction_downwards_has_its_sign_before_the_dollar(house):
    async def corrected(route):
        answer = await route.fetch()
        story = await answer.json()
        story["cost_usd"] = story["attempts"][0]["postings"][0]["cost_usd"] = "-1.499000000"
        story["cost_nanousd"] = -1_499_000_000
        await route.fulfill(response=answer, json=story)

    call = await house.ask("corrected")
    async with house.page("?view=latency") as page:
        await page.route("**/ledger/generations/*", corrected)
        await page.goto(f"{house.url}/?view=call&id={call['id']}")
        table = page.get_by_role("region", name="Tokens and prices")
        assert await table.locator("tr.sum td").last.inner_text() == "-$1.499000000"
        assert await table.locator("tfoot td").last.inner_text() == "-$1.499000000"
        cost = page.get_by_label("In short").locator("data")
        assert await cost.get_attribute("title") == "-$1.499000000"


async def test_stories_have_the_ledgers_numbers_failed_over_and_hedged(house):
    house.upstream.plays(status(500))
    call = await house.ask("fails over", workflow="summarise")
    async with house.page(f"?view=call&id={call['id']}", expected=("404",)) as page:
        rows, bars = await waterfall(page)
        assert rows == [("up:large", "attempt 1", "upstream error"), ("spare:small", "attempt 2", "ok")]
        # The second begins where the first has ended, or later.
        assert bars[1]["wait"][0] >= sum(bars[0]["wait"]) - 0.5
        assert await charged(page) == (
            {"input": ["9", "$100", "$0.0009"], "output": ["7", "$200", "$0.0014"]},
            f"${call['cost_usd']}",
        )
        link = page.get_by_role("link", name=call["trace_id"])
        assert await link.get_attribute("href") == f"http://127.0.0.1:16686/trace/{call['trace_id']}"
        await page.get_by_role("region", name="Holds of each attempt").get_by_text("month global").first.wait_for()
        call = await a_hedged_call(house)
        await go(page, f"?view=call&id={call['id']}")
        await page.get_by_text("1 of them a hedge").wait_for()
        rows, bars = await waterfall(page)
        assert rows == [("up:large", "attempt 1", "aborted"), ("spare:small", "attempt 2 · hedge", "ok")]
        assert bars[0]["wait"][0] < bars[1]["wait"][0]
        _, cost = await charged(page)
        assert cost == f"${call['cost_usd']}"
        await go(page, "?view=call&id=gen_nobody")
        await page.get_by_text("There is no generation 'gen_nobody' here").wait_for()
        await go(page, "?view=call")
        await page.get_by_text("Which call?").wait_for()
