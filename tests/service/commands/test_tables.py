"""Reports as they are read by people and by spreadsheets."""

import csv
import io
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from ledger.apikeys import ApiKey
from ledger.ceilings import Ceiling
from ledger.money import MAX_NANOUSD, format_usd
from service.commands.alerts import alerts_table
from service.commands.keys import keys_table
from service.commands.reconcile import Drift, drift_table
from service.commands.tables import latency_table, on_width, report_csv, spend_table
from service.exports import Total

SPANS = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")


def _figures(cost_nanousd: int = 0, **more: int) -> dict[str, Any]:
    names = (
        "estimated_nanousd", "held_nanousd", "saved_nanousd", "wasted_nanousd", "generations", "attempts",
        "cache_hits", "coalesced", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens",
    )  # fmt: skip
    costs = {"cost_usd": format_usd(cost_nanousd), "cost_nanousd": cost_nanousd}
    return costs | dict.fromkeys(names, 0) | more


def _spend(*rows: dict[str, Any], total: dict[str, Any], by: tuple[str, ...] = ("model",)) -> dict[str, Any]:
    span = {"since": None, "until": None, "currency": "USD"}
    return span | {"group_by": list(by), "total": total | {"refused": 3}, "rows": list(rows)}


def _spans(ms: float | None) -> dict[str, Any]:
    return dict.fromkeys(SPANS, ms)


def _latency(*rows: dict[str, Any], total: dict[str, Any], by: tuple[str, ...] = ("model",)) -> dict[str, Any]:
    return {"since": None, "until": None, "group_by": list(by), "total": total, "rows": list(rows)}


def _measured(ms: float | None, ttft_ms: float | None, *, count: int, errors: int = 0) -> dict[str, Any]:
    return {"count": count, "errors": errors, **_spans(ms), "ttft": {"count": count, **_spans(ttft_ms)}}


def _printed(table: Table, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _cells(table: Table, line_with: str) -> list[str]:
    (line,) = [line for line in _printed(table).splitlines() if line.split()[:1] == [line_with]]
    return line.split()


def test_spend_is_in_dollars_to_the_last_place_with_thousands_set_apart_and_the_total_last() -> None:
    row = _figures(1_234_000_000_001, generations=1000, prompt_tokens=12_345, completion_tokens=7)
    table = spend_table(_spend({"model": "a:b", **row}, total=row))

    assert _cells(table, "model") == ["model", "cost", "$", "calls", "prompt", "completion"]
    assert _cells(table, "a:b") == ["a:b", "1,234.000000001", "1,000", "12,345", "7"]
    assert _printed(table).split()[-5:] == ["total", "1,234.000000001", "1,000", "12,345", "7"]


def test_figures_line_up_on_the_right() -> None:
    small, large = _figures(1, generations=1), _figures(5_000_000_000_000, generations=1000)
    printed = _printed(spend_table(_spend({"model": "small", **small}, {"model": "large", **large}, total=large)))

    ends = {line.index(text) + len(text) for line in printed.splitlines() for text in ("0.000000001", "5,000.000000000")
            if text in line}  # fmt: skip
    assert len(ends) == 1


def test_a_column_is_there_as_soon_as_one_row_has_something_in_it() -> None:
    none, some = _figures(), _figures(held_nanousd=5, cache_hits=2)

    assert "held" not in _printed(spend_table(_spend({"model": "a", **none}, total=none)))
    table = spend_table(_spend({"model": "a", **none}, {"model": "b", **some}, total=some))
    assert _cells(table, "b") == ["b", "0.000000000", "0.000000005", "0", "2", "0", "0"]


def test_corrections_below_zero_keep_their_sign() -> None:
    row = _figures(-1_500_000_000)

    assert _cells(spend_table(_spend({"model": "a", **row}, total=row)), "a")[1] == "-1.500000000"
    row = _figures(-1)
    assert _cells(spend_table(_spend({"model": "a", **row}, total=row)), "a")[1] == "-0.000000001"


def test_without_grouping_the_total_is_the_only_row() -> None:
    table = spend_table(_spend(total=_figures(5, generations=2), by=()))

    assert _printed(table).split()[-4:] == ["0.000000005", "2", "0", "0"]
    assert "total" not in _printed(table)


@pytest.mark.parametrize("name", ["[/]", "[red]x", "\x1b[2Jx", "a\nb", ":smile:", "\u202etxt"])
def test_a_name_that_a_caller_chose_is_shown_and_not_obeyed(name: str) -> None:
    row = {"workflow": name, **_figures()}
    printed = _printed(spend_table(_spend(row, total=_figures(), by=("workflow",))))

    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in name)
    assert shown in printed
    assert not {"\x1b", "\u202e"} & set(printed)


def test_a_name_that_nobody_gave_is_a_dash() -> None:
    row = {"team": "", **_figures()}

    assert _cells(spend_table(_spend(row, total=_figures(), by=("team",))), "-")[0] == "-"


@given(st.integers(0, MAX_NANOUSD), st.integers(60, 120))
def test_no_digit_is_lost_on_a_narrow_terminal(cost_nanousd: int, width: int) -> None:
    everywhere = dict.fromkeys(set(_figures()) - {"cost_usd", "cost_nanousd"}, 1_234_567_890)
    table = spend_table(_spend(total=_figures(cost_nanousd, **everywhere), by=()))

    narrow, wide = (Counter(filter(str.isdigit, _printed(table, columns))) for columns in (width, 300))
    assert narrow == wide


@given(st.integers(0, MAX_NANOUSD), st.integers(30, 120))
def test_no_digit_and_no_day_is_lost_of_what_a_provider_says(cost_nanousd: int, width: int) -> None:
    said = Total(cost_nanousd=cost_nanousd, input_tokens=0, output_tokens=0)
    drift = Drift(day="2026-11-21", model="gpt-4o-mini", ours=(), theirs=said)
    printed = _printed(on_width(drift_table([drift]), width), width)
    assert "2026-11-21" in printed
    assert format_usd(cost_nanousd) in printed
    assert "…" not in printed


@pytest.mark.parametrize("width", [60, 80, 100])
def test_an_id_is_in_one_piece_to_be_copied(width: int) -> None:
    alert = {"id": f"evt_{'0123456789ab' * 2}", "at": "2026-11-21T10:00:00.000Z", "type": "ceiling.threshold",
             "facts": {"scope": "user:somebody with a name"}, "acknowledged": None, "deliveries": [
                 {"target": "ops", "state": "dead", "digest": None, "last_error": "answered 500"}]}  # fmt: skip
    assert alert["id"] in _printed(alerts_table([alert]), width)
    key = ApiKey(key_id="0123456789abcdef", name="the batch jobs of every night", team="research and more",
                 role="caller", routes=("default", "draft"), created_at_ms=0, ceilings=(
                     Ceiling(scope="key:0123456789abcdef", window="month", limit=10**12, unit="usd"),))  # fmt: skip
    assert key.key_id in _printed(keys_table([key], 0), width)


def test_latency_is_in_milliseconds_with_a_dash_where_nothing_was_measured() -> None:
    table = latency_table(_latency({"model": "a:b", **_measured(1234.56, None, count=3, errors=1)},
                                   total=_measured(1234.56, 80.04, count=1003)))  # fmt: skip

    assert _cells(table, "a:b") == ["a:b", "3", "1", *["1,234.6"] * 6, "-", "-"]
    assert _cells(table, "total") == ["total", "1,003", "0", *["1,234.6"] * 6, "80.0", "80.0"]


def test_csv_has_the_figures_of_the_json_and_reads_back() -> None:
    row = {"workflow": 'a,"b"\nc', **_figures(1_234_000_000_001, generations=1000)}
    report = _spend(row, total=_figures(), by=("workflow",))

    (read,) = csv.DictReader(io.StringIO(report_csv(report), newline=""))

    assert read == {name: str(value) for name, value in row.items()}
    assert read["cost_usd"] == "1234.000000001"


def test_csv_of_latency_has_a_column_for_each_figure_of_the_first_output() -> None:
    report = _latency({"model": "a", **_measured(2.5, None, count=1)}, total=_measured(2.5, None, count=1))

    (read,) = csv.DictReader(io.StringIO(report_csv(report)))

    assert read["p95_ms"] == "2.5"
    assert read["ttft_p95_ms"] == ""
    assert read["ttft_count"] == "1"


def test_csv_without_grouping_is_the_total() -> None:
    (read,) = csv.DictReader(io.StringIO(report_csv(_spend(total=_figures(7), by=()))))

    assert (read["cost_nanousd"], read["refused"]) == ("7", "3")


def test_csv_of_a_grouped_report_without_rows_has_the_heading_that_rows_would_have() -> None:
    empty = report_csv(_spend(total=_figures()))
    full = report_csv(_spend({"model": "a", **_figures()}, total=_figures()))

    assert empty == full.splitlines(keepends=True)[0]
