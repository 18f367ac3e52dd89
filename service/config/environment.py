"""Configs without a file: from sets of environment variables, or from nothing. Source: CONTRACT §2."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from service.config.model import Config, ProviderSection, RouteSection
from service.config.problems import ConfigInvalid, Problem
from service.config.rules import is_model_name, provider_problems

OPENAI_URL: Final = "https://api.openai.com/v1"
LOCAL_MODEL: Final = "smollm2"
DEFAULT_ROUTE: Final = "default"
MAX_TIMEOUT_S: Final = 10_000_000.0
# {provider: its timeout in seconds, unless its set says otherwise}
_SETS: Final = {"primary": 12.0, "fallback": 20.0}
# {variable: the provider that it makes usable by name}
_KEYED: Final = {
    "OPENAI_API_KEY": ProviderSection(name="openai", dialect="openai", base_url=OPENAI_URL),
    "ANTHROPIC_API_KEY": ProviderSection(name="anthropic", dialect="anthropic", base_url="https://api.anthropic.com"),
    "GEMINI_API_KEY": ProviderSection(
        name="gemini", dialect="gemini", base_url="https://generativelanguage.googleapis.com"
    ),
}
_FIELDS: Final = ("BASE_URL", "API_KEY", "MODEL", "TIMEOUT_S")


def config_from_environment(environ: Mapping[str, str]) -> Config:
    """PRIMARY_OPENAI_* and FALLBACK_OPENAI_*, if either is set; else the embedded model.

    Raises ConfigInvalid with every problem, each in its variable's name.
    """
    sets = {name: values for name in _SETS if any((values := _values(environ, name)).values())}
    problems = [problem for name, values in sets.items() for problem in _set_problems(name, values)]
    for variable, provider in _keyed_providers(environ):
        problems += [Problem(variable, problem.text) for problem in provider_problems("", provider)]
    if problems:
        raise ConfigInvalid(*problems)
    if not sets:
        return zero_config(environ)
    targets = tuple(f"{name}:{values['MODEL']}" for name, values in sets.items())
    return Config(
        providers=(*(_provider(name, values) for name, values in sets.items()), *_at_hand(environ)),
        routes=(RouteSection(name=DEFAULT_ROUTE, targets=targets),),
        is_from_environment=True,
    )


def zero_config(environ: Mapping[str, str]) -> Config:
    """Route `default` is the embedded model; providers whose keys are in the environment are at hand by name."""
    return Config(
        providers=(ProviderSection(name="local", dialect="local"), *_at_hand(environ)),
        routes=(RouteSection(name=DEFAULT_ROUTE, targets=(f"local:{LOCAL_MODEL}",)),),
        is_from_environment=True,
    )


def _values(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """The variables of one set. Empty means unset."""
    return {field: environ.get(f"{name.upper()}_OPENAI_{field}", "").strip() for field in _FIELDS}


def _set_problems(name: str, values: dict[str, str]) -> Iterator[Problem]:
    prefix = f"{name.upper()}_OPENAI_"
    if not values["MODEL"]:
        given = ", ".join(f"{prefix}{field}" for field, value in values.items() if value)
        yield Problem(f"{prefix}MODEL", f"is not set, but {given} is")
    elif not is_model_name(values["MODEL"]):
        yield Problem(f"{prefix}MODEL", f"{values['MODEL']!r} is no model's name")
    if not values["BASE_URL"] and not values["API_KEY"]:
        yield Problem(f"{prefix}BASE_URL", f"is not set, nor is {prefix}API_KEY for OpenAI's own address")
    if values["TIMEOUT_S"] and _seconds(values["TIMEOUT_S"]) is None:
        yield Problem(f"{prefix}TIMEOUT_S", f"{values['TIMEOUT_S']!r} is no number of seconds above 0")
    for problem in provider_problems("", _provider(name, values)):
        yield Problem(f"{prefix}{problem.place.removeprefix('.').upper()}", problem.text)


def _provider(name: str, values: dict[str, str]) -> ProviderSection:
    timeout_s = _seconds(values["TIMEOUT_S"]) or _SETS[name]
    return ProviderSection(
        name=name,
        dialect="openai",
        base_url=values["BASE_URL"] or OPENAI_URL,
        api_key=values["API_KEY"] or None,
        timeout_s=timeout_s,
        answer_timeout_s=timeout_s,
    )


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 < number <= MAX_TIMEOUT_S else None


def _at_hand(environ: Mapping[str, str]) -> Iterator[ProviderSection]:
    return (provider for _, provider in _keyed_providers(environ))


def _keyed_providers(environ: Mapping[str, str]) -> Iterator[tuple[str, ProviderSection]]:
    """(the variable, its provider) for each key that is there."""
    for variable, provider in _KEYED.items():
        if key := environ.get(variable, "").strip():
            yield variable, msgspec.structs.replace(provider, api_key=key)
