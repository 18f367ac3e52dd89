"""The dashboard's pure functions, as Chromium runs them: numbers as people read them, windows, groups, lines."""

NOW_MS = 1_795_275_000_000  # 2026-11-21T15:30:00Z
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS
MONTH_MS = MIDNIGHT_MS - 20 * DAY_MS
RUN = """async cases => {
    const results = [];
    for (const [file, name, given] of cases) {
        const module = await import(`./dashboard/lib/${file}.js`);
        results.push(module[name](...given));
    }
    return results;
}"""


def told(limit, spent, held=0):
    """A ceiling in dollars, as the report has it."""
    return {"unit": "usd", "limit_nanousd": limit, "spent_nanousd": spent, "held_nanousd": held}


def ceiling(scope, window, unit="usd"):
    return {"scope": scope, "window": window, "unit": unit, "limit_nanousd": 5 * 10**9, "limit": 5}


def a_row(hour, model, cost):
    return {"hour": f"2026-11-21T{hour:02}:00:00Z", "model": model, "cost_nanousd": cost}


def lines(ceilings, **options):
    wanted = {"filters": {}, "bucket": "day", "isRunning": False, **options}
    return "ceilings", "linesOf", [ceilings, wanted]


HERE = {"since_ms": MIDNIGHT_MS, "until_ms": MIDNIGHT_MS + 3 * HOUR_MS, "bucket": "hour"}
STARTS = [MIDNIGHT_MS + hour * HOUR_MS for hour in range(3)]
MONTHLY, DAILY = ceiling("global", "month"), ceiling("global", "day")
OF_KEY, IN_TOKENS = ceiling("key:k", "day"), ceiling("global", "day", "tokens")
SPENT = {"unit": "usd", "limit_usd": "100.000000000", "spent_usd": "80.120000000", "threshold": 0.8}
SINCE = {"deployment": "p:m", "since": "2026-11-21T10:30:00.000Z", "last_status": 401, "last_code": "invalid_api_key"}


def an_alert(kind, **facts):
    return "alerts", "toldOf", [{"type": kind, "facts": facts}]


def shown(tone, title, text):
    return {"tone": tone, "title": title, "text": text}


CASES = [
    (an_alert("ceiling.threshold", scope="global", window="hour", **SPENT),
     shown("warn", "A ceiling comes near", "global, an hour: $80.12 of $100.00 spent, over 80 %.")),
    (an_alert("ceiling.forecast", scope="team:a", window="month", falls_at="2026-11-25T03:00:00.000Z", **SPENT),
     shown("warn", "A ceiling will not last",
           "team:a, a month: $80.12 of $100.00 spent. At this rate the limit falls on 2026-11-25 03:00 UTC.")),
    (an_alert("spend.anomaly", key="key_1", key_name="ci", hour="2026-11-21T10:00:00.000Z", spent_usd="9.000000000",
              usual_usd="0.250000000"),
     shown("warn", "A key spends far more than usual",
           "ci: $9.00 in the hour from 2026-11-21 10:00 UTC, where $0.25 is usual.")),
    (an_alert("model.unpriced", deployment="p:m"), shown("warn", "A model has no price", "p:m was asked for.")),
    (an_alert("provider.key_refused", **SINCE),
     shown("bad", "A provider refuses our key", "p:m, since 2026-11-21 10:30 UTC: HTTP 401 invalid_api_key.")),
    (an_alert("breaker.open_long", consecutive_failures=3, **SINCE),
     shown("warn", "A deployment has been out for long", "p:m, since 2026-11-21 10:30 UTC: 3 faults in a row.")),
    (an_alert("disk.low", free_bytes=512_000_000, low_bytes=1_000_000_000),
     shown("bad", "The disk is nearly full", "512 MB are left, less than 1,000.")),
    *((("format", "usd", [nanousd]), text) for nanousd, text in (
        (0, "$0"), (1, "$0.000000001"), (7950, "$0.00000795"), (123_456, "$0.000123"), (10**7, "$0.01"),
        (5 * 10**8, "$0.50"), (994_000_000, "$0.994"), (999_600_000, "$1.00"), (1_234_567_890, "$1.23"),
        (12_345_678 * 10**6, "$12,345.68"), (15 * 10**13, "$150,000"), (-5 * 10**8, "\N{MINUS SIGN}$0.50"),
    )),
    (("format", "limitUsd", [50 * 10**9]), "$50"),
    (("format", "limitUsd", [7_500_000_000]), "$7.50"),
    (("format", "exactUsd", [123_000]), "0.000123000"),
    (("format", "exactUsd", [-1_000_000_001]), "-1.000000001"),
    (("format", "dollars", ["-1.499000000"]), "-$1.499000000"),
    (("format", "dollars", ["0.000123000"]), "$0.000123000"),
    *((("format", "percent", given), text) for given, text in (
        ([0, 0], "\N{EN DASH}"), ([0, 5], "0 %"), ([1, 100_000], "< 0.1 %"), ([1, 18], "5.6 %"), ([999, 1000], "99 %"),
        ([5, 42], "12 %"), ([0.29, 1], "29 %"), ([994, 9950], "10 %"), ([1, 1], "100 %"), ([1001, 1000], "101 %"),
        ([3, 2], "150 %"),
    )),
    *((("format", "count", [number]), text) for number, text in ((99_999, "99,999"), (1_234_567, "1.23M"))),
    *((("format", "span", [ms]), text) for ms, text in (
        (None, "\N{EN DASH}"), (0.4, "0.4 ms"), (812.4, "812 ms"), (1234, "1.23 s"), (125_000, "2.08 min"),
    )),
    (("span", "spanOf", [{"since": "24h"}, NOW_MS]),
     {"since_ms": NOW_MS // HOUR_MS * HOUR_MS - DAY_MS, "until_ms": None, "bucket": "hour", "every_ms": 10_000}),
    (("span", "spanOf", [{"since": "month"}, NOW_MS]),
     {"since_ms": MONTH_MS, "until_ms": None, "bucket": "day", "every_ms": 30_000}),
    (("span", "spanOf", [{"since": "2026-11-01", "until": "2026-11-08"}, NOW_MS]),
     {"since_ms": MONTH_MS, "until_ms": MONTH_MS + 7 * DAY_MS, "bucket": "hour", "every_ms": 30_000}),
    (("span", "spanOf", [{"since": "7d"}, NOW_MS, {"isPaired": True}]),
     {"since_ms": NOW_MS // DAY_MS * DAY_MS - 7 * DAY_MS, "until_ms": None, "bucket": "day", "every_ms": 30_000}),
    (("span", "spanOf", [{"since": "24h"}, NOW_MS, {"isPaired": True}]),
     {"since_ms": NOW_MS // HOUR_MS * HOUR_MS - DAY_MS, "until_ms": None, "bucket": "hour", "every_ms": 10_000}),
    (("span", "spanOf", [{"since": "all"}, NOW_MS]),
     {"since_ms": None, "until_ms": None, "bucket": "month", "every_ms": 30_000}),
    (("span", "spanOf", [{"since": "nonsense"}, NOW_MS]),
     {"since_ms": NOW_MS // HOUR_MS * HOUR_MS - DAY_MS, "until_ms": None, "bucket": "hour", "every_ms": 10_000}),
    (("series", "bucketsOf", [[], HERE, NOW_MS]), STARTS),
    (("series", "bucketsOf", [[{"month": "2026-09"}], {"since_ms": None, "until_ms": None, "bucket": "month"}, NOW_MS]),
     [MONTH_MS - 61 * DAY_MS, MONTH_MS - 31 * DAY_MS, MONTH_MS]),
    (("series", "stacked", [[[1, 2], [3, 0], [0, 5]]]), [[1, 2], [4, 2], [4, 7]]),
    (("series", "runningTotal", [[1, 0, 4]]), [1, 1, 5]),
    (("ceilings", "fillOf", [told(10, 5, 3)]), {"spent": 0.5, "held": 0.3, "used": 0.8, "state": "tight"}),
    (("ceilings", "fillOf", [told(10, 12)]), {"spent": 1, "held": 0, "used": 1.2, "state": "full"}),
    (("ceilings", "fillOf", [told(0, 0)]), {"spent": 1, "held": 1, "used": 1, "state": "full"}),
    # A line is drawn only where it limits exactly what the chart shows.
    (lines([MONTHLY, DAILY, OF_KEY, IN_TOKENS]), [{"label": "limit $5 a day", "nanousd": 5 * 10**9}]),
    (lines([MONTHLY, DAILY], bucket="hour"), []),
    (lines([MONTHLY, DAILY], isRunning=True, since="month"), [{"label": "limit $5 a month", "nanousd": 5 * 10**9}]),
    (lines([MONTHLY, DAILY], isRunning=True, since="30d"), []),
    (lines([MONTHLY, DAILY], isRunning=True, since="today", bucket="hour"),
     [{"label": "limit $5 a day", "nanousd": 5 * 10**9}]),
    (lines([DAILY, OF_KEY], filters={"key": "k"}), [{"label": "limit $5 a day", "nanousd": 5 * 10**9}]),
    (lines([DAILY, OF_KEY], filters={"key": "k", "model": "m"}), []),
    (lines([DAILY, OF_KEY], filters={"basis": "estimated"}), []),
]  # fmt: skip


async def test_pure_functions_return_what_they_say(house):
    async with house.page() as page:
        results = await page.evaluate(RUN, [list(case) for case, _ in CASES])
        for ((_, name, given), expected), result in zip(CASES, results, strict=True):
            assert result == expected, (name, given)
        await _groups_go_by_weight_and_keep_their_colours(page)


async def _groups_go_by_weight_and_keep_their_colours(page):
    ranked = """async ([rows, starts]) => {
        const { coloursOf, groupsOf, valuesOf } = await import("./dashboard/lib/series.js");
        const groups = groupsOf(rows, starts, {bucket: "hour", group: "model", weightOf: (row) => row.cost_nanousd});
        const colours = coloursOf(groups);
        return groups.map((it) => [it.name, colours.get(it.name), valuesOf(it, (row) => row.cost_nanousd, 0)]);
    }"""
    rows = [a_row(0, "b", 5), a_row(2, "a", 3), a_row(1, None, 90), a_row(2, "b", 1), a_row(9, "late", 7)]
    found = await page.evaluate(ranked, [rows, STARTS])
    assert found == [["b", 1, [5, 0, 1]], ["a", 0, [0, 0, 3]], [None, -1, [0, 90, 0]]]
    found = await page.evaluate(ranked, [[*rows, a_row(0, "a", 9)], STARTS])
    assert [group[:2] for group in found] == [["a", 0], ["b", 1], [None, -1]]
