"""What a call's spans are made from, once it is over or left. Pure but for reading the clock."""

import time
from collections.abc import Callable
from typing import Any, Final

from ledger.usage import Usage
from router.answer import Answer, Choice
from router.asked import Asked
from router.call import Call
from router.faults import FAULT_RULES
from router.journey import Attempt, Event
from router.lessons import AS_IT_IS
from router.receipt import CacheOutcome, Receipt
from telemetry import AttemptFacts, ChatFacts, messages_json
from telemetry.facts import MAX_CONTENT_CHARS, Scalar

# {deployment id: the ids of the ceilings that its call counts under there}.
CeilingsOf = Callable[[str], tuple[str, ...]]
_NUMBERS_TOLD: Final = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "n", "dimensions")


def chat_facts(
    asked: Asked,
    *,
    cache: CacheOutcome,
    outcome: str,
    receipt: Receipt | None = None,
    answer: Answer | None = None,
    attempts: list[Attempt] | None = None,
    events: tuple[Event, ...] = (),
    answer_of: str = "",
    ceilings_of: CeilingsOf = lambda _: (),
) -> ChatFacts:
    """What the `chat` span says of a call, however it ended. receipt and answer None: it got none.

    What was said, both ways, is told only where the config asks for it, and vectors never.
    """
    # Long for its one line a fact, which is how it is read.
    call, attempts = asked.call, attempts or []
    usage = receipt.usage if receipt is not None else None
    used = usage or Usage()
    captures_content = asked.captures_content and call.kind == "chat"
    last = attempts[-1].deployment if attempts else None
    return ChatFacts(
        generation_id=call.generation_id,
        span_id=call.trace.chat_span_id,
        route=asked.route.name,
        provider=receipt.provider if receipt is not None else (last.provider.name if last else ""),
        model=receipt.model if receipt is not None else (last.model if last else ""),
        started_at_ns=asked.began_at_ns,
        ended_at_ns=time.time_ns(),
        outcome=outcome,
        cache=cache,
        stream=call.stream,
        cost_nanousd=receipt.cost_nanousd if receipt is not None else _charged_nanousd(attempts),
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
        first_output_at_ns=_first_output_at_ns(attempts),
        response_model=answer.provider_model if answer is not None else "",
        response_id=answer.provider_response_id if answer is not None else "",
        dropped_params=receipt.dropped_params if receipt is not None else (),
        clamped=receipt.clamped if receipt is not None else {},
        request=_request_facts(call),
        events=events,
        input_messages=_input(call) if captures_content else None,
        output_messages=_output(answer) if captures_content and answer is not None else None,
        operation=call.kind,
        answer_of=answer_of,
        was_paced=asked.was_paced,
        attribution=asked.facts.attribution,
        attempts=tuple(
            _attempt_facts(call, attempt, ceilings_of) for attempt in attempts if attempt.ended_s is not None
        ),
    )


def _first_output_at_ns(attempts: list[Attempt]) -> int | None:
    """Of the attempt that answered, else of the first that said anything."""
    spoke = [attempt for attempt in attempts if attempt.first_output_s is not None]
    heard = next((attempt for attempt in spoke if attempt.outcome == "ok"), spoke[0] if spoke else None)
    return None if heard is None else heard.first_output_at_ns


def _finish_reason(answer: Answer | None) -> str:
    """Why the first choice ended. Vectors are just there."""
    if answer is None or not answer.choices or answer.choices[0].vector:
        return ""
    return answer.choices[0].finish_reason


def _charged_nanousd(attempts: list[Attempt]) -> int:
    return sum(attempt.result.cost_nanousd or 0 for attempt in attempts if attempt.result is not None)


def _request_facts(call: Call) -> dict[str, Scalar]:
    asked = call.body
    facts: dict[str, Scalar] = {}
    for name in _NUMBERS_TOLD:
        if name in asked and isinstance(value := asked[name], (int, float)):
            facts[name] = value
    if isinstance(effort := asked.get("reasoning_effort"), str):
        facts["reasoning_effort"] = effort
    return facts


def _attempt_facts(call: Call, attempt: Attempt, ceilings_of: CeilingsOf) -> AttemptFacts:
    # Long as above.
    deployment, candidate, result, fault = attempt.deployment, attempt.candidate, attempt.result, attempt.fault
    host, port = deployment.provider.address
    answer, outcome = attempt.answer, attempt.outcome
    return AttemptFacts(
        span_id=attempt.span_id,
        hedges_span_id=attempt.hedges,
        number=attempt.number,
        provider=deployment.provider.name,
        model=deployment.model,
        server_address=host,
        server_port=port,
        started_at_ns=attempt.started_at_ns,
        ended_at_ns=attempt.started_at_ns + round(attempt.latency_s * 1e9),
        first_output_at_ns=attempt.first_output_at_ns,
        outcome=outcome.value if outcome is not None else "",
        status=result.status if result is not None else None,
        response_model=answer.provider_model if answer is not None else "",
        finish_reason=_finish_reason(answer),
        held_nanousd=candidate.held_nanousd,
        charged_nanousd=(result.cost_nanousd or 0) if result is not None else None,
        charged_basis=result.cost_basis if result is not None else "",
        price_version=deployment.price.version if deployment.price is not None else "",
        queued_s=attempt.queued_s,
        breaker_state=attempt.breaker.state.value,
        breaker_open_count=attempt.breaker.open_count,
        ceilings=ceilings_of(deployment.id),
        endpoint=candidate.endpoint,
        dropped_params=candidate.dropped_params,
        hints=_hints_used(call, attempt),
        error_code=fault.code if fault is not None else "",
        counts_for_breaker=attempt.counts_for_breaker,
        tries_next=outcome is not None and FAULT_RULES[outcome].tries_next,
        retry_after_s=fault.retry_after_s if fault is not None else None,
    )


def _hints_used(call: Call, attempt: Attempt) -> tuple[str, ...]:
    """What was learned of its deployment before, and made a difference to this call."""
    learned, candidate = attempt.asked_as, attempt.candidate
    if learned is AS_IT_IS:
        return ()
    used = [f"drop {name}" for name in candidate.dropped_params if name in learned.dropped]
    used += [f"rename {name} to {other}" for name, other in learned.renamed.items() if name in call.body]
    if learned.endpoint and learned.endpoint == candidate.endpoint:
        used.insert(0, f"endpoint {learned.endpoint}")
    return tuple(used)


def _input(call: Call) -> str:
    return messages_json(call.body.get("messages") or (), MAX_CONTENT_CHARS)


def _output(answer: Answer) -> str:
    return messages_json([_said(choice) for choice in answer.choices], MAX_CONTENT_CHARS)


def _said(choice: Choice) -> dict[str, Any]:
    calls = [{"id": it.id, "function": {"name": it.name, "arguments": it.arguments}} for it in choice.tool_calls]
    return {
        "role": "assistant",
        "reasoning": choice.reasoning,
        "content": choice.text,
        "refusal": choice.refusal,
        "tool_calls": calls,
        "finish_reason": choice.finish_reason,
    }
