"""What is told of ratios beside the recorded ones."""

from benchmarks.quick import Slice, compared, ratios, read_recorded


def test_only_a_fall_of_processor_time_by_more_than_a_quarter_is_a_warning():
    recorded = {"CPU: a": 0.2, "CPU: b": 0.2, "CPU: c": 0.2, "rate: a": 0.2}
    _, warnings = compared({"CPU: a": 0.14, "CPU: b": 0.16, "CPU: c": 0.3, "CPU: new": 0.1, "rate: a": 0.1}, recorded)
    assert warnings == ["warning: CPU: a fell from 0.2000 to 0.1400 (-30%)"]


def test_every_ratio_has_its_row_whether_it_was_recorded_or_not():
    table, _ = compared({"a": 0.5, "b": 0.5}, {"a": 0.4})
    cells = [list(column.cells) for column in table.columns]
    assert cells == [["a", "b"], ["0.5000", "0.5000"], ["0.4000", "-"], ["+25%", "-"]]


def test_a_ratio_is_the_median_of_those_of_each_round():
    names = ("direct", "floor", "misses", "hits", "direct streams", "streams")
    rounds = [{name: Slice(100.0, 0.002) for name in names} for _ in range(3)]
    for slices, rate, cpu_s in zip(rounds, (10.0, 20.0, 90.0), (0.004, 0.008, 0.5), strict=True):
        slices["misses"] = Slice(rate, cpu_s)
    found = ratios(rounds)
    assert found["rate: misses / direct"] == found["rate: misses / floor"] == 0.2
    assert found["CPU: the floor's / a miss"] == 0.25
    assert found["CPU: the floor's / a hit"] == 1.0


def test_what_is_recorded_is_what_is_told():
    names = ("direct", "floor", "misses", "hits", "direct streams", "streams")
    assert read_recorded().keys() == ratios([{name: Slice(1.0, 1.0) for name in names}]).keys()
