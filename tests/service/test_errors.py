"""Every refusal has a status, words and no secrets."""

import inspect

import msgspec
import pytest

import ledger.errors
import router.errors
import service.refusals
from ledger.errors import (
    CeilingExceeded,
    CeilingHeld,
    HoldUnbounded,
    IdempotencyInProgress,
    IdempotencyMismatch,
    LedgerUnavailable,
    RateLimited,
    ReadingTooLong,
    Tight,
)
from router.errors import (
    DeadlineExceeded,
    Inexpressible,
    MaxCostExceeded,
    NoDeploymentAvailable,
    NotCached,
    Overloaded,
    ResultNotKept,
    UnboundedCost,
    UnknownModel,
    UnpricedModel,
    UpstreamFailed,
    UpstreamRejected,
)
from router.faults import Outcome
from router.receipt import AttemptReport
from service.errors import INTERNAL_ERROR, RULES, problem_body, problem_of
from service.openai_chat import error_body

NOW_MS = 1_795_240_000_000
ATTEMPT = AttemptReport(
    provider="p", model="m", outcome="upstream_error", status=500, latency_ms=1.0, ttft_ms=None, cost_nanousd=0
)


def tight(**changes):
    facts = {
        "scope": "global",
        "window": "day",
        "limit": 10**9,
        "spent": 5,
        "held": 10**9,
        "asked": 7,
        "window_ends_at_ms": NOW_MS + 1000,
    }
    return Tight(**(facts | changes))


TOLD = [
    (ReadingTooLong(), 503, "ledger_unavailable", {"retry-after": "60"}),
    (IdempotencyInProgress("gen_1"), 409, "idempotency_in_progress", {"retry-after": "1"}),
    (ResultNotKept("gen_1"), 409, "idempotency_result_not_kept", {"x-should-retry": "false"}),
    (IdempotencyMismatch("gen_1"), 422, "idempotency_mismatch", {"x-should-retry": "false"}),
    (CeilingExceeded(tight()), 402, "ceiling_exceeded", {"x-should-retry": "false"}),
    (CeilingExceeded(tight(window="total", window_ends_at_ms=None)), 402, "ceiling_exceeded", {}),
    (CeilingHeld(tight()), 429, "ceiling_held", {"retry-after": "1"}),
    (CeilingHeld(tight(earliest_release_at_ms=NOW_MS + 4200)), 429, "ceiling_held", {"retry-after": "5"}),
    (CeilingHeld(tight(earliest_release_at_ms=NOW_MS - 4200)), 429, "ceiling_held", {"retry-after": "1"}),
    (RateLimited(tight(unit="calls", limit=9)), 429, "rate_limited", {"retry-after": "1"}),
    (RateLimited(tight(unit="tokens", asked=10**9 + 1)), 429, "rate_limited", {"x-should-retry": "false"}),
    (
        RateLimited(tight(unit="tokens", window_ends_at_ms=None, earliest_release_at_ms=NOW_MS + 3000)),
        429,
        "rate_limited",
        {"retry-after": "3"},
    ),
    (UnpricedModel(("p:m",)), 402, "unpriced_model", {"x-should-retry": "false"}),
    (MaxCostExceeded(limit_nanousd=1, asked_nanousd=2), 402, "max_cost_exceeded", {"x-should-retry": "false"}),
    (HoldUnbounded("tools"), 402, "unbounded_cost", {"x-should-retry": "false"}),
    (UnboundedCost("tools"), 402, "unbounded_cost", {"x-should-retry": "false"}),
    (Inexpressible(where="messages[0]", what="input_audio", dialect="anthropic"), 400, "invalid_request", {}),
    (UnknownModel("x", ("a", "b")), 404, "unknown_model", {}),
    (NotCached(), 404, "not_cached", {}),
    (UpstreamFailed((ATTEMPT,)), 502, "upstream_failed", {}),
    (NoDeploymentAvailable(2.1), 503, "no_deployment_available", {"retry-after": "3"}),
    (Overloaded(), 503, "overloaded", {"retry-after": "1"}),
    (Overloaded(7.2, waited_for="a free place at p"), 503, "overloaded", {"retry-after": "8"}),
    (LedgerUnavailable(unknown=True), 503, "ledger_unavailable", {"retry-after": "1"}),
    (DeadlineExceeded(elapsed_s=1.0, waited_for="p:m"), 504, "deadline_exceeded", {"x-should-retry": "false"}),
]


@pytest.mark.parametrize(("error", "status", "code", "headers"), TOLD)
def test_each_refusal_has_the_status_code_and_headers_of_the_contract(error, status, code, headers):
    problem = problem_of(error, NOW_MS)
    assert (problem.status, problem.code) == (status, code)
    told = {name.decode(): value.decode() for name, value in problem.headers}
    assert headers.items() <= told.items()
    body = problem_body(problem)
    assert body["type"] == f"urn:farthing:error:{code}"
    assert body["detail"]
    vendors = error_body(problem)["error"]
    assert (vendors["code"], vendors["message"]) == (code, problem.detail)


def test_every_error_of_every_package_has_a_rule_or_is_a_fault_of_ours():
    ours = {
        ledger.errors.LedgerError,
        ledger.errors.KeyTaken,
        ledger.errors.LeaseOver,
        ledger.errors.UsageDiffers,
        ledger.errors.NotALedger,
        # Told by commands alone, never over HTTP.
        ledger.errors.BackupFailed,
        ledger.errors.TooRecent,
        router.errors.RouterError,
        service.refusals.Refusal,
    }
    for module in (ledger.errors, router.errors, service.refusals):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__ == module.__name__:
                assert kind in RULES or kind in ours or kind is UpstreamRejected, kind


def test_what_no_rule_knows_tells_nothing():
    assert problem_of(RuntimeError("sk-secret"), NOW_MS) is INTERNAL_ERROR


def test_an_attempt_is_told_with_every_failure():
    body = problem_body(problem_of(UpstreamFailed((ATTEMPT,)), NOW_MS))
    assert body["attempts"] == (ATTEMPT,)
    assert "p:m upstream_error (500)" in body["detail"]
    assert (body["provider"], body["provider_status"], body["retryable"]) == ("p", 500, True)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_failure_is_retryable_unless_somebody_has_to_mend_something(outcome):
    stays = {Outcome.AUTH_REFUSED, Outcome.OUT_OF_CREDIT, Outcome.NOT_SUPPORTED}
    failed = msgspec.structs.replace(ATTEMPT, outcome=outcome.value)
    alone = problem_of(UpstreamFailed((failed,)), NOW_MS)
    assert alone.fields["retryable"] is (outcome not in stays)
    # Another deployment may recover, whatever has to be mended at this one.
    assert problem_of(UpstreamFailed((ATTEMPT, failed)), NOW_MS).fields["retryable"] is True


def test_a_call_without_a_length_is_told_to_give_one_not_to_leave_it_out():
    lacking, hosted = (problem_of(UnboundedCost(field), NOW_MS).detail for field in ("max_tokens", "tools"))
    assert "Give `max_tokens`." in lacking
    assert "Leave it out or bound it." in hosted


def test_a_deadline_says_whose_and_what_was_waited_for_and_how_long():
    late = DeadlineExceeded(elapsed_s=30.24, waited_for="p:m to answer", attempts=(ATTEMPT,), key="abc123")
    problem = problem_of(late, NOW_MS)
    assert "p:m to answer: key abc123\u2026, status: waiting, elapsed 30.2 s." in problem.detail
    told = {name: problem.fields[name] for name in ("provider", "provider_status", "retryable", "key", "elapsed_ms")}
    assert told == {"provider": "p", "provider_status": 500, "retryable": False, "key": "abc123", "elapsed_ms": 30240.0}
    second = problem_of(DeadlineExceeded(elapsed_s=0.5, waited_for="q:m", attempts=(ATTEMPT,), provider="q"), NOW_MS)
    assert (second.fields["provider"], second.fields["provider_status"]) == ("q", None)
    alone = problem_of(DeadlineExceeded(elapsed_s=0.5, waited_for="the ledger"), NOW_MS)
    assert (alone.fields["provider"], alone.fields["key"]) == (None, None)
    assert "the ledger: status: waiting" in alone.detail


def test_a_providers_error_keeps_its_words_and_not_its_code():
    rejected = UpstreamRejected(
        400, "no", {"error": {"message": "no", "type": "t", "param": "q", "code": "c"}}, (ATTEMPT,)
    )
    error = error_body(problem_of(rejected, NOW_MS))["error"]
    assert error == {
        "attempts": (ATTEMPT,),
        "provider": "p",
        "provider_status": 500,
        "retryable": False,
        "message": "no",
        "type": "t",
        "param": "q",
        "code": "upstream_rejected",
        "upstream_code": "c",
    }


def test_a_rejection_without_a_body_still_has_a_shape():
    error = error_body(problem_of(UpstreamRejected(413, "too big", None, ()), NOW_MS))["error"]
    assert (error["message"], error["type"], error["code"]) == ("too big", "invalid_request_error", "upstream_rejected")
