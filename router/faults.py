"""What can happen to an attempt. The fault table (`FAULT_RULES`) is the one place that says what follows from it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from router.ratelimit import wait_after_refusal_s

MESSAGE_CHARS: Final = 300
CODE_CHARS: Final = 100


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


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from an outcome.

    counts_for_breaker: it speaks against the deployment. tries_next: another deployment may answer the same call.
    may_be_billed: it can end an attempt that the provider bills; `is_charged` decides each case.
    """

    counts_for_breaker: bool
    tries_next: bool
    may_be_billed: bool


FAULT_RULES: Final[Mapping[Outcome, Rule]] = {
    Outcome.OK: Rule(counts_for_breaker=False, tries_next=False, may_be_billed=True),
    Outcome.RATE_LIMITED: Rule(counts_for_breaker=False, tries_next=True, may_be_billed=False),
    Outcome.CONNECT_FAILED: Rule(counts_for_breaker=True, tries_next=True, may_be_billed=False),
    Outcome.UPSTREAM_ERROR: Rule(counts_for_breaker=True, tries_next=True, may_be_billed=True),
    Outcome.BAD_ANSWER: Rule(counts_for_breaker=True, tries_next=True, may_be_billed=True),
    Outcome.STALLED: Rule(counts_for_breaker=True, tries_next=True, may_be_billed=True),
    Outcome.AUTH_REFUSED: Rule(counts_for_breaker=False, tries_next=True, may_be_billed=False),
    # Some say it within a 200: then nothing proves that the prompt was not read.
    Outcome.OUT_OF_CREDIT: Rule(counts_for_breaker=False, tries_next=True, may_be_billed=True),
    Outcome.NOT_SUPPORTED: Rule(counts_for_breaker=False, tries_next=True, may_be_billed=False),
    Outcome.REJECTED: Rule(counts_for_breaker=False, tries_next=False, may_be_billed=False),
    # Another deployment is tried only while the caller has seen no output; dispatch knows.
    Outcome.CUT: Rule(counts_for_breaker=True, tries_next=True, may_be_billed=True),
    Outcome.ABORTED: Rule(counts_for_breaker=False, tries_next=False, may_be_billed=True),
    Outcome.LOST: Rule(counts_for_breaker=False, tries_next=False, may_be_billed=True),
}

# A proxy before the provider says these on its own, about a request that the provider may go on answering.
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
    return fault.status == 401 or _KEY_INVALID.search(f"{fault.code} {fault.message}".lower()) is not None


def says_too_long(fault: Fault) -> bool:
    """Whether the provider refused the call for its length: one with a larger window may take it."""
    return _TOO_LONG.search(f"{fault.code} {fault.message}".lower()) is not None


def classify_status(status: int, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> Fault:
    """What a complete response that is no answer says: any status but 2xx.

    headers: with lower-case names, or a mapping that does not mind. body: its beginning is enough. now_ms: for a
    a limit that names a date.
    """
    said = _said(body)
    outcome = Outcome.BAD_ANSWER if status < 400 else _outcome(status, said)
    return Fault(
        outcome,
        said.message or (f"redirected with HTTP {status}" if status < 400 else f"HTTP {status}"),
        status=status,
        code=said.code,
        retry_after_s=wait_after_refusal_s(headers, said.body, now_ms=now_ms),
        error_body=said.body,
    )


def classify_error_object(error: Mapping[str, Any], *, status: int) -> Fault:
    """What an error within a successful response says. status: the response's own.

    error: the whole object or event that held it.
    """
    said = _said_in(dict(error))
    outcome = Outcome.OUT_OF_CREDIT if said.speaks_of(OUT_OF_CREDIT) else Outcome.BAD_ANSWER
    return Fault(
        outcome, said.message or "an error instead of an answer", status=status, code=said.code, error_body=said.body
    )


def clean(text: str, *, limit: int = MESSAGE_CHARS) -> str:
    """Someone else's words, made safe for a log line: one line, no control or direction characters, bounded."""
    flat = _UNPRINTABLE.sub(" ", text[: limit * 4])
    return " ".join(flat.split())[:limit]


# Controls, line and paragraph separators, marks that turn the writing round, lone surrogates.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")

OUT_OF_CREDIT: Final = re.compile(
    "insufficient_quota|insufficient_balance|insufficient_credits|billing_hard_limit_reached|billing_not_active"
    "|credit balance (is )?too low|insufficient (credits|balance|funds)"
)
_KEY_INVALID: Final = re.compile(
    "invalid_api_key|api_key_invalid|api key not valid|(invalid|incorrect) (x-)?api[ -]key|account_deactivated"
)
_NOT_SUPPORTED: Final = re.compile(
    "model_not_found|unsupported_model|unsupported_endpoint|unknown_url|not_found_error|not a chat model"
    "|model .{0,100}(does not exist|not found)|(only|not) supported in (the )?v1/"
)
_TOO_LONG: Final = re.compile(
    "context_length_exceeded|maximum context length|context window|prompt is too long|input is too long"
    "|input token count .{0,60}exceeds|exceeds the maximum number of tokens"
)
_POLICY: Final = re.compile("content_policy|content_filter|moderation|flagged")
_TIMEOUT: Final = re.compile("timed?[ -]?out")


class _Said(msgspec.Struct, frozen=True):
    """A provider's error, as far as it could be read. body None: it was not in any vendor's shape."""

    message: str = ""
    code: str = ""
    kind: str = ""
    body: dict[str, Any] | None = None

    def speaks_of(self, what: re.Pattern[str]) -> bool:
        return what.search(f"{self.code} {self.kind} {self.message}".lower()) is not None


def _outcome(status: int, said: _Said) -> Outcome:
    """The first line that fits; words before numbers, for providers agree on the words more than on the numbers."""
    lines = (
        (Outcome.OUT_OF_CREDIT, status == 402 or said.speaks_of(OUT_OF_CREDIT)),
        (Outcome.RATE_LIMITED, status == 429),
        (Outcome.UPSTREAM_ERROR, status >= 500 or status in {408, 409, 425, 499}),
        (Outcome.AUTH_REFUSED, status == 401 or said.speaks_of(_KEY_INVALID)),
        (Outcome.NOT_SUPPORTED, status in {404, 405, 410} or said.speaks_of(_NOT_SUPPORTED)),
        (Outcome.STALLED, status == 403 and said.speaks_of(_TIMEOUT)),
        (Outcome.REJECTED, status != 403 or said.speaks_of(_POLICY)),
    )
    return next((outcome for outcome, fits in lines if fits), Outcome.AUTH_REFUSED)


def _said(body: bytes) -> _Said:
    try:
        decoded = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        # A page for people says nothing of use, and whole paragraphs of it.
        return _Said() if text.startswith("<") else _Said(message=clean(text))
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    return _said_in(decoded) if isinstance(decoded, dict) else _Said()


def _said_in(body: dict[str, Any]) -> _Said:
    error = body.get("error", body)
    if isinstance(error, str):
        return _Said(message=clean(error))
    if not isinstance(error, dict):
        return _Said()
    message = error.get("message") or error.get("detail")
    code, kind = error.get("code"), error.get("type")
    if message is None and code is None and kind is None:
        return _Said()
    return _Said(
        message=clean(message if isinstance(message, str) else _text(message)),
        code=clean(_text(code if code is not None else kind), limit=CODE_CHARS),
        kind=clean(_text(kind), limit=CODE_CHARS),
        # Proxies and frameworks speak too, in shapes of their own: those are not the vendor's word.
        body=body if error is not body or body.get("object") == "error" else None,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
