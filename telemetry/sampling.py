"""Which traces are recorded. The SDK's samplers' answers, without a span context to be made for each."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from telemetry.context import ParentContext

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
