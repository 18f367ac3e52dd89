"""What is counted of a call."""

import msgspec
import pytest

from telemetry.metrics import AttemptAccount, CallAccount, Gaps, OperationAccount, Recorder, Tally
from telemetry.metrics import instruments as its
from telemetry.metrics.recorder import LIMITS
from telemetry.metrics.tally import OTHER

ATTEMPT = AttemptAccount(
    operation="chat",
    provider="gemini",
    model="flash",
    key="key_1",
    outcome="ok",
    is_hedge=False,
    cost_nanousd=12_345,
    basis="priced_usage",
    overran=False,
    latency_s=0.8,
    ttft_s=0.1,
    tokens={"input": 20, "reasoning": 4},
)


def found(recorder: Recorder) -> dict[tuple[str, ...], float]:
    """{(name, *labels): the value, or the sum of a histogram}, what is zero left out."""
    return {
        (reading.instrument.name, *reading.labels): reading.numbers[-1]
        for reading in recorder.tally.readings()
        if reading.numbers[-1]
    }


def test_an_attempt_is_counted_with_its_tokens_times_and_cost() -> None:
    recorder = Recorder()
    recorder.attempt(ATTEMPT)
    assert found(recorder) == {
        (its.ATTEMPTS.name, "gemini:flash", "ok", "false"): 1,
        (its.ATTEMPT_DURATION.name, "gemini:flash"): 0.8,
        (its.FIRST_CHUNK.name, "chat", "gcp.gemini", "flash"): 0.1,
        (its.TOKENS.name, "gemini:flash", "input"): 20,
        (its.TOKENS.name, "gemini:flash", "reasoning"): 4,
        (its.COST.name, "gemini:flash", "priced_usage"): pytest.approx(0.000012345),
        (its.KEY_COST.name, "key_1"): pytest.approx(0.000012345),
    }


def test_short_and_long_times_between_chunks_are_one_histogram() -> None:
    recorder, gaps, spans_s = Recorder(), Gaps(), (0.0, 0.004, 0.01, 0.015, 0.7, 90.0)
    for gap_s in spans_s:
        gaps.add(gap_s)
    for outcome in ("ok", "cut"):
        recorder.attempt(msgspec.structs.replace(ATTEMPT, gaps=gaps, outcome=outcome))
    (told,) = (it.numbers for it in recorder.tally.readings() if it.instrument is its.CHUNK_GAP)
    wanted = Tally().spread(its.CHUNK_GAP, *("",) * 3)
    for gap_s in spans_s:
        wanted.observe(gap_s)
    assert told == pytest.approx(tuple(wanted._cells[wanted._at :][: its.CHUNK_GAP.width]))
    assert (told[0], told[-2], told[-1]) == (3, 1, pytest.approx(sum(spans_s)))


def test_what_people_are_woken_by_begins_at_zero_so_that_its_first_rise_is_one() -> None:
    recorder = Recorder()
    recorder.attempt(ATTEMPT)
    at_zero = {reading.instrument.name for reading in recorder.tally.readings() if reading.numbers == (0.0,)}
    assert {its.OVERRUNS.name, its.WASTED.name} <= at_zero


def test_a_hedge_that_lost_is_waste_and_has_no_part_in_the_times() -> None:
    recorder = Recorder()
    lost = msgspec.structs.replace(ATTEMPT, outcome="aborted", is_hedge=True, tokens={}, basis="estimated")
    recorder.attempt(lost)
    recorder.attempt(msgspec.structs.replace(lost, cost_nanousd=0, overran=True))
    assert found(recorder) == {
        (its.ATTEMPTS.name, "gemini:flash", "aborted", "true"): 2,
        (its.COST.name, "gemini:flash", "estimated"): pytest.approx(0.000012345),
        (its.KEY_COST.name, "key_1"): pytest.approx(0.000012345),
        (its.WASTED.name, "gemini:flash"): pytest.approx(0.000012345),
        (its.OVERRUNS.name, "gemini:flash"): 1,
    }


def test_calls_and_what_they_saved_are_counted_by_how_they_were_met() -> None:
    recorder = Recorder()
    recorder.call(CallAccount(route="chat", cache="miss", outcome="ok"))
    recorder.call(CallAccount(route="chat", cache="hit", outcome="ok", deployment="a:b", saved_nanousd=2_000_000_000))
    recorder.operation(
        OperationAccount(operation="chat", provider="a", model="b", error="stalled", latency_s=3.0, input_tokens=5)
    )
    assert found(recorder) == {
        (its.CALLS.name, "chat", "miss", "ok"): 1,
        (its.CALLS.name, "chat", "hit", "ok"): 1,
        (its.SAVED.name, "a:b", "hit"): 2,
        (its.OPERATION_DURATION.name, "chat", "a", "b", "stalled"): 3,
        (its.TOKEN_USAGE.name, "chat", "a", "b", "input"): 5,
    }


def test_requests_are_counted_by_template_status_and_code() -> None:
    recorder = Recorder()
    recorder.request("POST", "/generate", 429, "rate_limited", 0.25)
    recorder.request("BREW", "", 405, "", 0.5)
    assert found(recorder) == {
        (its.HTTP_DURATION.name, "POST", "/generate", "429"): 0.25,
        (its.REFUSALS.name, "rate_limited"): 1,
        (its.HTTP_DURATION.name, "_OTHER", "", "405"): 0.5,
    }


def test_names_that_callers_choose_are_bounded_and_the_sums_whole() -> None:
    recorder, many = Recorder(), LIMITS["deployment"] + 50
    for number in range(many):
        recorder.attempt(msgspec.structs.replace(ATTEMPT, model=f"m{number}", key=f"key_{number}", tokens={}))
    counted = found(recorder)
    by_name = {tuple(labels): value for (name, *labels), value in counted.items() if name == its.ATTEMPTS.name}
    assert len(by_name) == LIMITS["deployment"] + 1
    assert by_name[OTHER, "ok", "false"] == 50
    by_key = {tuple(key): usd for (name, *key), usd in counted.items() if name == its.KEY_COST.name}
    assert len(by_key) == LIMITS["key"] + 1
    assert sum(by_key.values()) == pytest.approx(many * 0.000012345)
    assert not any("m249" in labels for labels in counted)
