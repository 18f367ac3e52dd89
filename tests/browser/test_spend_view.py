"""The spend view of a service that has just answered calls: the report's numbers, brought back by their address."""

import re
from collections import defaultdict

import pytest


async def told_by_table(page, group="model"):
    """{name: [the exact values of a row]} of the table below the charts."""
    table = page.get_by_role("region", name=f"Spend by {group}")
    await table.wait_for()
    return {
        await row.locator("th").inner_text(): await row.locator("data").evaluate_all("all => all.map(it => it.value)")
        for row in await table.locator("tbody tr").all()
    }


async def tile(page, name):
    return page.get_by_label("Totals").locator("div", has=page.get_by_text(name, exact=True))


def columns_of(row):
    saved, wasted = (f"{row[name] // 10**9}.{row[name] % 10**9:09}" for name in ("saved_nanousd", "wasted_nanousd"))
    counts = [str(row[name]) for name in ("generations", "prompt_tokens", "completion_tokens")]
    return [row["cost_usd"], *counts, saved, wasted]


async def test_the_numbers_are_those_of_the_report(house):
    report = await house.get("/ledger/spend?group_by=model")
    by_hour = await house.get("/ledger/spend?group_by=hour,model")
    total = report["total"]
    async with house.page() as page:
        assert await told_by_table(page) == {row["model"]: columns_of(row) for row in report["rows"]}
        assert await (await tile(page, "Spent")).locator("data").get_attribute("value") == total["cost_usd"]
        calls = await (await tile(page, "Calls")).inner_text()
        assert calls.split("\n")[1:] == [
            f"{total['generations']}",
            f"{total['attempts']} attempts, {total['refused']} refused",
        ]
        assert f"{total['cache_hits']} hits" in await (await tile(page, "Cache ratio")).inner_text()
        meter = page.get_by_role("meter", name="global")
        assert re.match(r"\$\S+ spent, \$0 held, \$\S+ left", await meter.get_attribute("aria-valuetext"))
        # What the bars show, by the chart's own table.
        chart = page.get_by_role("region", name="Spend by hour", exact=True)
        await chart.get_by_text("As a table").click()
        await chart.locator("tbody td").last.wait_for()
        names = (await chart.locator("thead th").all_inner_texts())[1:]
        hours = [await row.locator("td").all_inner_texts() for row in await chart.locator("tbody tr").all()]
        assert len(hours) == 25
        expected = defaultdict(dict)
        for row in by_hour["rows"]:
            expected[row["hour"]][row["model"]] = row["cost_nanousd"]
        amounts = [[expected[hour].get(name, 0) for name in names] for hour in sorted(expected)]
        shown = """async all => {
            const { usd } = await import("./dashboard/lib/format.js");
            return all.map((hour) => hour.map(usd));
        }"""
        assert [hour for hour in hours if set(hour) != {"$0"}] == await page.evaluate(shown, amounts)


# {tile: what of it is drawn beyond its own edges}, in pixels.
BEYOND = """all => Object.fromEntries(all.map((tile) => {
    const { left, right } = tile.getBoundingClientRect();
    const drawn = [...tile.children].map((it) => {
        const range = document.createRange();
        range.selectNodeContents(it);
        return range.getBoundingClientRect();
    });
    return [tile.firstChild.textContent, Math.max(...drawn.map((it) => Math.max(left - it.left, it.right - right)))];
}))"""
LARGE = {"cost_nanousd": 23_456_780_000_000, "held_nanousd": 1_234_500_000_000, "prompt_tokens": 1_234_567_000}
SMALL = {"saved_nanousd": 954_000, "wasted_nanousd": 7950}


@pytest.mark.parametrize("width", [390, 600, 768, 1024, 1280, 1440, 1920])
async def test_a_long_figure_stays_within_its_tile(house, width):
    async def enlarged(route):
        answer = await route.fetch()
        report = await answer.json()
        report["total"] |= LARGE | SMALL
        await route.fulfill(response=answer, json=report)

    async with house.page("?view=latency", width=width) as page:
        await page.route("**/ledger/spend*", enlarged)
        await page.goto(f"{house.url}/?view=spend")
        await (await tile(page, "Spent")).get_by_text("$23,456.78").wait_for()
        beyond = await page.get_by_label("Totals").locator("> div").evaluate_all(BEYOND)
        assert len(beyond) == 7
        assert {name: pixels for name, pixels in beyond.items() if pixels > 0} == {}
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_a_link_keeps_group_window_filters_and_sum_through_a_reload_and_back(house):
    async with house.page("?view=spend&since=7d") as page:
        await page.get_by_label("Group by").select_option("workflow")
        # A name is text, whatever is in it.
        await page.get_by_role("link", name="<b>search</b>").click()
        await page.get_by_text("Running total").click()
        await page.get_by_text("24 hours").click()
        address = page.url
        assert address.endswith("?view=spend&since=24h&group=workflow&workflow=%3Cb%3Esearch%3C%2Fb%3E&sum=running")
        report = await house.get("/ledger/spend?group_by=workflow&workflow=%3Cb%3Esearch%3C%2Fb%3E")
        expected = {row["workflow"]: columns_of(row) for row in report["rows"]}
        assert list(expected) == ["<b>search</b>"]
        assert await told_by_table(page, "workflow") == expected
        await page.reload()
        assert await told_by_table(page, "workflow") == expected
        assert page.url == address
        assert await page.get_by_label("24 hours").is_checked()
        assert await page.get_by_label("Running total").is_checked()
        await page.go_back()
        await page.wait_for_url("**since=7d**")
        assert await page.get_by_label("7 days").is_checked()
        await page.get_by_role("link", name="workflow: <b>search</b>").click()
        assert len(await told_by_table(page, "workflow")) >= 3


async def test_new_calls_appear_by_themselves(house):
    async with house.page("?workflow=fresh") as page:
        await page.get_by_text("Nothing matches").wait_for()
        await page.clock.install()
        await house.ask("five", workflow="fresh")
        await page.reload()
        assert (await told_by_table(page)).keys() == {"up:large"}
        await house.ask("six", workflow="fresh")
        await page.clock.fast_forward(11_000)
        await (await tile(page, "Calls")).get_by_text("2 attempts").wait_for()


async def test_the_arrow_keys_read_the_chart_out(house):
    async with house.page() as page:
        chart = page.get_by_role("group", name="Spend by hour")
        await chart.focus()
        await page.keyboard.press("ArrowLeft")
        said = page.get_by_role("region", name="Spend by hour", exact=True).locator(".when")
        await said.get_by_text(re.compile(r"UTC.*up:large \$\d.*, spare:small \$\d", re.DOTALL)).wait_for()
