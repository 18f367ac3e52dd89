"""The fault table, row by row, and what a provider's refusal is taken for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.faults import (
    DOUBTFUL_STATUSES,
    FAULT_RULES,
    Fault,
    Outcome,
    classify_error_object,
    classify_status,
    is_charged,
    refuses_key,
    says_too_long,
)
from router.said import CODE_CHARS, MESSAGE_CHARS, clean

NOW_MS = 1_700_000_000_000


def classified(status: int, body: object = b"", **headers: str) -> Fault:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_status(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, data, now_ms=NOW_MS
    )


def error(message: str = "no", code: object = None, kind: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def gemini(code: int, status: str, message: str, *details: dict[str, object]) -> dict[str, object]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def reason(name: str) -> dict[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": "googleapis.com"}


# outcome: (counts for the breaker, tries the next one, may be billed, teaches). DESIGN §5, written down a second time.
TABLE = {
    "ok": (False, False, True, "answers"),
    "rate_limited": (False, True, True, "counted"),
    "connect_failed": (True, True, False, "fails"),
    "upstream_error": (True, True, True, "fails"),
    "bad_answer": (True, True, True, "fails"),
    "stalled": (True, True, True, "fails"),
    "auth_refused": (False, True, False, "key_refused"),
    "out_of_credit": (False, True, True, "out_of_credit"),
    "not_supported": (False, True, False, "not_supported"),
    "rejected": (False, False, False, "counted"),
    "cut": (True, True, True, "fails"),
    "aborted": (False, False, True, "nothing"),
    "lost": (False, False, True, "nothing"),
}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_row(outcome: Outcome) -> None:
    rule = FAULT_RULES[outcome]
    assert (rule.counts_for_breaker, rule.tries_next, rule.may_be_billed, rule.learns) == TABLE[outcome.value]


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
    # llama.cpp's server, of a call that is wrong or not for its model.
    (500, error("image input is not supported - hint: you may need to provide the mmproj", 500), Outcome.REJECTED),
    (500, error("Failed to parse tools: Unsupported tool type; tools = []", 500), Outcome.REJECTED),
    (500, error("Internal error, but image input is not supported", 500), Outcome.UPSTREAM_ERROR),
    (301, b"", Outcome.BAD_ANSWER),
    (308, b"", Outcome.BAD_ANSWER),
    (101, b"", Outcome.BAD_ANSWER),
]


# What vendors are known to say, in their own shapes.
VENDORS = [
    # OpenAI and those who imitate it.
    (429, error("Your account is not active, please check it.", "billing_not_active"), Outcome.OUT_OF_CREDIT),
    (400, error("Incorrect API key provided: sk-x. You can obtain one at https://x."), Outcome.AUTH_REFUSED),
    (
        400,
        error("Your organization must be verified to stream this model.", "unsupported_value"),
        Outcome.NOT_SUPPORTED,
    ),
    (404, error("Previous response with id 'resp_1' not found.", "previous_response_not_found"), Outcome.REJECTED),
    (404, error("No such File object: file-1", None, "invalid_request_error"), Outcome.REJECTED),
    (404, error("This is not a chat model and thus not supported in the v1/x endpoint."), Outcome.NOT_SUPPORTED),
    (400, error("The model `x` has been decommissioned", "model_decommissioned"), Outcome.NOT_SUPPORTED),
    (400, error("x is not a valid model ID", 400), Outcome.NOT_SUPPORTED),
    (
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1"},
        Outcome.NOT_SUPPORTED,
    ),
    (400, error("Model Not Exist"), Outcome.NOT_SUPPORTED),
    # Too large for any minute's allowance, whatever else is going on: this call's own fault, and not later either.
    (413, error("Request too large on tokens per minute (TPM)", "rate_limit_exceeded"), Outcome.REJECTED),
    (
        429,
        error(
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 52310. "
            "The input or output tokens must be reduced in order to run successfully.",
            "rate_limit_exceeded",
            "tokens",
        ),
        Outcome.REJECTED,
    ),
    (
        429,
        error(
            "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 29500, "
            "Requested 1200. Please try again in 1.4s.",
            "rate_limit_exceeded",
            "tokens",
        ),
        Outcome.RATE_LIMITED,
    ),
    (498, error("Flex tier capacity exceeded", "capacity_exceeded"), Outcome.RATE_LIMITED),
    (429, {"code": "x", "error": "Your team 1 has either used all available credits or"}, Outcome.OUT_OF_CREDIT),
    (
        412,
        {"error": "Account x is suspended, possibly due to reaching the monthly spending limit"},
        Outcome.OUT_OF_CREDIT,
    ),
    (403, {"code": "x", "error": "Content violates usage guidelines."}, Outcome.REJECTED),
    (500, error("Incorrect API key provided"), Outcome.AUTH_REFUSED),
    (504, error("Incorrect API key provided"), Outcome.UPSTREAM_ERROR),
    # Anthropic.
    (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the API"),
        Outcome.OUT_OF_CREDIT,
    ),
    (
        400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits."),
        Outcome.OUT_OF_CREDIT,
    ),
    (400, anthropic("invalid_request_error", "This organization has been disabled."), Outcome.AUTH_REFUSED),
    (400, anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), Outcome.REJECTED),
    (400, anthropic("invalid_request_error", "Output blocked by content filtering policy"), Outcome.REJECTED),
    (401, anthropic("authentication_error", "invalid x-api-key"), Outcome.AUTH_REFUSED),
    (402, anthropic("billing_error", "There is an issue"), Outcome.OUT_OF_CREDIT),
    (403, anthropic("permission_error", "Your key has no permission to use this"), Outcome.AUTH_REFUSED),
    (404, anthropic("not_found_error", "model: x"), Outcome.NOT_SUPPORTED),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), Outcome.REJECTED),
    (429, anthropic("rate_limit_error", "This would exceed your rate limit"), Outcome.RATE_LIMITED),
    (500, anthropic("api_error", "Internal server error"), Outcome.UPSTREAM_ERROR),
    (504, anthropic("timeout_error", "Request timed out"), Outcome.UPSTREAM_ERROR),
    (529, anthropic("overloaded_error", "Overloaded"), Outcome.UPSTREAM_ERROR),
    # Gemini. What it says of an exhausted minute are OpenAI's words for an empty purse: its name decides.
    (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, check your billing"),
        Outcome.RATE_LIMITED,
    ),
    (429, [gemini(429, "RESOURCE_EXHAUSTED", "in a list")], Outcome.RATE_LIMITED),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), Outcome.OUT_OF_CREDIT),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "It exceeded its monthly spending cap."), Outcome.OUT_OF_CREDIT),
    (400, gemini(400, "FAILED_PRECONDITION", "Please enable billing on your project"), Outcome.OUT_OF_CREDIT),
    (400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), Outcome.NOT_SUPPORTED),
    (400, gemini(400, "INVALID_ARGUMENT", "no", reason("API_KEY_INVALID")), Outcome.AUTH_REFUSED),
    (400, gemini(400, "INVALID_ARGUMENT", "Invalid value", {"@type": "BadRequest"}), Outcome.REJECTED),
    (400, gemini(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"), Outcome.REJECTED),
    (
        403,
        gemini(403, "PERMISSION_DENIED", "Consumer has been suspended", reason("CONSUMER_SUSPENDED")),
        Outcome.AUTH_REFUSED,
    ),
    (404, gemini(404, "NOT_FOUND", "models/x is not found for API version v1beta"), Outcome.NOT_SUPPORTED),
    (500, gemini(500, "INTERNAL", "An internal error"), Outcome.UPSTREAM_ERROR),
    (503, gemini(503, "UNAVAILABLE", "The model is overloaded."), Outcome.UPSTREAM_ERROR),
    (504, gemini(504, "DEADLINE_EXCEEDED", "too slow"), Outcome.UPSTREAM_ERROR),
]


@pytest.mark.parametrize(("status", "body", "outcome"), [*REFUSALS, *VENDORS])
def test_a_refusal_is_taken_for_what_it_is(status: int, body: object, outcome: Outcome) -> None:
    fault = classified(status, body)
    assert (fault.outcome, fault.status, fault.sent) == (outcome, status, True)


VENDORS_OWN = {"error": {"message": "upstream took too long"}}
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
    (Fault(Outcome.RATE_LIMITED, "said within an answer", status=200), True),
    (Fault(Outcome.LOST, "its owner died"), True),
    *((classified(status), False) for status in (400, 401, 402, 403, 404, 409, 413, 422, 425, 429)),
    *((classified(status), False) for status in (500, 501, 502, 503, 505, 519, 525, 529)),
    *((classified(status), True) for status in (408, 499, 504, 520, 521, 522, 523, 524)),
    *(
        (classified(504, body), True)
        for body in (b"<html>", {"message": "gateway"}, {"error": "gateway"}, {"detail": 1})
    ),
    *((classified(status, VENDORS_OWN), False) for status in (408, 499, 504, 520, 521, 522, 523, 524)),
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


# What a caller may write where it likes, and have repeated by the provider: it must not block a deployment for all.
POISON = ["insufficient_quota", "credit balance is too low", "invalid api key", "model_not_found", "model x not found"]
REPEATED = [
    "Invalid value: '{}'. Supported values are: 'none', 'auto'",
    "Invalid 'tools[0].function.name': \"{}\" is too long",
    "Unknown name `{}` at `contents`",
    "Unrecognized request argument supplied: {}",
    "Invalid value: 'a' {} 'b'",
    "Error while downloading https://example.org/{}.png",
]


@pytest.mark.parametrize("message", REPEATED)
@pytest.mark.parametrize("poison", POISON)
def test_what_a_caller_sent_is_not_taken_for_the_providers_word(message: str, poison: str) -> None:
    for body in (error(message.format(poison)), gemini(400, "INVALID_ARGUMENT", message.format(poison))):
        fault = classified(400, body)
        assert fault.outcome == Outcome.REJECTED
        assert not refuses_key(fault)


KEYS = [
    (401, b"", True),
    (400, gemini(400, "INVALID_ARGUMENT", "no", reason("API_KEY_INVALID")), True),
    (403, gemini(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another."), True),
    (403, error("Request not allowed"), False),
    (403, b"", False),
]


@pytest.mark.parametrize(("status", "body", "refused"), KEYS)
def test_a_key_is_refused_only_where_the_key_is_spoken_of(status: int, body: object, refused: bool) -> None:
    fault = classified(status, body)
    assert (fault.outcome, refuses_key(fault)) == (Outcome.AUTH_REFUSED, refused)


LENGTHS = [
    (error("This model's maximum context length is 4096 tokens. However, you asked for more"), True),
    (error("no", "context_length_exceeded"), True),
    (error("the request exceeds the available context size (4096 tokens)", 400, "exceed_context_size_error"), True),
    (anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), True),
    (anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"), True),
    (gemini(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens"), True),
    (error("Invalid value: 'x'"), False),
    (error("no", "content_policy_violation"), False),
]


@pytest.mark.parametrize(("body", "is_too_long"), LENGTHS)
def test_a_refusal_for_length_is_told_from_others(body: object, is_too_long: bool) -> None:
    fault = classified(400, body)
    assert (fault.outcome, says_too_long(fault)) == (Outcome.REJECTED, is_too_long)


NAMES = [
    (error("x", "insufficient_quota", "t"), "insufficient_quota"),
    (error("x", None, "server_error"), "server_error"),
    (error("x", 429), "429"),
    (error("x", 404, "NotFoundError"), "NotFoundError"),
    (anthropic("overloaded_error", "x"), "overloaded_error"),
    (gemini(429, "RESOURCE_EXHAUSTED", "x"), "RESOURCE_EXHAUSTED"),
    (gemini(400, "INVALID_ARGUMENT", "x", {"@type": "Help"}, reason("API_KEY_INVALID")), "API_KEY_INVALID"),
    ({"code": "denied", "error": "words"}, "denied"),
    (b"", ""),
]


@pytest.mark.parametrize(("body", "code"), NAMES)
def test_an_error_is_called_by_its_most_telling_name(body: object, code: str) -> None:
    assert classified(400, body).code == code


def test_geminis_wish_is_heard_in_a_refusal_and_within_an_answer() -> None:
    body = gemini(429, "RESOURCE_EXHAUSTED", "x", {"@type": "RetryInfo", "retryDelay": "7.5s"})
    assert classified(429, body).retry_after_s == 7.5
    assert classify_error_object(body, status=200).retry_after_s == 7.5
