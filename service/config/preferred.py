"""The route and the router's settings that older gateways took from the environment. Source: CONTRACT §2.

PREFERRED_MODEL and FALLBACK_MODELS make the route; budget, hedging and breaker can be set beside any route.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from service.config.model import RouterSection
from service.config.names import is_model_name
from service.config.variables import Variables

PREFERRED: Final = "PREFERRED_MODEL"
FALLBACKS: Final = "FALLBACK_MODELS"
LOCAL: Final = "local"
# {what some call a provider: its name here}
ALIASES: Final = {"google": "gemini"}
TOTAL_BUDGET_MS: Final = 20_000
# A hedge for every call: whoever sets a time for the first answer wants the next one asked, however often.
HEDGE_MAX_RATIO: Final = 1.0
_MOST: Final = 1_000_000
_MOST_MS: Final = 10_000_000_000


def targets_of(variables: Variables, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The deployments that PREFERRED_MODEL and FALLBACK_MODELS name, in order; none: neither is set.

    keys: {provider: the variable of its key}, of all providers that a key makes usable.
    """
    targets: dict[str, None] = {}
    for variable, model in _named(variables):
        provider, _, name = model.partition(":")
        provider = ALIASES.get(provider, provider)
        if provider not in keys and provider != LOCAL:
            known = ", ".join((*keys, LOCAL))
            variables.wrong(variable, f"{model!r} must be provider:model, with a provider among {known}")
        elif not is_model_name(name):
            variables.wrong(variable, f"{model!r} must be provider:model, with the name of a model")
        elif provider != LOCAL and not variables.text(keys[provider]):
            variables.wrong(variable, f"{model!r} needs {keys[provider]}, which is not set")
        else:
            targets[f"{provider}:{name}"] = None
    return tuple(targets)


def is_preferring(variables: Variables) -> bool:
    """Whether this set is there at all."""
    return any(True for _ in _named(variables))


def router_of(variables: Variables) -> RouterSection:
    """The router's settings, as far as variables set them."""
    given: dict[str, Any] = {
        "deadline_ms": variables.whole("LLM_TOTAL_BUDGET_MS", most=_MOST_MS),
        "hedge_after_ms": variables.whole("LLM_PRIMARY_TIMEOUT_MS", most=_MOST_MS),
        "hedge_stagger_ms": variables.whole("FALLBACK_HEDGE_STAGGER_MS", most=_MOST_MS),
        "breaker_threshold": _one_of_two(
            variables,
            ("CIRCUIT_ERROR_THRESHOLD", variables.whole("CIRCUIT_ERROR_THRESHOLD", most=_MOST)),
            ("CB_FAILURE_THRESHOLD", variables.whole("CB_FAILURE_THRESHOLD", most=_MOST)),
        ),
        "breaker_cooldown_s": _one_of_two(
            variables,
            ("CIRCUIT_COOLDOWN_MS", _in_seconds(variables.whole("CIRCUIT_COOLDOWN_MS", most=_MOST_MS))),
            ("CB_COOLDOWN_SECONDS", variables.seconds("CB_COOLDOWN_SECONDS")),
        ),
    }
    if given["hedge_after_ms"] is not None:
        given |= {"hedge": True, "hedge_max_ratio": HEDGE_MAX_RATIO}
    if given["deadline_ms"] is None and is_preferring(variables):
        given["deadline_ms"] = TOTAL_BUDGET_MS
    return msgspec.structs.replace(
        RouterSection(), **{name: value for name, value in given.items() if value is not None}
    )


def max_concurrency_of(variables: Variables, provider: str) -> int | None:
    """How many attempts this provider gets at once, if that is set."""
    return variables.whole(f"{provider.upper()}_MAX_CONCURRENCY", most=_MOST)


def _named(variables: Variables) -> Iterator[tuple[str, str]]:
    """(the variable, a model in it), in order."""
    for variable in (PREFERRED, FALLBACKS):
        text = variables.text(variable)
        models = text.split(",") if variable == FALLBACKS else (text,)
        yield from ((variable, model.strip()) for model in models if model.strip())


def _one_of_two(
    variables: Variables, first: tuple[str, float | None], second: tuple[str, float | None]
) -> float | None:
    """The value of two variables that mean the same."""
    if first[1] is not None and second[1] is not None and first[1] != second[1]:
        variables.wrong(second[0], f"says otherwise than {first[0]}")
    return first[1] if first[1] is not None else second[1]


def _in_seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
