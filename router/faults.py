"""What can happen to an attempt. The fault table (`FAULT_RULES`) is the one place that says what follows from it."""

from enum import StrEnum


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
