"""An hour is unusual by what the key's own hours were, and for nobody whose usual is not known."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.ceilings import HOUR_MS
from ledger.money import NANOUSD_PER_USD
from ledger.reports import iso
from service.watch.anomaly import anomalies, is_unusual, may_be_unusual, usual_nanousd

HOUR = 1_795_219_200_000
DOLLAR = NANOUSD_PER_USD


def test_a_key_with_less_than_a_day_of_active_hours_has_no_usual_hour():
    assert usual_nanousd([DOLLAR] * 23) is None
    assert usual_nanousd([DOLLAR] * 24) == DOLLAR
    assert not is_unusual(1000 * DOLLAR, None)


def test_five_times_the_usual_is_not_yet_unusual_and_pennies_never_are():
    assert not is_unusual(5 * DOLLAR, DOLLAR)
    assert is_unusual(5 * DOLLAR + 1, DOLLAR)
    assert not is_unusual(DOLLAR, 1)
    assert is_unusual(DOLLAR + 1, 1)


@given(st.lists(st.integers(1, 10**12), min_size=24, max_size=336))
def test_the_usual_is_what_95_in_a_hundred_hours_stay_at_or_under(hours):
    usual = usual_nanousd(hours)
    assert usual in hours
    assert sum(hour <= usual for hour in hours) * 100 >= 95 * len(hours)
    # The least that does.
    assert sum(hour < usual for hour in hours) * 100 < 95 * len(hours)


def test_each_key_is_measured_by_its_own_hours():
    hours = {"a": {HOUR: 6 * DOLLAR, HOUR - HOUR_MS: DOLLAR}, "b": {HOUR: 6 * DOLLAR}, "new": {HOUR: 99 * DOLLAR}}
    assert may_be_unusual(hours)
    assert not may_be_unusual({"a": {HOUR: DOLLAR}})
    (found,) = anomalies(hours, {"a": DOLLAR, "b": 2 * DOLLAR, "new": None}, now_ms=HOUR + 1)
    assert (found.type, found.dedup_key, found.at_ms) == ("spend.anomaly", f"spend.anomaly a {HOUR}", HOUR + 1)
    assert found.facts == {
        "key": "a",
        "hour": iso(HOUR),
        "spent_usd": "6.000000000",
        "spent_nanousd": 6 * DOLLAR,
        "usual_usd": "1.000000000",
        "usual_nanousd": DOLLAR,
    }
