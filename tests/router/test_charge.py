"""What an attempt costs, for every way to end. Source: DESIGN §4, invariant 7."""

from pathlib import Path

import pytest

from ledger.prices import FREE
from ledger.prices.price import Price
from ledger.usage import Usage
from router import charge
from router.answer import Closing
from router.faults import Fault, Outcome
from router.journey import Attempt
from router.plan import Candidate
from tests import anthropic_scripts as claude
from tests.router.gateways import PRICE, READ_NANOUSD, WRITTEN_NANOUSD, a_call, a_deployment, open_gateway
from tests.upstream import scripted_upstream

HELD_NANOUSD = 10_000
REPORTED = Usage(input_tokens=7, output_tokens=3)
COUNTED = Usage(input_tokens=8, output_tokens=2)


def an_attempt(fault: Fault | None = None, *, usage: Usage | None = None, price: Price = PRICE) -> Attempt:
    deployment = a_deployment("a", "http://127.0.0.1:1/v1", price=price)
    candidate = Candidate(deployment=deployment, held_nanousd=HELD_NANOUSD, body={})
    attempt = Attempt(number=1, candidate=candidate, hold_id="gen.1", span_id="1" * 16)
    if usage is not None or fault is None:
        attempt.closing = Closing(usage=usage)
    attempt.end(fault.outcome if fault is not None else Outcome.OK, fault)
    return attempt


def closed(attempt: Attempt) -> tuple[int | None, str]:
    result = charge.close(attempt, COUNTED if charge.needs_count(attempt) else None)
    return result.cost_nanousd, result.cost_basis


def test_reported_usage_is_priced_as_it_is_even_above_the_hold():
    assert closed(an_attempt(usage=REPORTED)) == (7 * READ_NANOUSD + 3 * WRITTEN_NANOUSD, "priced_usage")
    much = Usage(input_tokens=10**6, output_tokens=10**6)
    assert closed(an_attempt(usage=much)) == (10**6 * (READ_NANOUSD + WRITTEN_NANOUSD), "priced_usage")


def test_of_what_another_model_took_part_in_the_cost_is_not_known_but_is_no_less_than_this():
    attempt = an_attempt()
    much = Usage(input_tokens=10**6)
    attempt.closing = Closing(usage=much, is_of_one_model=False)
    assert closed(attempt) == (10**6 * READ_NANOUSD, "unknown")


async def test_advice_of_another_model_is_booked_and_its_cost_is_said_to_be_unknown(tmp_path: Path):
    step = {"type": "advisor_message", "model": "claude-test-9", "input_tokens": 1000, "output_tokens": 90}
    usage = {"input_tokens": 9, "output_tokens": 7, "iterations": [{**step, "type": "message"}, step]}
    async with scripted_upstream() as upstream:
        target = a_deployment("a", upstream.url, dialect="anthropic")
        async with open_gateway(tmp_path, upstream, targets=(target,)) as house:
            upstream.plays(claude.message("Do so.", usage=usage))
            await house.ask(call := a_call())
            (hold,) = house.holds(call.generation_id)
            paid_nanousd = 1009 * READ_NANOUSD + 97 * WRITTEN_NANOUSD
            assert (hold["cost_nanousd"], hold["cost_basis"]) == (paid_nanousd, "unknown")
            await house.at_rest()


def test_without_a_report_what_was_counted_is_estimated_never_above_the_hold():
    assert closed(an_attempt()) == (8 * READ_NANOUSD + 2 * WRITTEN_NANOUSD, "estimated")
    attempt = an_attempt()
    result = charge.close(attempt, Usage(input_tokens=10**6))
    assert (result.cost_nanousd, result.cost_basis) == (HELD_NANOUSD, "estimated")


@pytest.mark.parametrize(
    ("told", "thought_aloud", "counted"),
    [
        (None, False, Usage(input_tokens=8, output_tokens=20)),
        # Some say only at the end what they read.
        (Usage(output_tokens=1), False, Usage(input_tokens=8, output_tokens=20)),
        (Usage(input_tokens=3, cached_tokens=9), False, Usage(input_tokens=3, cached_tokens=9, output_tokens=20)),
        (Usage(cached_tokens=9, output_tokens=21), False, Usage(cached_tokens=9, output_tokens=21)),
        (Usage(input_tokens=3, reasoning_tokens=15), True, Usage(input_tokens=3, reasoning_tokens=15, output_tokens=5)),
        (Usage(input_tokens=3, reasoning_tokens=30), True, Usage(input_tokens=3, reasoning_tokens=30)),
        (
            Usage(input_tokens=3, reasoning_tokens=30),
            False,
            Usage(input_tokens=3, reasoning_tokens=30, output_tokens=20),
        ),
        (
            Usage(input_tokens=3, output_image_tokens=30),
            True,
            Usage(input_tokens=3, output_image_tokens=30, output_tokens=20),
        ),
    ],
)
def test_what_a_provider_said_before_its_answer_broke_off_goes_before_our_count(
    told: Usage | None, thought_aloud: bool, counted: Usage
):
    assert charge.count(told, read=8, written=20, thought_aloud=thought_aloud) == counted


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Outcome.CONNECT_FAILED, "refused", sent=False),
        Fault(Outcome.ABORTED, "the caller left", sent=False),
        Fault(Outcome.UPSTREAM_ERROR, "500", status=500),
        Fault(Outcome.RATE_LIMITED, "429", status=429),
        Fault(Outcome.UPSTREAM_ERROR, "504", status=504, error_body={"error": {}}),
    ],
)
def test_what_was_never_sent_or_surely_refused_is_given_back(fault: Fault):
    attempt = an_attempt(fault)
    assert not charge.needs_count(attempt)
    assert closed(attempt)[0] is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Outcome.ABORTED, "the caller left"),
        Fault(Outcome.STALLED, "silence"),
        Fault(Outcome.CUT, "broke off"),
        Fault(Outcome.BAD_ANSWER, "garbage", status=200),
        Fault(Outcome.UPSTREAM_ERROR, "504 of a proxy", status=504),
    ],
)
def test_what_was_sent_and_then_lost_is_charged_an_estimate(fault: Fault):
    assert closed(an_attempt(fault)) == (8 * READ_NANOUSD + 2 * WRITTEN_NANOUSD, "estimated")


def test_a_free_deployment_charges_nothing_and_says_so():
    assert closed(an_attempt(usage=REPORTED, price=FREE)) == (0, "free")


def test_the_ledger_keeps_a_providers_code_and_never_its_words():
    fault = Fault(Outcome.REJECTED, "your prompt 'secret' is bad", status=400, code="bad_prompt")
    assert charge.close(an_attempt(fault), None).error == "status 400 bad_prompt"
    assert charge.close(an_attempt(Fault(Outcome.ABORTED, "the caller left")), COUNTED).error == "the caller left"


def test_an_attempt_whose_end_nobody_saw_costs_its_hold_if_it_may_have_been_sent():
    attempt = an_attempt()
    result = charge.write_off(attempt)
    assert (result.cost_nanousd, result.cost_basis, result.outcome) == (HELD_NANOUSD, "unknown", "lost")
    unsent = Attempt(number=1, candidate=attempt.candidate, hold_id="gen.1", span_id="1" * 16)
    assert charge.write_off(unsent).cost_nanousd is None
