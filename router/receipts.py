"""Receipts and trace facts, made from what is known of a call. Pure but for reading the clock of a live journey."""

import time
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ledger.usage import Usage
from ledger.values import StoredResponse
from router.answer import Answer
from router.call import Call
from router.flights import Landing
from router.journey import Attempt, Event, Journey
from router.receipt import AttemptReport, CacheOutcome, Receipt, RouterFacts, Timing
from router.stored import Stored
from telemetry import AttemptFacts, ChatFacts

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
        dropped_params=(),
        latency_ms=round(latency_s * 1000, 3),
        timing=Timing(queue_ms=0.0, ledger_ms=round(ledger_s * 1000, 3), upstream_ms=0.0),
        router=router_facts(call, "closed", 0),
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


def chat_facts(
    call: Call,
    *,
    route: str,
    cache: CacheOutcome,
    began_at_ns: int,
    outcome: str,
    receipt: Receipt | None,
    answer: Answer | None,
    attempts: list[Attempt],
    events: tuple[Event, ...],
    captures_content: bool,
) -> ChatFacts:
    """What the `chat` span says of a call, however it ended. receipt and answer None: it got none.

    captures_content: also what was said, both ways; only where the config asks for it, and never vectors.
    """
    # Long for its one line a fact, which is how it is read.
    usage = receipt.usage if receipt is not None else None
    used = usage or Usage()
    captures_content = captures_content and call.kind == "chat"
    spoke = next((attempt for attempt in attempts if attempt.ttft_s is not None), None)
    last = attempts[-1].deployment if attempts else None
    return ChatFacts(
        generation_id=call.generation_id,
        span_id=call.trace.chat_span_id,
        route=route,
        provider=receipt.provider if receipt is not None else (last.provider.name if last else ""),
        model=receipt.model if receipt is not None else (last.model if last else ""),
        started_at_ns=began_at_ns,
        ended_at_ns=time.time_ns(),
        outcome=outcome,
        cache=cache,
        stream=call.stream,
        cost_nanousd=receipt.cost_nanousd if receipt is not None else _charged(attempts),
        cost_basis=receipt.cost_basis if receipt is not None else "",
        saved_nanousd=receipt.saved_nanousd if receipt is not None else 0,
        input_tokens=usage.prompt_tokens if usage is not None else None,
        output_tokens=usage.completion_tokens if usage is not None else None,
        cached_tokens=usage.cache_read_tokens if usage is not None else None,
        reasoning_tokens=usage.reasoning_tokens if usage is not None else None,
        cache_write_tokens=used.cache_written_tokens,
        cache_write_1h_tokens=used.cache_write_1h_tokens,
        input_audio_tokens=used.input_audio_tokens + used.cached_audio_tokens,
        input_image_tokens=used.input_image_tokens,
        output_audio_tokens=used.output_audio_tokens,
        output_image_tokens=used.output_image_tokens,
        finish_reason=_finish_reason(answer),
        first_output_at_ns=None if spoke is None else spoke.first_output_at_ns,
        response_model=answer.provider_model if answer is not None else "",
        response_id=answer.provider_response_id if answer is not None else "",
        dropped_params=receipt.dropped_params if receipt is not None else (),
        request=_request_facts(call),
        events=events,
        input_messages=_json(call.body.get("messages")) if captures_content else None,
        output_messages=_json(answer.choices) if captures_content and answer is not None else None,
        operation=call.kind,
        attempts=tuple(_attempt_facts(attempt) for attempt in attempts if attempt.ended_s is not None),
    )


def _finish_reason(answer: Answer | None) -> str:
    """Why the first choice ended. Vectors are just there."""
    if answer is None or not answer.choices or answer.choices[0].vector:
        return ""
    return answer.choices[0].finish_reason


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _charged(attempts: list[Attempt]) -> int:
    return sum(attempt.result.cost_nanousd or 0 for attempt in attempts if attempt.result is not None)


def _request_facts(call: Call) -> dict[str, int | float | str | bool]:
    names = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "n", "dimensions")
    return {name: value for name in names if isinstance(value := call.body.get(name), int | float)}


def _attempt_facts(attempt: Attempt) -> AttemptFacts:
    deployment, result = attempt.deployment, attempt.result
    address = urlsplit(deployment.provider.base_url)
    usage = result.usage if result is not None else None
    answer = attempt.answer
    return AttemptFacts(
        span_id=attempt.span_id,
        hedges_span_id=attempt.hedges,
        number=attempt.number,
        provider=deployment.provider.name,
        model=deployment.model,
        server_address=address.hostname or "",
        server_port=address.port or (443 if address.scheme == "https" else 80),
        started_at_ns=attempt.started_at_ns,
        ended_at_ns=attempt.started_at_ns + round(attempt.latency_s * 1e9),
        first_output_at_ns=attempt.first_output_at_ns,
        outcome=attempt.outcome.value if attempt.outcome is not None else "",
        status=result.status if result is not None else None,
        response_model=answer.provider_model if answer is not None else "",
        finish_reason=_finish_reason(answer),
        input_tokens=usage.prompt_tokens if usage is not None else None,
        output_tokens=usage.completion_tokens if usage is not None else None,
    )
