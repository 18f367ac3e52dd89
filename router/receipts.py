"""Receipts, made from what is known of a call. Pure."""

from typing import Final

from ledger.values import StoredResponse
from router.call import Call
from router.journey import Attempt, Journey
from router.landing import Landing
from router.receipt import AttemptReport, CacheOutcome, Receipt, RouterFacts, Timing
from router.stored import Stored

_REASONING_HINTS: Final = frozenset({"reasoning_effort", "reasoning", "output_config.effort"})
_THINKING_HINTS: Final = frozenset({"thinking_budget", "include_thoughts", "thinking", "thinking.display"})


def landing_of(journey: Journey, answered: Attempt) -> Landing:
    """The account of an answered call, for everyone who listened."""
    assert answered.answer is not None
    assert answered.result is not None
    return Landing(
        answer=answered.answer,
        provider=answered.deployment.provider.name,
        model=answered.deployment.model,
        cost_nanousd=journey.cost_nanousd,
        answer_cost_nanousd=answered.result.cost_nanousd or 0,
        cost_basis=answered.result.cost_basis,
        estimated_prompt_tokens=journey.estimated_prompt_tokens,
        attempts=journey.reports,
        dropped_params=answered.candidate.dropped_params,
        clamped=answered.candidate.clamped,
        timing=journey.timing,
        router=router_facts(
            journey.call,
            journey.breaker_status,
            journey.breaker_open_count,
            answered.candidate.dropped_params,
            was_paced=journey.was_paced,
        ),
    )


def leader_receipt(call: Call, landing: Landing, cache: CacheOutcome, *, latency_s: float) -> Receipt:
    """For the caller whose call it was: it pays, and sees every attempt."""
    return _receipt(
        call,
        landing,
        cache,
        cost_nanousd=landing.cost_nanousd,
        saved_nanousd=0,
        cost_basis=landing.cost_basis,
        attempts=landing.attempts,
        latency_s=latency_s,
    )


def follower_receipt(call: Call, landing: Landing, *, latency_s: float) -> Receipt:
    """For a caller who shared another one's flight: no cost, no attempts, and what the answer would have cost."""
    return _receipt(
        call,
        landing,
        "coalesced",
        cost_nanousd=0,
        saved_nanousd=landing.answer_cost_nanousd,
        cost_basis="free",
        attempts=(),
        latency_s=latency_s,
    )


def _receipt(
    call: Call,
    landing: Landing,
    cache: CacheOutcome,
    *,
    cost_nanousd: int,
    saved_nanousd: int,
    cost_basis: str,
    attempts: tuple[AttemptReport, ...],
    latency_s: float,
) -> Receipt:
    return Receipt(
        generation_id=call.generation_id,
        trace_id=call.trace.trace_id,
        provider=landing.provider,
        model=landing.model,
        cache=cache,
        cost_nanousd=cost_nanousd,
        saved_nanousd=saved_nanousd,
        cost_basis=cost_basis,
        usage=landing.answer.usage,
        estimated_prompt_tokens=landing.estimated_prompt_tokens,
        attempts=attempts,
        dropped_params=landing.dropped_params,
        clamped=landing.clamped,
        latency_ms=round(latency_s * 1000, 3),
        timing=landing.timing,
        router=landing.router,
    )


def hit_receipt(call: Call, response: StoredResponse, stored: Stored, *, latency_s: float, ledger_s: float) -> Receipt:
    """For a caller who got a stored answer."""
    provider, _, model = response.deployment.partition(":")
    return Receipt(
        generation_id=call.generation_id,
        trace_id=call.trace.trace_id,
        provider=provider,
        model=model,
        cache="hit",
        cost_nanousd=0,
        saved_nanousd=response.cost_nanousd,
        cost_basis="free",
        usage=stored.answer.usage,
        estimated_prompt_tokens=stored.estimated_prompt_tokens,
        attempts=(),
        dropped_params=stored.dropped_params,
        latency_ms=round(latency_s * 1000, 3),
        timing=Timing(queue_ms=0.0, ledger_ms=round(ledger_s * 1000, 3), upstream_ms=0.0),
        router=router_facts(call, "closed", 0, stored.dropped_params),
    )


def router_facts(
    call: Call, breaker_status: str, breaker_open_count: int, dropped: tuple[str, ...] = (), *, was_paced: bool = False
) -> RouterFacts:
    """The `telemetry` block, from what the caller asked for and how the deployment's breaker stood."""
    body = call.body
    reasoning = body.get("reasoning")
    effort = body.get("reasoning_effort")
    thinking = body.get("thinking")
    thinking_budget = body.get("thinking_budget", thinking.get("budget_tokens") if isinstance(thinking, dict) else None)
    include_thoughts = body.get("include_thoughts")
    return RouterFacts(
        circuit_breaker_status=breaker_status,
        circuit_breaker_open_count=breaker_open_count,
        router_pacing_delay=was_paced,
        reasoning_effort=effort if isinstance(effort, str) else None,
        reasoning_hint_dropped=not _REASONING_HINTS.isdisjoint(dropped),
        thinking_hint_dropped=not _THINKING_HINTS.isdisjoint(dropped),
        reasoning_summary_requested=isinstance(reasoning, dict) and bool(reasoning.get("summary")),
        thinking_budget=thinking_budget if isinstance(thinking_budget, int) else None,
        include_thoughts=include_thoughts if isinstance(include_thoughts, bool) else None,
    )
