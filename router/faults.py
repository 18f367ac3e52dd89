"""What can happen to an attempt. The fault table (`FAULT_RULES`) is the one place that says what follows from it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from router import said
from router.ratelimit import wait_after_refusal_s
from router.said import Said, read_error, read_error_object


class Outcome(StrEnum):
    """How an attempt ended, under the names that reports and callers see."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    CONNECT_FAILED = "connect_failed"
    UPSTREAM_ERROR = "upstream_error"
    BAD_ANSWER = "bad_answer"
    STALLED = "stalled"
    AUTH_REFUSED = "auth_refused"
    OUT_OF_CREDIT = "out_of_credit"
    NOT_SUPPORTED = "not_supported"
    REJECTED = "rejected"
    CUT = "cut"
    ABORTED = "aborted"
    LOST = "lost"


class Fault(Exception):
    """An attempt that gave no whole answer.

    status: the HTTP status, if a complete one came. message: the provider's own words, bounded, never a key or a
    prompt of ours. code: the provider's error code or type. sent: True unless it is proved that no byte of the request
    left this machine. error_body: the provider's error object, for a caller it must be passed through to.
    """

    def __init__(
        self,
        outcome: Outcome,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        sent: bool = True,
        retry_after_s: float | None = None,
        error_body: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.status = status
        self.code = code
        self.sent = sent
        self.retry_after_s = retry_after_s
        self.error_body = error_body


class Learns(StrEnum):
    """What an outcome teaches about its deployment, for `router.hints`.

    COUNTED: only that it happened. Whatever the outcome, words that name another endpoint or field teach that too
    (`router.lessons`), and a moment to come back at is heeded (`router.ratelimit`).
    """

    NOTHING = "nothing"
    COUNTED = "counted"
    ANSWERS = "answers"
    FAILS = "fails"
    KEY_REFUSED = "key_refused"
    OUT_OF_CREDIT = "out_of_credit"
    NOT_SUPPORTED = "not_supported"


class Rule(NamedTuple):
    """What follows from an outcome.

    counts_for_breaker: it speaks against the deployment. tries_next: another deployment may answer the same call.
    may_be_billed: it can end an attempt that the provider bills; `is_charged` decides each case.
    """

    counts_for_breaker: bool
    tries_next: bool
    may_be_billed: bool
    learns: Learns


FAULT_RULES: Final[Mapping[Outcome, Rule]] = {
    outcome: Rule(*rule)
    for outcome, rule in (
        # Breaker, next, billed, learns: in this order.
        (Outcome.OK, (False, False, True, Learns.ANSWERS)),
        # Without a word of when to come back it counts after all; `router.journey` knows.
        # Some say this, or that there is no credit, within a 200: then nothing proves that the prompt was not read.
        (Outcome.RATE_LIMITED, (False, True, True, Learns.COUNTED)),
        (Outcome.CONNECT_FAILED, (True, True, False, Learns.FAILS)),
        (Outcome.UPSTREAM_ERROR, (True, True, True, Learns.FAILS)),
        (Outcome.BAD_ANSWER, (True, True, True, Learns.FAILS)),
        (Outcome.STALLED, (True, True, True, Learns.FAILS)),
        (Outcome.AUTH_REFUSED, (False, True, False, Learns.KEY_REFUSED)),
        (Outcome.OUT_OF_CREDIT, (False, True, True, Learns.OUT_OF_CREDIT)),
        (Outcome.NOT_SUPPORTED, (False, True, False, Learns.NOT_SUPPORTED)),
        # What was too long, or too large for a rate limit, is tried where more fits; `router.alternatives` knows.
        (Outcome.REJECTED, (False, False, False, Learns.COUNTED)),
        # Another deployment is tried only while the caller has seen no output; `router.dispatch` knows.
        (Outcome.CUT, (True, True, True, Learns.FAILS)),
        (Outcome.ABORTED, (False, False, True, Learns.NOTHING)),
        (Outcome.LOST, (False, False, True, Learns.NOTHING)),
    )
}

# A proxy before the provider says these on its own, about a request that the provider may go on answering.
# Groq says 413 of what OpenAI says 429 of.
_LIMIT_STATUSES: Final = frozenset({413, 429})
DOUBTFUL_STATUSES: Final = frozenset({408, 499, 504, *range(520, 525)})


def is_charged(fault: Fault) -> bool:
    """Whether an attempt that ended so may have cost money. Source: DESIGN §4, invariant 7."""
    if not fault.sent:
        return False
    if fault.status is not None and fault.status >= 400:
        return fault.status in DOUBTFUL_STATUSES and fault.error_body is None
    return FAULT_RULES[fault.outcome].may_be_billed


def refuses_key(fault: Fault) -> bool:
    """Whether the provider says of the key itself that it is not valid."""
    return fault.status == 401 or Said(message=fault.message, code=fault.code).says(said.KEY_INVALID)


def says_too_large_for_its_limit(fault: Fault) -> bool:
    """Whether the call by itself is more than the provider allows in any minute: another one's limit may be higher."""
    words = Said(message=fault.message, code=fault.code)
    return fault.status in _LIMIT_STATUSES and words.mentions(said.TOO_LARGE_FOR_THE_LIMIT)


def says_too_long(fault: Fault) -> bool:
    """Whether the provider refused the call for its length: one with a larger window may take it."""
    return Said(message=fault.message, code=fault.code).mentions(said.TOO_LONG)


def classify_status(status: int, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> Fault:
    """What a complete response that is no answer says: any status but 2xx.

    headers: with lower-case names, or a mapping that does not mind. body: its beginning is enough. now_ms: for a
    limit that names a date.
    """
    error = read_error(body)
    outcome = Outcome.BAD_ANSWER if status < 400 else _outcome(status, error)
    return Fault(
        outcome,
        error.message or (f"redirected with HTTP {status}" if status < 400 else f"HTTP {status}"),
        status=status,
        code=error.code,
        # What is wrong with the call itself is no better later, and says nothing about when others may come.
        retry_after_s=None if outcome == Outcome.REJECTED else wait_after_refusal_s(headers, error.body, now_ms=now_ms),
        error_body=error.body,
    )


def classify_error_object(body: Mapping[str, Any], *, status: int) -> Fault:
    """What an error within a successful response says. status: the response's own.

    body: the whole object or event that held it.
    """
    error = read_error_object(dict(body))
    return Fault(
        Outcome.OUT_OF_CREDIT if error.says(said.OUT_OF_CREDIT) else Outcome.BAD_ANSWER,
        error.message or "an error instead of an answer",
        status=status,
        code=error.code,
        retry_after_s=wait_after_refusal_s({}, error.body, now_ms=0),
        error_body=error.body,
    )


def _outcome(status: int, error: Said) -> Outcome:
    """The first line that fits; words before numbers, for providers agree on the words more than on the numbers."""
    lines = (
        (Outcome.OUT_OF_CREDIT, status == 402 or error.says(said.OUT_OF_CREDIT)),
        (Outcome.AUTH_REFUSED, status == 401 or (status not in DOUBTFUL_STATUSES and error.says(said.KEY_INVALID))),
        (Outcome.REJECTED, status in _LIMIT_STATUSES and error.mentions(said.TOO_LARGE_FOR_THE_LIMIT)),
        # Some say 498 when they are full.
        (Outcome.RATE_LIMITED, status == 429 or (status in {413, 498} and error.says(said.RATE_LIMITED))),
        (Outcome.REJECTED, status == 500 and error.says(said.UNFIT)),
        (Outcome.UPSTREAM_ERROR, status >= 500 or status in {408, 409, 425, 499}),
        (Outcome.REJECTED, status == 404 and error.mentions(said.NAMED_BY_CALLER)),
        (Outcome.NOT_SUPPORTED, status in {404, 405, 410} or error.says(said.NOT_SUPPORTED)),
        (Outcome.STALLED, status == 403 and error.mentions(said.TIMEOUT)),
        (Outcome.REJECTED, status != 403 or error.mentions(said.POLICY)),
    )
    return next((outcome for outcome, fits in lines if fits), Outcome.AUTH_REFUSED)
