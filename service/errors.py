"""Every refusal's status and words, in one table. RFC 9457 problems; the `/v1` paths wear the same ones differently.

No exception's own text reaches a client: what is said is made here, from typed fields.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from ledger.apikeys import ApiKeyOver, PepperDiffers
from ledger.errors import (
    CeilingExceeded,
    CeilingHeld,
    HoldUnbounded,
    IdempotencyInProgress,
    IdempotencyMismatch,
    LedgerUnavailable,
    RateLimited,
    ReadingTooLong,
)
from router.errors import (
    ContextTooLong,
    DeadlineExceeded,
    Inexpressible,
    MaxCostExceeded,
    NoDeploymentAvailable,
    NotCached,
    Overloaded,
    ResultNotKept,
    RouteForbidden,
    SlowReader,
    UnboundedCost,
    UnknownModel,
    UnpricedModel,
    UpstreamFailed,
    UpstreamRejected,
)
from service import ceiling_wording, edge_wording, wording
from service.refusals import (
    BodyTimeout,
    BodyTooLarge,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
    UnsupportedMediaType,
)
from service.wording import Told

PROBLEM_TYPE: Final = "urn:farthing:error:"
PROBLEM_MEDIA_TYPE: Final = b"application/problem+json"
CALLER_GONE_STATUS: Final = 499


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One refusal as a client may see it. fields: typed facts beside the words. headers: what goes with the status."""

    status: int
    code: str
    title: str
    detail: str
    fields: dict[str, Any] = {}
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Rule(NamedTuple):
    """How one kind of refusal is told. retries False: says to SDKs that the same call cannot fare better."""

    status: int
    code: str
    title: str
    tell: Callable[[Any, int], Told]
    retries: bool = True


RULES: Final[dict[type[BaseException], Rule]] = {
    rule_for: Rule(*rule)
    for rule_for, rule in (
        (InvalidRequest, (400, "invalid_request", "The request is not valid", edge_wording.invalid_request)),
        (ContextTooLong, (400, "invalid_request", "The request is too long", wording.context_too_long)),
        (Inexpressible, (400, "invalid_request", "The request cannot be passed on", wording.inexpressible)),
        (Unauthenticated, (401, "unauthenticated", "The key is not known", edge_wording.unauthenticated)),
        (ApiKeyOver, (401, ApiKeyOver.code, "The key is not known", edge_wording.api_key_over)),
        (Forbidden, (403, "forbidden", "Not allowed", edge_wording.forbidden)),
        (RouteForbidden, (403, "forbidden", "Not allowed", wording.route_forbidden)),
        (NotFound, (404, "not_found", "No such thing", edge_wording.not_found)),
        (MethodNotAllowed, (405, "method_not_allowed", "Method not allowed", edge_wording.method_not_allowed)),
        (BodyTimeout, (408, "body_timeout", "The body did not arrive", edge_wording.body_timeout)),
        (SlowReader, (408, "slow_reader", "The stream was not read", wording.slow_reader)),
        (
            IdempotencyInProgress,
            (409, "idempotency_in_progress", "The first call is in progress", wording.idempotency_in_progress),
        ),
        (
            ResultNotKept,
            (409, "idempotency_result_not_kept", "The result was not kept", wording.result_not_kept, False),
        ),
        (PepperDiffers, (409, PepperDiffers.code, "Another pepper", wording.pepper_differs, False)),
        (BodyTooLarge, (413, "body_too_large", "The body is too large", edge_wording.body_too_large)),
        (
            UnsupportedMediaType,
            (415, "unsupported_media_type", "The body is not JSON", edge_wording.unsupported_media_type),
        ),
        (
            IdempotencyMismatch,
            (422, "idempotency_mismatch", "The key stands for another request", wording.idempotency_mismatch, False),
        ),
        (CeilingExceeded, (402, "ceiling_exceeded", "A ceiling is reached", ceiling_wording.ceiling_exceeded, False)),
        (CeilingHeld, (429, "ceiling_held", "A ceiling is held", ceiling_wording.ceiling_held)),
        (RateLimited, (429, "rate_limited", "Too much at once", ceiling_wording.rate_limited)),
        (UnpricedModel, (402, "unpriced_model", "The model has no price", wording.unpriced_model, False)),
        (MaxCostExceeded, (402, "max_cost_exceeded", "It could cost too much", wording.max_cost_exceeded, False)),
        (UnboundedCost, (402, "unbounded_cost", "Its cost has no bound", wording.unbounded_cost, False)),
        (HoldUnbounded, (402, HoldUnbounded.code, "Its cost has no bound", wording.unbounded_cost, False)),
        (UnknownModel, (404, "unknown_model", "No such model", wording.unknown_model)),
        (NotCached, (404, "not_cached", "No stored answer", wording.not_cached)),
        (UpstreamFailed, (502, "upstream_failed", "Every attempt failed", wording.upstream_failed)),
        (NoDeploymentAvailable, (503, "no_deployment_available", "Nobody can answer now", wording.none_available)),
        (Overloaded, (503, "overloaded", "Too busy", wording.overloaded)),
        (LedgerUnavailable, (503, "ledger_unavailable", "The ledger takes no writes", wording.ledger_unavailable)),
        (ReadingTooLong, (503, "ledger_unavailable", "The report takes too long", wording.reading_too_long)),
        (DeadlineExceeded, (504, "deadline_exceeded", "The deadline passed", wording.deadline_exceeded, False)),
    )
}


def problem_of(error: BaseException, now_ms: int) -> Problem:
    """What a client is told about this error. Whatever no rule knows is an `internal_error` that tells nothing."""
    if isinstance(error, UpstreamRejected):
        return Problem(
            status=error.status,
            code=error.code,
            title="The provider refused the call",
            detail=error.message,
            fields={
                **wording.last_attempt_fields(error.attempts, is_retryable=False),
                "provider_error": error.error_body,
                "attempts": error.attempts,
            },
        )
    rule = RULES.get(type(error))
    if rule is None:
        return INTERNAL_ERROR
    told = rule.tell(error, now_ms)
    return Problem(
        status=rule.status,
        code=rule.code,
        title=rule.title,
        detail=told.detail,
        fields=told.fields,
        headers=_headers(rule, told),
    )


INTERNAL_ERROR: Final = Problem(
    status=500,
    code="internal_error",
    title="A fault of ours",
    detail="Something went wrong in the gateway itself. The log has it under the id in x-farthing-trace-id.",
)


def problem_body(problem: Problem) -> dict[str, Any]:
    """The RFC 9457 object."""
    return {
        "type": PROBLEM_TYPE + problem.code,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.fields,
    }


def _headers(rule: Rule, told: Told) -> tuple[tuple[bytes, bytes], ...]:
    headers = [(name, value.encode("latin-1", "replace")) for name, value in told.headers]
    if told.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % told.retry_after_s))
    if not rule.retries:
        headers.append((b"x-should-retry", b"false"))
    return tuple(headers)
