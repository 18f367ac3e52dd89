"""A ceiling's fall is foretold from its rate, neither too early nor for a trifle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS, CeilingStatus, window_span
from ledger.reports import iso
from service.watch.forecast import RECENT_MS, forecast, forecasts

AT_MS = 1_795_219_200_000  # 2026-11-21, midnight


def a_status(spent, *, window="day", unit="usd", limit=2400, scope="team:a", at_ms=AT_MS):
    span = window_span(window, at_ms)
    return CeilingStatus(
        scope=scope,
        window=window,
        unit=unit,
        limit=limit,
        spent=spent,
        held=0,
        starts_at_ms=span.starts_at_ms,
        ends_at_ms=span.ends_at_ms,
    )


@pytest.mark.parametrize(
    ("spent", "hours", "projected"),
    [
        (1000, 2.3, None),  # The first tenth of the day.
        (1000, 6, 4000),
        (660, 6, None),  # A tenth above the limit, and not more.
        (661, 6, 2644),
        (2399, 23.5, None),
        (2400, 12, None),  # It has fallen.
        (0, 12, None),
    ],
)
def test_a_day_goes_on_as_it_has_so_far(spent, hours, projected):
    found = forecast(a_status(spent), None, now_ms=AT_MS + round(hours * HOUR_MS))
    assert (found and found.projected) == projected


def test_a_month_goes_on_as_its_last_three_days():
    now_ms = AT_MS + 6 * HOUR_MS
    status = a_status(1000, window="month", limit=2400)
    assert forecast(status, None, now_ms=now_ms) is None, "1000 in twenty days"
    found = forecast(status, 600, now_ms=now_ms)
    assert found.projected == 1000 + 600 * (status.ends_at_ms - now_ms) // RECENT_MS
    assert found.hourly == 600 // 72
    assert found.falls_at_ms == now_ms + 7 * DAY_MS
    # It is quieter of late than it was.
    loud = a_status(2000, window="month", limit=2400)
    assert forecast(loud, None, now_ms=now_ms) is not None
    assert forecast(loud, 10, now_ms=now_ms) is None


@pytest.mark.parametrize("window", ["minute", "total"])
def test_rates_by_the_minute_and_what_never_ends_are_not_foretold(window):
    assert forecast(a_status(2399, window=window), None, now_ms=AT_MS + 30_000) is None


def test_it_is_told_in_what_the_ceiling_counts_and_once_a_window_and_limit():
    now_ms = AT_MS + 6 * HOUR_MS
    statuses = [a_status(1000), a_status(1000, unit="calls"), a_status(1, scope="team:b"), a_status(1000, limit=2500)]
    dollars, calls, raised = forecasts(statuses, {"team:a": 1}, now_ms=now_ms)
    assert dollars.facts == {
        "scope": "team:a",
        "window": "day",
        "unit": "usd",
        "limit_usd": "0.000002400",
        "limit_nanousd": 2400,
        "spent_usd": "0.000001000",
        "spent_nanousd": 1000,
        "held_usd": "0.000000000",
        "held_nanousd": 0,
        "projected_usd": "0.000004000",
        "projected_nanousd": 4000,
        "hourly_usd": "0.000000166",
        "hourly_nanousd": 166,
        "falls_at": iso(AT_MS + 6 * HOUR_MS + 1400 * 6 * HOUR_MS // 1000),
        "window_starts_at": iso(AT_MS),
        "window_ends_at": iso(AT_MS + DAY_MS),
    }
    assert (calls.facts["limit"], calls.facts["projected"]) == (2400, 4000)
    assert len({dollars.dedup_key, calls.dedup_key, raised.dedup_key}) == 3
    (later,) = forecasts(statuses[:1], {}, now_ms=now_ms + HOUR_MS)
    assert later.dedup_key == dollars.dedup_key


@given(
    spent=st.integers(0, 10**17),
    limit=st.integers(0, 10**17),
    window=st.sampled_from(("minute", "hour", "day", "month", "total")),
    at_ms=st.integers(1_700_000_000_000, 1_900_000_000_000),
    recent=st.none() | st.integers(0, 10**17),
)
def test_what_is_foretold_is_within_the_window_and_above_the_limit(spent, limit, window, at_ms, recent):
    status = a_status(spent, window=window, limit=limit, at_ms=at_ms)
    found = forecast(status, recent, now_ms=at_ms)
    if found is not None:
        assert spent < limit < found.projected
        assert at_ms < found.falls_at_ms <= status.ends_at_ms
        assert (at_ms - status.starts_at_ms) * 10 >= status.ends_at_ms - status.starts_at_ms
        # Whoever spends more is no safer.
        assert limit - 1 == spent or forecast(
            a_status(spent + 1, window=window, limit=limit, at_ms=at_ms), recent, now_ms=at_ms
        )
