"""Reports against independent oracles: rows sum to the total, quantiles are within 2 %, any window."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.latency import RATIO, Tally, bucket_of, middle_us
from ledger.reports import (
    FIRST_MS,
    LAST_MS,
    SPEND_DIMENSIONS,
    GenerationsQuery,
    LatencyQuery,
    OutOfTime,
    SpendQuery,
    UnknownDimension,
    check_query,
    is_moment_of,
    iso,
    moment_of,
    parse_moment,
)
from ledger.usage import Usage
from service.http.filters import read_filters
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, admit_and_settle
from tests.ledger.drawn import holds

MOMENTS = st.integers(0, 5 * HOUR_MS) | st.integers(0, 4 * DAY_MS)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["a:m", "a:n", "b:m"]),
        MOMENTS,
        st.sampled_from(["ok", "ok", "upstream_error", "aborted"]),
        st.sampled_from(["priced_usage", "estimated"]),
        st.integers(0, 1000),
        st.integers(1, 10**7),
    ),
    min_size=1,
    max_size=12,
)


def test_both_reports_agree_with_a_plain_reckoning(home):
    holds(check, home, CALLS, MOMENTS, MOMENTS, examples={"sqlite": 25, "postgresql": 4})


async def check(home, calls, since, length):
    since_ms, until_ms = BEGAN_MS + since, BEGAN_MS + since + length
    clock = Clock()
    async with a_ledger(home, clock=clock) as ledger:
        for deployment, offset_ms, outcome, basis, cost, latency_us in calls:
            clock.at_ms = BEGAN_MS + offset_ms
            request = a_call(deployment=deployment, now_ms=clock.at_ms)
            usage = Usage(input_tokens=cost, output_tokens=1)
            await admit_and_settle(
                ledger, request, outcome=outcome, cost=cost, basis=basis, usage=usage, latency_us=latency_us
            )
        inside = [call for call in calls if since_ms <= BEGAN_MS + call[1] < until_ms]
        window = {"since_ms": since_ms, "until_ms": until_ms}
        for group_by in ((), ("model",), ("provider", "hour"), ("outcome",), ("basis", "day")):
            report = await ledger.spend(SpendQuery(**window, group_by=group_by))
            total = report["total"]
            assert total["cost_nanousd"] == sum(call[4] for call in inside)
            assert total["estimated_nanousd"] == sum(call[4] for call in inside if call[3] == "estimated")
            assert total["wasted_nanousd"] == sum(call[4] for call in inside if call[2] != "ok")
            assert total["attempts"] == total["generations"] == len(inside)
            assert total["prompt_tokens"] == sum(call[4] for call in inside)
            for measure in ("cost_nanousd", "attempts", "generations", "prompt_tokens", "wasted_nanousd"):
                assert not group_by or sum(row[measure] for row in report["rows"]) == total[measure]
        reports = [
            await ledger.latency(LatencyQuery(**window, group_by=group_by))
            for group_by in ((), ("model",), ("provider", "day"), ("hour",), ("month",))
        ]
        assert all(report["total"] == reports[0]["total"] for report in reports)
        for report in reports[1:]:
            assert sum(row["count"] for row in report["rows"]) == report["total"]["count"]
        for row in reports[2]["rows"]:
            on_day = [
                call for call in inside if call[0][0] == row["provider"] and iso(BEGAN_MS + call[1])[:10] == row["day"]
            ]
            assert row["count"] + row["errors"] == sum(call[2] != "aborted" for call in on_day)
        latency = reports[0]["total"]
        good = sorted(call[5] for call in inside if call[2] == "ok")
        assert latency["count"] == len(good)
        assert latency["errors"] == sum(call[2] == "upstream_error" for call in inside)
        assert latency["ttft"].keys() == latency.keys() - {"ttft"}
        assert latency["ttft"]["errors"] == latency["errors"]
        if good:
            exact_ms = good[math.ceil(0.5 * len(good)) - 1] / 1000
            assert latency["p50_ms"] == pytest.approx(exact_ms, rel=0.02, abs=0.002)
            assert latency["max_ms"] == pytest.approx(good[-1] / 1000, abs=0.001)


async def test_days_hours_and_single_attempts_together_are_all_of_them_once(home):
    chance = random.Random(7)
    clock = Clock(BEGAN_MS + 6 * DAY_MS)
    spans = [(chance.randrange(4 * DAY_MS), chance.choice([1000, 2000, 700_000])) for _ in range(60)]
    edges = [0, DAY_MS, 4 * DAY_MS, *(chance.randrange(4 * DAY_MS) for _ in range(6))]
    edges = [edge - BEGAN_MS % HOUR_MS if chance.random() < 0.3 else edge for edge in edges]
    async with a_ledger(home, clock=clock) as ledger:
        for offset_ms, latency_us in spans:
            await admit_and_settle(ledger, a_call(now_ms=BEGAN_MS + offset_ms), latency_us=latency_us)
        for since, until in itertools.product(edges, edges):
            window = {"since_ms": BEGAN_MS + since, "until_ms": BEGAN_MS + until}
            inside = [latency_us for offset_ms, latency_us in spans if since <= offset_ms < until]
            for group_by in ((), ("hour",), ("day",)):
                total = (await ledger.latency(LatencyQuery(**window, group_by=group_by)))["total"]
                assert total["count"] == len(inside)
                assert total["max_ms"] == (max(inside) / 1000 if inside else None)
                assert total["mean_ms"] == (round(sum(inside) / len(inside) / 1000, 3) if inside else None)


@given(st.integers(1, 10**10))
def test_a_buckets_middle_is_within_one_per_cent_of_what_is_in_it(us):
    assert middle_us(bucket_of(us)) == pytest.approx(us, rel=RATIO - 1, abs=1)


def test_nothing_counted_has_no_quantiles():
    assert Tally().summary() == dict.fromkeys(["mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"])


async def test_the_dearest_names_stay_apart_and_the_others_are_one_group_at_each_moment(home):
    clock = Clock(BEGAN_MS // HOUR_MS * HOUR_MS)
    async with a_ledger(home, clock=clock) as ledger:
        for hour, costs in enumerate(({"p:a": 10, "p:b": 500, "p:c": 30}, {"p:a": 600, "p:c": 40, "p:d": 0, "p:e": 0})):
            clock.at_ms = BEGAN_MS // HOUR_MS * HOUR_MS + hour * HOUR_MS
            for deployment, cost in costs.items():
                await admit_and_settle(ledger, a_call(deployment=deployment, now_ms=clock.at_ms), cost=cost)
        first, second = (iso(clock.at_ms - back)[:13] + ":00:00Z" for back in (HOUR_MS, 0))

        async def told(top, *group_by):
            report = await ledger.spend(SpendQuery(group_by=group_by, top=top))
            assert sum(row["attempts"] for row in report["rows"]) == report["total"]["attempts"] == 7
            return {tuple(row[name] for name in group_by): row["cost_nanousd"] for row in report["rows"]}

        assert await told(2, "hour", "model") == {
            (first, "p:a"): 10, (first, "p:b"): 500, (first, None): 30, (second, "p:a"): 600, (second, None): 40,
        }  # fmt: skip
        assert await told(1, "model") == {("p:a",): 610, (None,): 570}
        assert await told(1, "hour") == await told(0, "hour") == {(first,): 540, (second,): 640}
        assert await told(9, "model") == await told(0, "model")


def test_what_a_report_does_not_keep_apart_is_named():
    with pytest.raises(UnknownDimension, match="colour"):
        check_query(SpendQuery(group_by=("colour",)))
    with pytest.raises(UnknownDimension, match="workflow"):
        check_query(LatencyQuery(filters={"workflow": "w"}))


def test_a_window_ends_no_sooner_than_it_begins():
    check_query(SpendQuery(since_ms=1000, until_ms=1000))
    check_query(SpendQuery(until_ms=0))
    with pytest.raises(
        ValueError, match=r"ends at 1970-01-01T00:00:00.999Z, before it begins at 1970-01-01T00:00:01.000Z"
    ):
        check_query(LatencyQuery(since_ms=1000, until_ms=999))


def test_moments_are_read_as_people_write_them():
    assert parse_moment("1970-01-02", 0) == 86_400_000
    assert parse_moment("1970-01-01T01:00:00+01:00", 0) == 0
    assert parse_moment("2h", 10 * HOUR_MS) == 8 * HOUR_MS
    with pytest.raises(ValueError, match="no moment"):
        parse_moment("yesterday", 0)


@given(st.integers(FIRST_MS, LAST_MS))
def test_every_moment_that_is_written_is_read_back(moment_ms):
    assert parse_moment(iso(moment_ms), 0) == moment_ms


def test_a_moment_beyond_all_years_is_told_as_the_last_or_first_of_them():
    assert (iso(LAST_MS), iso(FIRST_MS)) == ("9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z")
    assert (iso(LAST_MS + 1), iso(1 << 62)) == (iso(LAST_MS), iso(LAST_MS))
    assert (iso(FIRST_MS - 1), iso(-(1 << 62))) == (iso(FIRST_MS), iso(FIRST_MS))


@pytest.mark.parametrize(
    "text",
    [
        "999999d",
        "99999999999d",
        "9" * 5000 + "d",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_a_moment_beyond_all_years_is_not_asked_for(text):
    with pytest.raises(OutOfTime, match=r"years? .*1 to 9999"):
        parse_moment(text, BEGAN_MS)


def test_a_moment_that_no_report_writes_is_known_as_such():
    assert moment_of("hour", 10 * HOUR_MS + 1) == "1970-01-01T10:00:00Z"
    assert is_moment_of("hour", "1970-01-01T10:00:00Z")
    assert is_moment_of("day", "1970-01-01")
    assert is_moment_of("month", "1970-01")
    written = [
        "",
        "24h",
        "1970",
        "1970-01",
        "1970-1-1",
        "1970-02-30",
        "1970-01-01T10:30:00Z",
        "9" * 5000 + "h",
        "\xb2d",
    ]
    assert not any(is_moment_of("hour", text) or is_moment_of("day", text) for text in (*written, "+19700101"))
    assert not is_moment_of("month", "1970-01-01")


async def test_whatever_rows_say_a_report_and_its_page_can_be_narrowed_to(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(), outcome="upstream_error")
        await ledger.admit(a_call(now_ms=BEGAN_MS - 40 * DAY_MS))
        dimensions = ("outcome", "basis", "hour", "day", "month")
        rows = (await ledger.spend(SpendQuery(group_by=dimensions)))["rows"]
        assert sorted(row["outcome"] for row in rows) == ["open", "upstream_error"]
        for row in rows:
            said = {name: row[name] for name in dimensions}
            filters = read_filters(said, SPEND_DIMENSIONS)
            assert filters == said
            assert (await ledger.spend(SpendQuery(group_by=dimensions, filters=filters)))["rows"] == [row]
            assert len((await ledger.generations(GenerationsQuery(filters={"day": row["day"]})))["generations"]) == 1


async def test_one_calls_story_has_its_hold_and_its_line(home):
    async with a_ledger(home) as ledger:
        request = a_call(held=1000)
        await admit_and_settle(ledger, request, cost=400)
        story = await ledger.generation(request.facts.generation_id)
        assert story["cost_usd"] == "0.000000400"
        (attempt,) = story["attempts"]
        assert (attempt["state"], attempt["held_nanousd"], attempt["outcome"]) == ("settled", 1000, "ok")
        (posting,) = attempt["postings"]
        assert (posting["seq"], posting["cost_nanousd"], posting["input_tokens"]) == (1, 400, 3)
        assert await ledger.generation("gen_nobody") is None
