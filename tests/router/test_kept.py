"""What is kept under an Idempotency-Key reads back as what was told, to the last event."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import CeilingHeld, LedgerUnavailable
from ledger.usage import Usage
from router.answer import Closing, Delta, ToolCallDelta
from router.assemble import Assembly, replay
from router.errors import (
    DeadlineExceeded,
    NoDeploymentAvailable,
    Overloaded,
    UpstreamFailed,
    UpstreamRejected,
)
from router.flights import Flight
from router.kept import decode_kept, freeing, keeping_of_answer, kept_error, raised_again
from router.landing import Landing
from router.receipt import AttemptReport, Receipt, RouterFacts, Timing
from tests.ledger.calls import an_idempotency_key
from tests.router.gateways import a_call
from tests.service.test_errors import tight

REPORT = AttemptReport(
    provider="p",
    model="m",
    outcome="upstream_error",
    status=500,
    latency_ms=1.5,
    ttft_ms=0.25,
    cost_nanousd=3,
    error="x",
)
USAGE = Usage.of(21, 8)
TIMING = Timing(queue_ms=0.5, ledger_ms=0.25, upstream_ms=80.0)
words = st.text(max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
objects = st.none() | st.dictionaries(words, json_values, min_size=1, max_size=3)
pieces = st.builds(
    ToolCallDelta,
    index=st.integers(0, 2),
    id=words,
    name=words,
    arguments=words,
    type=st.sampled_from(["function", "custom"]),
)
deltas = st.lists(
    st.builds(
        Delta,
        choice=st.integers(0, 2),
        text=words,
        reasoning=words,
        refusal=words,
        tool_calls=st.lists(pieces, max_size=2).map(tuple),
        logprobs=objects,
        finish_reason=st.none() | st.sampled_from(["stop", "length", ""]),
        extra=objects,
        raw=st.none() | st.binary(max_size=8),
    ),
    max_size=8,
)


def a_keyed_call(**named):
    return msgspec.structs.replace(a_call(**named), idempotency=an_idempotency_key())


def a_landing(answer):
    return Landing(
        answer=answer,
        provider="p",
        model="m",
        cost_nanousd=7,
        answer_cost_nanousd=5,
        cost_basis="priced_usage",
        estimated_prompt_tokens=20,
        attempts=(REPORT,),
        dropped_params=("top_k",),
        clamped={},
        timing=TIMING,
        router=RouterFacts(),
    )


def a_receipt(call, landing):
    return Receipt(
        generation_id=call.generation_id,
        trace_id=call.trace.trace_id,
        provider="p",
        model="m",
        cache="miss",
        cost_nanousd=7,
        saved_nanousd=0,
        cost_basis="priced_usage",
        usage=landing.answer.usage,
        estimated_prompt_tokens=20,
        attempts=landing.attempts,
        dropped_params=landing.dropped_params,
        latency_ms=81.234,
        timing=TIMING,
        router=RouterFacts(),
    )


def kept_of(call, answer, told):
    landing = a_landing(answer)
    flight = Flight("gen_1", "p:m", event_format="chat.completions")
    flight.deltas += told
    return keeping_of_answer(call, landing, a_receipt(call, landing), "miss", flight=flight), landing


@given(told=deltas, extra=objects, usage=st.sampled_from([None, USAGE]), streams=st.booleans(), is_shared=st.booleans())
def test_an_answer_and_its_events_come_back_as_they_were_told(told, extra, usage, streams, is_shared):
    assembly = Assembly()
    for delta in told:
        assembly.add(delta)
    answer = assembly.answer(Closing(usage=usage, provider_model="m-1", created_at_s=7, extra=extra))
    if is_shared:
        # A flight that is not streamed tells its whole answer as events, which is what a streaming follower hears.
        told = list(replay(answer))
    call = a_keyed_call(stream=streams)
    keeping, landing = kept_of(call, answer, told)
    assert (keeping.key, keeping.generation_id, keeping.is_over) == (call.idempotency, call.generation_id, True)
    kept = decode_kept(keeping.result)
    assert kept.whole_answer() == answer
    assert kept.deltas == (tuple(told) if streams else ())
    assert kept.event_format == "chat.completions"
    assert kept.receipt == a_receipt(call, landing)
    assert (kept.deployment_id, kept.dropped_params, kept.cache) == ("p:m", ("top_k",), "miss")


def test_an_answer_too_odd_to_write_down_is_over_without_a_result():
    assembly = Assembly()
    assembly.add(Delta(text="a", extra={"huge": 2**70}))
    keeping, _ = kept_of(a_keyed_call(), assembly.answer(Closing(usage=USAGE)), [])
    assert (keeping.is_over, keeping.result) == (True, None)


@pytest.mark.parametrize("result", [b"", b"\xc1", msgspec.msgpack.encode({"format": 2}), b"\x91" * 5000])
def test_what_another_version_wrote_is_not_guessed_at(result):
    assert decode_kept(result) is None


@pytest.mark.parametrize(
    "error",
    [
        UpstreamFailed((REPORT, REPORT)),
        UpstreamRejected(422, "no", {"error": {"code": None, "param": ["a", 1]}}, (REPORT,)),
        UpstreamRejected(400, "no", None, ()),
        DeadlineExceeded(elapsed_s=1.25, waited_for="q:m to answer", attempts=(REPORT,), key="abc123", provider="q"),
    ],
    ids=repr,
)
def test_an_error_is_raised_again_as_it_was(error):
    again = raised_again(
        msgspec.msgpack.decode(msgspec.msgpack.encode(kept_error(error)), type=type(kept_error(error)))
    )
    assert type(again) is type(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    "error", [CeilingHeld(tight()), NoDeploymentAvailable(3.0), Overloaded(), LedgerUnavailable()], ids=repr
)
def test_what_says_come_back_later_is_not_kept(error):
    assert kept_error(error) is None


def test_a_call_without_a_key_leaves_nothing():
    assert freeing(a_call()) is None
