"""The fault table, row by row, and what a provider's refusal is taken for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.faults import (
    CODE_CHARS,
    DOUBTFUL_STATUSES,
    FAULT_RULES,
    MESSAGE_CHARS,
    Fault,
    Outcome,
    classify_error_object,
    classify_status,
    clean,
    is_charged,
)

NOW_MS = 1_700_000_000_000


def classified(status: int, body: object = b"", **headers: str) -> Fault:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_status(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, data, now_ms=NOW_MS
    )


def error(message: str = "no", code: object = None, kind: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# outcome: (counts for the breaker, tries the next deployment, may be billed). DESIGN §5, written down a second time.
TABLE = {
    "ok": (False, False, True),
    "rate_limited": (False, True, False),
    "connect_failed": (True, True, False),
    "upstream_error": (True, True, True),
    "bad_answer": (True, True, True),
    "stalled": (True, True, True),
    "auth_refused": (False, True, False),
    "out_of_credit": (False, True, True),
    "not_supported": (False, True, False),
    "rejected": (False, False, False),
    "cut": (True, True, True),
    "aborted": (False, False, True),
    "lost": (False, False, True),
}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_row(outcome: Outcome) -> None:
    rule = FAULT_RULES[outcome]
    assert (rule.counts_for_breaker, rule.tries_next, rule.may_be_billed) == TABLE[outcome.value]


REFUSALS = [
    (429, error("slow down", "rate_limit_exceeded"), Outcome.RATE_LIMITED),
    (429, b"", Outcome.RATE_LIMITED),
    (429, error("You exceeded your current quota", "insufficient_quota"), Outcome.OUT_OF_CREDIT),
    (400, error("Your credit balance is too low to access the API"), Outcome.OUT_OF_CREDIT),
    (403, error("x", None, "billing_not_active"), Outcome.OUT_OF_CREDIT),
    (402, error("Insufficient Balance"), Outcome.OUT_OF_CREDIT),
    (402, b"", Outcome.OUT_OF_CREDIT),
    (401, error("who are you"), Outcome.AUTH_REFUSED),
    (401, b"<html>", Outcome.AUTH_REFUSED),
    (400, error("API key not valid. Please pass a valid API key."), Outcome.AUTH_REFUSED),
    (403, error("not for you"), Outcome.AUTH_REFUSED),
    (403, error("upstream request timeout"), Outcome.STALLED),
    (403, error("the request timed out"), Outcome.STALLED),
    (403, error("Your input was flagged"), Outcome.REJECTED),
    (403, error("no access", "model_not_found"), Outcome.NOT_SUPPORTED),
    (404, error("The model `x` does not exist", "model_not_found"), Outcome.NOT_SUPPORTED),
    (404, b"<h1>Not Found</h1>", Outcome.NOT_SUPPORTED),
    (405, b"", Outcome.NOT_SUPPORTED),
    (400, error("This model is only supported in v1/responses and not in v1/chat/completions."), Outcome.NOT_SUPPORTED),
    (400, error("too long", "context_length_exceeded"), Outcome.REJECTED),
    (400, error("no", "content_policy_violation"), Outcome.REJECTED),
    (400, b"nonsense", Outcome.REJECTED),
    (413, b"", Outcome.REJECTED),
    (422, {"detail": [{"loc": ["body"], "msg": "bad"}]}, Outcome.REJECTED),
    (408, b"", Outcome.UPSTREAM_ERROR),
    (409, b"", Outcome.UPSTREAM_ERROR),
    (499, b"", Outcome.UPSTREAM_ERROR),
    (500, error("oops"), Outcome.UPSTREAM_ERROR),
    (502, b"<html>Bad gateway</html>", Outcome.UPSTREAM_ERROR),
    (503, b"", Outcome.UPSTREAM_ERROR),
    (524, b"", Outcome.UPSTREAM_ERROR),
    (529, error("Overloaded", None, "overloaded_error"), Outcome.UPSTREAM_ERROR),
    (301, b"", Outcome.BAD_ANSWER),
    (308, b"", Outcome.BAD_ANSWER),
    (101, b"", Outcome.BAD_ANSWER),
]


@pytest.mark.parametrize(("status", "body", "outcome"), REFUSALS)
def test_a_refusal_is_taken_for_what_it_is(status: int, body: object, outcome: Outcome) -> None:
    fault = classified(status, body)
    assert (fault.outcome, fault.status, fault.sent) == (outcome, status, True)


VENDORS = {"error": {"message": "upstream took too long"}}
CHARGES = [
    (Fault(Outcome.CONNECT_FAILED, "refused", sent=False), False),
    (Fault(Outcome.ABORTED, "while queueing", sent=False), False),
    (Fault(Outcome.ABORTED, "hedge lost"), True),
    (Fault(Outcome.STALLED, "silence"), True),
    (Fault(Outcome.CUT, "closed without a byte"), True),
    (Fault(Outcome.CUT, "broke off", status=200), True),
    (Fault(Outcome.BAD_ANSWER, "garbage", status=200), True),
    (Fault(Outcome.BAD_ANSWER, "redirect", status=302), True),
    (Fault(Outcome.OUT_OF_CREDIT, "said within an answer", status=200), True),
    (Fault(Outcome.LOST, "its owner died"), True),
    *((classified(status), False) for status in (400, 401, 402, 403, 404, 409, 413, 422, 425, 429)),
    *((classified(status), False) for status in (500, 501, 502, 503, 505, 519, 525, 529)),
    *((classified(status), True) for status in (408, 499, 504, 520, 521, 522, 523, 524)),
    *(
        (classified(504, body), True)
        for body in (b"<html>", {"message": "gateway"}, {"error": "gateway"}, {"detail": 1})
    ),
    *((classified(status, VENDORS), False) for status in (408, 499, 504, 520, 521, 522, 523, 524)),
    (classified(403, error("request timeout")), False),
]


@pytest.mark.parametrize(("fault", "charged"), CHARGES)
def test_an_attempt_is_charged_unless_it_surely_cost_nothing(fault: Fault, charged: bool) -> None:
    assert is_charged(fault) is charged


@given(st.integers(300, 599), st.binary(max_size=200))
def test_whatever_a_status_says_agrees_with_the_table(status: int, body: bytes) -> None:
    fault = classified(status, body)
    assert not is_charged(fault) or FAULT_RULES[fault.outcome].may_be_billed
    assert is_charged(fault) == (status < 400 or (status in DOUBTFUL_STATUSES and fault.error_body is None))


def test_a_refusal_carries_its_words_its_code_and_its_wish() -> None:
    fault = classified(429, error("Slow\r\ndown\x00 please", "rate_limit_exceeded"), retry_after="3")
    assert (fault.message, fault.code, fault.retry_after_s) == ("Slow down please", "rate_limit_exceeded", 3.0)
    assert fault.error_body == error("Slow\r\ndown\x00 please", "rate_limit_exceeded")


WORDS = [
    ({"error": "plain"}, "plain"),
    ({"message": "bare", "code": 400}, "bare"),
    ([{"error": {"message": "in a list"}}], "in a list"),
    ({"detail": "FastAPI"}, "FastAPI"),
    (b"plain text", "plain text"),
    (b"<html>a page</html>", "HTTP 500"),
    (b"", "HTTP 500"),
    ({"unrelated": 1}, "HTTP 500"),
    ([], "HTTP 500"),
    (b"[" * 60_000, "[" * MESSAGE_CHARS),
]


@pytest.mark.parametrize(("body", "message"), WORDS)
def test_the_message_is_found_in_any_vendors_shape(body: object, message: str) -> None:
    assert classified(500, body).message == message


@given(st.text())
def test_cleaned_words_are_one_bounded_printable_line(text: str) -> None:
    words = clean(text)
    assert len(words) <= MESSAGE_CHARS
    assert not any(ord(char) < 32 or char in "\x7f\x85\u2028\u2029\u202e" for char in words)
    words.encode()


@given(
    st.integers(100, 999),
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda some: (
            st.lists(some) | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail"]), some)
        ),
        max_leaves=8,
    ),
)
def test_any_error_object_makes_a_bounded_fault(status: int, body: object) -> None:
    data = json.dumps(body).encode()
    fault = classify_status(status, {}, data, now_ms=NOW_MS)
    assert len(fault.message) <= MESSAGE_CHARS
    assert len(fault.code) <= CODE_CHARS


def test_an_error_within_an_answer_is_a_bad_answer_unless_it_is_about_credit() -> None:
    assert classify_error_object(error("boom", 500), status=200).outcome == Outcome.BAD_ANSWER
    assert classify_error_object(error("boom", "insufficient_quota"), status=200).outcome == Outcome.OUT_OF_CREDIT
    assert classify_error_object(error("slow", 429), status=200).code == "429"
