"""What is told of ratios beside the recorded ones."""

from benchmarks.quick import compared, read_recorded


def test_only_a_fall_by_more_than_a_quarter_is_a_warning():
    recorded = {"fell": 0.2, "fell a little": 0.2, "rose": 0.2}
    _, warnings = compared({"fell": 0.14, "fell a little": 0.16, "rose": 0.3, "new": 0.1}, recorded)
    assert warnings == ["warning: fell fell from 0.2000 to 0.1400 (-30%)"]


def test_every_ratio_has_its_row_whether_it_was_recorded_or_not():
    table, _ = compared({"a": 0.5, "b": 0.5}, {"a": 0.4})
    cells = [list(column.cells) for column in table.columns]
    assert cells == [["a", "b"], ["0.5000", "0.5000"], ["0.4000", "-"], ["+25%", "-"]]


def test_what_is_recorded_is_read():
    recorded = read_recorded()
    assert {"proxied / direct", "hits / direct", "streams / direct streams", "proxied / floor"} <= recorded.keys()
    assert all(0 < ratio < 1 for ratio in recorded.values())
