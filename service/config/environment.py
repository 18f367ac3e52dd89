"""Configs without a file: from sets of environment variables, or from nothing. Source: CONTRACT §2."""

from collections.abc import Mapping
from typing import Final

import msgspec

from service.config.model import Config, ProviderSection, RouterSection, RouteSection
from service.config.names import is_model_name
from service.config.preferred import LOCAL, PREFERRED, is_preferring, max_concurrency_of, router_of, targets_of
from service.config.problems import ConfigInvalid
from service.config.providers import provider_problems
from service.config.variables import Variables

OPENAI_URL: Final = "https://api.openai.com/v1"
LOCAL_MODEL: Final = "smollm2"
DEFAULT_ROUTE: Final = "default"
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
_KEY_OF: Final = {provider.name: variable for variable, provider in _KEYED.items()}
_FIELDS: Final = ("BASE_URL", "API_KEY", "MODEL", "TIMEOUT_S")
_LOCAL: Final = ProviderSection(name=LOCAL, dialect="local")


def config_from_environment(environ: Mapping[str, str]) -> Config:
    """PRIMARY_OPENAI_* and FALLBACK_OPENAI_*, or PREFERRED_MODEL and FALLBACK_MODELS; else the embedded model.

    Raises ConfigInvalid with every problem, each in its variable's name.
    """
    variables = Variables(environ)
    sets = {name: values for name in _SETS if any((values := _values(variables, name)).values())}
    own = tuple(_set_provider(variables, name, values) for name, values in sets.items())
    at_hand = _at_hand(variables)
    preferred = targets_of(variables, _KEY_OF)
    router = router_of(variables)
    if sets and is_preferring(variables):
        given = next(f"{name.upper()}_OPENAI_{field}" for field in _FIELDS for name in sets if sets[name][field])
        variables.wrong(PREFERRED, f"it, or FALLBACK_MODELS, is set, and so is {given}: both say what is asked")
    if variables.problems:
        raise ConfigInvalid(*variables.problems)
    targets = tuple(f"{name}:{values['MODEL']}" for name, values in sets.items()) or preferred
    if not targets:
        return _around_the_local_model(at_hand, router=router)
    needs_local = any(target.startswith(f"{LOCAL}:") for target in targets)
    return Config(
        providers=(*own, *((_LOCAL,) if needs_local else ()), *at_hand),
        routes=(RouteSection(name=DEFAULT_ROUTE, targets=targets),),
        router=router,
        is_from_environment=True,
    )


def zero_config(environ: Mapping[str, str]) -> Config:
    """Route `default` is the embedded model; providers whose keys are in the environment are at hand by name.

    Raises ConfigInvalid with every problem, each in its variable's name.
    """
    variables = Variables(environ)
    at_hand = _at_hand(variables)
    if variables.problems:
        raise ConfigInvalid(*variables.problems)
    return _around_the_local_model(at_hand)


def _around_the_local_model(at_hand: tuple[ProviderSection, ...], *, router: RouterSection | None = None) -> Config:
    return Config(
        providers=(_LOCAL, *at_hand),
        routes=(RouteSection(name=DEFAULT_ROUTE, targets=(f"{LOCAL}:{LOCAL_MODEL}",)),),
        router=router or RouterSection(),
        is_from_environment=True,
    )


def _values(variables: Variables, name: str) -> dict[str, str]:
    """The variables of one set."""
    return {field: variables.text(f"{name.upper()}_OPENAI_{field}") for field in _FIELDS}


def _set_provider(variables: Variables, name: str, values: dict[str, str]) -> ProviderSection:
    prefix = f"{name.upper()}_OPENAI_"
    if not values["MODEL"]:
        given = ", ".join(f"{prefix}{field}" for field, value in values.items() if value)
        variables.wrong(f"{prefix}MODEL", f"is not set, but {given} is")
    elif not is_model_name(values["MODEL"]):
        variables.wrong(f"{prefix}MODEL", f"{values['MODEL']!r} is no model's name")
    if not values["BASE_URL"] and not values["API_KEY"]:
        variables.wrong(f"{prefix}BASE_URL", f"is not set, nor is {prefix}API_KEY for OpenAI's own address")
    timeout_s = variables.seconds(f"{prefix}TIMEOUT_S") or _SETS[name]
    provider = ProviderSection(
        name=name,
        dialect="openai",
        base_url=values["BASE_URL"] or OPENAI_URL,
        api_key=values["API_KEY"] or None,
        timeout_s=timeout_s,
        answer_timeout_s=timeout_s,
    )
    for problem in provider_problems("", provider):
        variables.wrong(f"{prefix}{problem.place.removeprefix('.').upper()}", problem.text)
    return provider


def _at_hand(variables: Variables) -> tuple[ProviderSection, ...]:
    """The providers whose keys are there."""
    found = []
    for variable, provider in _KEYED.items():
        most = max_concurrency_of(variables, provider.name)
        if key := variables.text(variable):
            found.append(msgspec.structs.replace(provider, api_key=key, max_concurrency=most))
            for problem in provider_problems("", found[-1]):
                variables.wrong(variable, problem.text)
    return tuple(found)
