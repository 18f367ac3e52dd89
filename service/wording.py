"""What a refusal of the router or the ledger says: words, typed fields beside them, and when to come back.

The table is errors.py's; what ceilings and the edge refuse have files of their own.
"""

import math
from typing import Any, Final, NamedTuple

from ledger.apikeys import PepperDiffers
from ledger.errors import (
    HoldUnbounded,
    IdempotencyInProgress,
    IdempotencyMismatch,
    LedgerUnavailable,
    ReadingTooLong,
)
from ledger.money import format_usd
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
)
from router.faults import FAULT_RULES, Learns, Outcome
from router.receipt import AttemptReport

_STAYS: Final = frozenset({Learns.KEY_REFUSED, Learns.OUT_OF_CREDIT, Learns.NOT_SUPPORTED})


class Told(NamedTuple):
    """One refusal in words. retry_after_s: whole seconds, for Retry-After."""

    detail: str
    fields: dict[str, Any] = {}  # noqa: RUF012  # Never written to.
    retry_after_s: int | None = None
    headers: tuple[tuple[bytes, str], ...] = ()


def context_too_long(error: ContextTooLong, _now_ms: int) -> Told:
    windows = ", ".join(f"{name} takes {window:,}" for name, window in error.windows.items())
    return Told(
        f"messages: about {error.prompt_tokens:,} tokens are more than any deployment takes: {windows}. "
        "Shorten them, or ask a model with a larger context window.",
        {"param": "messages", "prompt_tokens": error.prompt_tokens},
    )


def inexpressible(error: Inexpressible, _now_ms: int) -> Told:
    return Told(
        f"{error.where}: {error.what} cannot be said to a provider of the dialect {error.dialect}, and no other "
        "provider of this model takes the call.",
        {"param": error.where},
    )


def route_forbidden(error: RouteForbidden, _now_ms: int) -> Told:
    return Told(
        f"This key may not ask for {error.route!r}, but for: {', '.join(error.allowed)}.",
        {"param": "model", "model": error.route, "routes": error.allowed},
    )


def pepper_differs(_error: PepperDiffers, _now_ms: int) -> Told:
    return Told(
        "Keys in force here were made under another pepper ($FARTHING_PEPPER, or the file farthing.pepper beside the "
        "ledger): use that one, or revoke them first.",
    )


def idempotency_in_progress(error: IdempotencyInProgress, _now_ms: int) -> Told:
    return Told(
        f"The first call under this Idempotency-Key, {error.generation_id}, is not over yet. Ask again soon for its "
        "result.",
        {"generation_id": error.generation_id},
        1,
    )


def idempotency_mismatch(error: IdempotencyMismatch, _now_ms: int) -> Told:
    return Told(
        f"This Idempotency-Key stands for another request, that of {error.generation_id}. Send that one again as it "
        "was, or this one under a new key.",
        {"generation_id": error.generation_id},
    )


def result_not_kept(error: ResultNotKept, _now_ms: int) -> Told:
    return Told(
        f"The first call under this Idempotency-Key, {error.generation_id}, is over, and its result was too large to "
        f"keep. It is not made again; GET /ledger/generations/{error.generation_id} has its account.",
        {"generation_id": error.generation_id},
    )


def unpriced_model(error: UnpricedModel, _now_ms: int) -> Told:
    return Told(
        "No price is known for "
        + ", ".join(error.deployments)
        + '. Give one under [[models]], or set router.unpriced = "free".',
        {"deployments": error.deployments},
    )


def max_cost_exceeded(error: MaxCostExceeded, _now_ms: int) -> Told:
    return Told(
        f"This call could cost {dollars(error.asked_nanousd)}, and its max_cost_usd is "
        f"{dollars(error.limit_nanousd)}. Lower max_tokens or raise max_cost_usd.",
        {
            "limit_usd": format_usd(error.limit_nanousd),
            "limit_nanousd": error.limit_nanousd,
            "asked_usd": format_usd(error.asked_nanousd),
            "asked_nanousd": error.asked_nanousd,
        },
    )


def unbounded_cost(error: UnboundedCost | HoldUnbounded, _now_ms: int) -> Told:
    # It is not what the call says, but what it leaves open.
    lets = "nothing says how long its answer may be. Give `max_tokens`."
    if error.field != "max_tokens":
        lets = f"`{error.field}` lets it cost any amount. Leave it out or bound it."
    return Told(
        f"A limit applies to this call, and {lets}",
        {"param": error.field, "field": error.field},
    )


def unknown_model(error: UnknownModel, _now_ms: int) -> Told:
    routes = ", ".join(error.routes) or "none"
    return Told(
        f"{error.model!r} is neither a route nor a model of a configured provider. Routes: {routes}.",
        {"param": "model", "model": error.model, "routes": error.routes},
    )


def not_cached(_error: NotCached, _now_ms: int) -> Told:
    return Told("The cache mode is `only`, and no answer to this call is stored. Use another mode to have it made.")


def upstream_failed(error: UpstreamFailed, _now_ms: int) -> Told:
    tried = "; ".join(
        f"{attempt.provider}:{attempt.model} {attempt.outcome}" + (f" ({attempt.status})" if attempt.status else "")
        for attempt in error.attempts
    )
    is_retryable = any(_may_pass(attempt) for attempt in error.attempts)
    return Told(
        f"Nobody gave an answer: {tried or 'nobody could be asked'}.",
        {**last_attempt_fields(error.attempts, is_retryable=is_retryable), "attempts": error.attempts},
    )


def last_attempt_fields(
    attempts: tuple[AttemptReport, ...], *, is_retryable: bool, waited_for: str = ""
) -> dict[str, Any]:
    """Who failed last and with which status, and whether the same call may fare better later.

    waited_for: the provider that has not answered yet, if there is one.
    """
    last = attempts[-1] if attempts else None
    if waited_for and (last is None or last.provider != waited_for):
        return {"provider": waited_for, "provider_status": None, "retryable": is_retryable}
    return {
        "provider": None if last is None else last.provider,
        "provider_status": None if last is None else last.status,
        "retryable": is_retryable,
    }


def _may_pass(attempt: AttemptReport) -> bool:
    """Whether it failed by what passes by itself: no key mends itself, no account fills, and no model appears."""
    return FAULT_RULES[Outcome(attempt.outcome)].learns not in _STAYS


def none_available(error: NoDeploymentAvailable, _now_ms: int) -> Told:
    retry_after_s = whole_seconds(error.retry_after_s)
    return Told(
        f"All deployments of this route are resting or blocked: ask again in {retry_after_s} s.",
        {"retry_after_s": retry_after_s},
        retry_after_s,
    )


def overloaded(error: Overloaded, _now_ms: int) -> Told:
    detail = "As many calls are in progress as this process takes, or it is shutting down. Try again."
    if error.waited_for:
        detail = f"So many calls wait for {error.waited_for} that this one would not be sent in time. Try again later."
    return Told(detail, retry_after_s=whole_seconds(error.retry_after_s))


def ledger_unavailable(error: LedgerUnavailable, _now_ms: int) -> Told:
    kept = "may or may not have been kept" if error.unknown else "was not kept"
    return Told(f"No call is made that cannot be accounted for. The record of this one {kept}.", {}, 1)


def reading_too_long(_error: ReadingTooLong, _now_ms: int) -> Told:
    return Told(
        "This takes too long to add up. A shorter window may do; so may one name less: two of user, workflow and run "
        "at once are counted call by call, while everything else is kept added up by the hour.",
        {},
        60,
    )


def slow_reader(error: SlowReader, _now_ms: int) -> Told:
    if error.behind_bytes is None:
        return Told("The stream was not read for too long, and ends here. Ask again and read what comes.")
    return Told(
        f"The stream was read so slowly that {error.behind_bytes:,} bytes waited, and ends here. Others who share it "
        "go on. Ask again and read faster, or ask for an answer that is not streamed.",
        {"behind_bytes": error.behind_bytes},
    )


def deadline_exceeded(error: DeadlineExceeded, _now_ms: int) -> Told:
    key = f"key {error.key}\u2026, " if error.key else ""
    return Told(
        f"Too late for {error.waited_for}: {key}status: waiting, elapsed {error.elapsed_s:.1f} s. Give more time "
        "(deadline_ms) or ask for less.",
        {
            **last_attempt_fields(error.attempts, is_retryable=False, waited_for=error.provider),
            "elapsed_ms": round(error.elapsed_s * 1000, 1),
            "waited_for": error.waited_for,
            "key": error.key or None,
            "attempts": error.attempts,
        },
    )


def dollars(nanousd: int) -> str:
    """An amount for people: exact, with two places at least."""
    whole, _, places = format_usd(nanousd).partition(".")
    return f"${whole}.{places.rstrip('0'):0<2}"


def whole_seconds(seconds: float) -> int:
    """As Retry-After takes them: one at least."""
    return max(1, math.ceil(seconds))
