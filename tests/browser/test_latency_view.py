"""The latency view: quantiles of the report, over time and by model."""


async def shown_as_spans(page, spans):
    """These milliseconds as the page writes them."""
    write = """async all => {
        const { span } = await import("./dashboard/lib/format.js");
        return all.map(span);
    }"""
    return await page.evaluate(write, spans)


async def test_the_quantiles_are_those_of_the_report_and_one_model_alone_shows_all_of_its_own(house):
    await house.client.post("/generate", json={"prompt": "streamed", "stream": True})
    report = await house.get("/ledger/latency?group_by=model")
    first, *_ = sorted(report["rows"], key=lambda row: -row["count"])
    async with house.page("?view=latency") as page:
        table = page.get_by_role("region", name="Latency by model")
        await table.wait_for()
        row = await table.locator("tbody tr").first.locator("td").all_inner_texts()
        spans = [first[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]
        spans += [first["ttft"][name] for name in ("p50_ms", "p95_ms", "p99_ms")]
        assert row[2:] == await shown_as_spans(page, spans)
        legend = page.get_by_role("region", name="Whole answer", exact=True).locator(".legend")
        named = dict(zip(*[await legend.locator(of).all_inner_texts() for of in (".name", ".value")], strict=True))
        p95s = [row["p95_ms"] for row in report["rows"]]
        assert list(map(named.get, (row["model"] for row in report["rows"]))) == await shown_as_spans(page, p95s)

        await page.get_by_role("region", name="Whole answer", exact=True).get_by_text("p50").click()
        assert page.url.endswith("quantile=p50")
        assert first["model"] in await legend.inner_text()
        await table.get_by_role("link", name=first["model"]).click()
        await legend.get_by_text("p99").wait_for()
        assert await legend.locator(".name").all_inner_texts() == ["p50", "p95", "p99"]
        assert await legend.locator(".value").all_inner_texts() == await shown_as_spans(page, spans[:3])
        await page.reload()
        await legend.get_by_text("p99").wait_for()
