"""W3C trace context, by the letter of the specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import ParentContext, format_traceparent, new_span_id, new_trace_id, parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
HEX = "0123456789abcdef"


def test_new_ids_are_hex_of_the_right_length_and_differ() -> None:
    traces, spans = {new_trace_id() for _ in range(200)}, {new_span_id() for _ in range(200)}
    assert len(traces) == len(spans) == 200
    assert all(len(trace) == 32 and set(trace) <= set(HEX) for trace in traces)
    assert all(len(span) == 16 and set(span) <= set(HEX) for span in spans)


def test_an_id_is_never_all_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.getrandbits", lambda _bits: 0)
    assert int(new_trace_id(), 16) == int(new_span_id(), 16) == 1


def test_a_parent_is_read() -> None:
    parent = parse_traceparent(f"00-{TRACE}-{SPAN}-01", "vendor=1, other@tenant=b")
    assert parent == ParentContext(trace_id=TRACE, span_id=SPAN, sampled=True, tracestate="vendor=1,other@tenant=b")


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("fe", False), ("ff", True)]
)
def test_only_the_lowest_flag_means_sampled(flags: str, sampled: bool) -> None:
    parent = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}")
    assert parent is not None
    assert parent.sampled is sampled


@pytest.mark.parametrize("header", [f"cc-{TRACE}-{SPAN}-01", f"01-{TRACE}-{SPAN}-01-what-the-future-will-be-like"])
def test_a_future_version_is_read_by_its_first_four_fields(header: str) -> None:
    assert parse_traceparent(header) == ParentContext(trace_id=TRACE, span_id=SPAN, sampled=True)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"cc-{TRACE}-{SPAN}-011",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}\u0663-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_parent_is_refused(header: str | None) -> None:
    assert parse_traceparent(header, "vendor=1") is None


@pytest.mark.parametrize(
    "state",
    ["no equals sign", "UPPER=1", "a=", "a=1,b", "a=b=c", "=1", "a=\u00e9", ",".join(f"k{i}=1" for i in range(33))],
)
def test_a_malformed_tracestate_is_left_behind_and_the_parent_kept(state: str) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01", state) == ParentContext(
        trace_id=TRACE, span_id=SPAN, sampled=True
    )


def test_a_long_tracestate_loses_its_longest_members_first_and_then_its_last() -> None:
    state = ",".join(["first=1", "long=" + "x" * 200, *(f"k{i}=" + "y" * 90 for i in range(6))])
    parent = parse_traceparent(f"00-{TRACE}-{SPAN}-01", state)
    assert parent is not None
    assert [member.split("=")[0] for member in parent.tracestate.split(",")] == ["first", "k0", "k1", "k2", "k3", "k4"]
    assert len(parent.tracestate) <= 512


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_we_write_we_read(trace: int, span: int, sampled: bool) -> None:
    written = format_traceparent(f"{trace:032x}", f"{span:016x}", sampled)
    assert parse_traceparent(written) == ParentContext(
        trace_id=f"{trace:032x}", span_id=f"{span:016x}", sampled=sampled
    )


@given(st.text(max_size=80), st.text(max_size=80))
def test_nothing_makes_it_raise(header: str, state: str) -> None:
    parse_traceparent(header, state)
    parse_traceparent(f"00-{TRACE}-{SPAN}-01", state)
