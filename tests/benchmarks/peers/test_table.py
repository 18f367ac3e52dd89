"""What is told of the turns of a round."""

from benchmarks.peers.table import COLUMNS, medians, ratios, table


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_figure_is_the_median_of_the_turns_in_which_it_came_out():
    turns = [{"proxied": 10.0, "hits": None}, {"proxied": 90.0, "hits": 5.0}, {"proxied": 20.0, "hits": 7.0}]
    assert medians(turns) == {"proxied": 20.0, "hits": 6.0}


def test_a_figure_that_never_came_out_fails_and_one_that_does_not_apply_is_left_out():
    rows = table({"a": [{"proxied": 1500.4, "hits": None, "first_ms": 1.24, "first_alone_ms": None}]}, {})
    told = dict(zip([name for name, _, _ in COLUMNS], cells(rows[2])[1:], strict=True))
    assert told.pop("proxied/s, 16 connections") == "1,500"
    assert told.pop("hits/s") == "fails"
    assert told.pop("first event added, 16 connections / alone, ms") == "1.2 / fails"
    assert set(told.values()) == {"-"}


def test_who_is_missing_has_a_row_that_says_why():
    rows = table({}, {"b": "it needs what this machine has not"})
    assert rows[-1] == "| b | not measured: it needs what this machine has not |"


def test_one_is_beside_another_by_the_median_of_each_rounds_own_ratio():
    ours = [{"proxied": 100.0, "cpu_ms": 1.0}, {"proxied": 400.0, "cpu_ms": 1.0}, {"proxied": 300.0, "cpu_ms": 1.0}]
    theirs = [{"proxied": 10.0, "cpu_ms": 4.0}, {"proxied": 10.0, "cpu_ms": 2.0}, {"proxied": None, "cpu_ms": 5.0}]
    told = ratios({"ours": ours, "theirs": theirs, "silent": []}, "ours")
    assert told == ["- beside theirs: 25.0 times the calls, 0.25 of the processor time of a call"]
