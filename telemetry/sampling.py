"""Which traces are recorded. The SDK's samplers' answers, without a span context to be made for each.

The flag in `traceparent` is decided when a request comes, and is what those who are called hear: whether all of its
trace is to be recorded. Spans are made when it is over, and by then some are worth having whatever the flag says
(`kept_for`). They are told beside the sampled ones, and their flag stays as it was: whoever was called was not asked to
record, and must not seem to have lost what it never had. W3C Trace Context §3.2.2.5 has it so: an unset flag says only
that the caller may not have recorded.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from telemetry.context import ParentContext
from telemetry.facts import RequestFacts

Sampling = Callable[[ParentContext | None, str], bool]

# The last 64 bits of a trace id decide, so that every service of a trace decides alike.
_DECIDING_DIGITS: Final = 16


def always(_parent: ParentContext | None, _trace_id: str) -> bool:
    """Every trace."""
    return True


def never(_parent: ParentContext | None, _trace_id: str) -> bool:
    """No trace."""
    return False


def by_ratio(ratio: float) -> Sampling:
    """This share of all traces, chosen by their ids."""
    bound = TraceIdRatioBased.get_bound_for_rate(ratio)
    return lambda _parent, trace_id: int(trace_id[-_DECIDING_DIGITS:], 16) < bound


def by_parent(root: Sampling) -> Sampling:
    """What the caller decided; `root` decides where there is none."""
    return lambda parent, trace_id: root(None, trace_id) if parent is None else parent.sampled


# The samplers of OTEL_TRACES_SAMPLER. Each takes the share that OTEL_TRACES_SAMPLER_ARG names.
SAMPLERS: Final[Mapping[str, Callable[[float], Sampling]]] = MappingProxyType(
    {
        "always_on": lambda _ratio: always,
        "always_off": lambda _ratio: never,
        "traceidratio": by_ratio,
        "parentbased_always_on": lambda _ratio: by_parent(always),
        "parentbased_always_off": lambda _ratio: by_parent(never),
        "parentbased_traceidratio": lambda ratio: by_parent(by_ratio(ratio)),
    }
)
# Those that say: no trace but a caller's own. Under them nothing is kept for its own sake.
SILENT_SAMPLERS: Final = frozenset({"always_off", "parentbased_always_off"})


def kept_for(facts: RequestFacts) -> str:
    """Why a request is told although its trace is not sampled; empty: it is not.

    Each of these is rare, or a bill: errors (of the service, the call or one attempt), refusals of a call, hedges, and
    costs above what was held.
    """
    chat = facts.chat
    if facts.status >= 500 or not facts.status or (chat is not None and chat.outcome != "ok"):
        return "error"
    if chat is None:
        return "refusal" if facts.generation_id and facts.error_code else ""
    if any(attempt.hedges_span_id for attempt in chat.attempts):
        return "hedge"
    if any((attempt.charged_nanousd or 0) > attempt.held_nanousd for attempt in chat.attempts):
        return "overrun"
    return "error" if any(attempt.outcome != "ok" for attempt in chat.attempts) else ""
