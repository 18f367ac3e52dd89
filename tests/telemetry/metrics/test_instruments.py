"""What the figures are called: as Prometheus and the conventions have it, with units, and each with its meaning."""

import re

import pytest

from telemetry.metrics import Instrument, Reading
from telemetry.metrics.instruments import BY_NAME, INSTRUMENTS
from telemetry.metrics.text import as_text

UNITS = {"s": "_seconds", "By": "_bytes", "USD": "_usd"}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda it: it.name)
def test_a_name_carries_its_unit_and_counters_say_that_they_are_totals(instrument: Instrument) -> None:
    name = instrument.prometheus_name
    assert re.fullmatch(r"(farthing|gen_ai_client|http_server)_[a-z_]+", name)
    is_counter = instrument.kind == "counter"
    assert name.endswith("_total") == is_counter
    assert name.removesuffix("_total").endswith(UNITS.get(instrument.unit, ""))
    assert instrument.unit in UNITS or re.fullmatch(r"\{[a-z]+\}", instrument.unit)
    assert instrument.help
    assert not instrument.help[0].islower()
    assert list(instrument.bounds) == sorted(set(instrument.bounds))
    assert bool(instrument.bounds) == (instrument.kind == "histogram")


def test_no_two_figures_have_one_name() -> None:
    assert len(BY_NAME) == len(INSTRUMENTS)
    assert len({instrument.prometheus_name for instrument in INSTRUMENTS}) == len(INSTRUMENTS)


def test_all_of_them_can_be_told() -> None:
    readings = [Reading(it, ("x",) * len(it.labels), (1.0,) * it.width) for it in INSTRUMENTS]
    text = as_text(readings).decode()
    for instrument in INSTRUMENTS:
        assert f"# HELP {instrument.prometheus_name} {instrument.help}\n" in text
        assert f"# TYPE {instrument.prometheus_name} {instrument.kind}\n" in text
