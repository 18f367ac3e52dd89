"""Configs without a file: from sets of environment variables, or from nothing. Source: CONTRACT §2."""

from collections.abc import Mapping
from typing import Final

from service.config.model import Config, ProviderSection, RouteSection
from service.config.problems import ConfigInvalid, Problem

OPENAI_URL: Final = "https://api.openai.com/v1"
LOCAL_MODEL: Final = "smollm2"
_SETS: Final = {"primary": 12.0, "fallback": 20.0}
_FIELDS: Final = ("BASE_URL", "API_KEY", "MODEL", "TIMEOUT_S")


def config_from_environment(environ: Mapping[str, str]) -> Config:
    """PRIMARY_OPENAI_* and FALLBACK_OPENAI_*, if either is set; else the local model. Raises ConfigInvalid."""
    problems: list[Problem] = []
    providers: list[ProviderSection] = []
    targets: list[str] = []
    for name, timeout_s in _SETS.items():
        values = _set_of(environ, name)
        if any(values.values()):
            provider = _provider(name, values, timeout_s, problems)
            providers.append(provider)
            targets.append(f"{name}:{values['MODEL']}")
    if problems:
        raise ConfigInvalid(*problems)
    if not providers:
        return zero_config(environ)
    return Config(
        providers=(*providers, *_keyed_providers(environ)),
        routes=(RouteSection(name="default", targets=tuple(targets)),),
        is_from_environment=True,
    )


def zero_config(environ: Mapping[str, str]) -> Config:
    """Route `default` is the embedded model; providers whose keys are in the environment are at hand by name."""
    return Config(
        providers=(ProviderSection(name="local", dialect="local"), *_keyed_providers(environ)),
        routes=(RouteSection(name="default", targets=(f"local:{LOCAL_MODEL}",)),),
        is_from_environment=True,
    )


def _set_of(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """The variables of one set. Empty means unset."""
    return {field: environ.get(f"{name.upper()}_OPENAI_{field}", "").strip() for field in _FIELDS}


def _provider(name: str, values: dict[str, str], timeout_s: float, problems: list[Problem]) -> ProviderSection:
    prefix = f"{name.upper()}_OPENAI_"
    if not values["MODEL"]:
        problems.append(Problem(f"{prefix}MODEL", "is not set, but others of its set are"))
    if not values["BASE_URL"] and not values["API_KEY"]:
        problems.append(Problem(f"{prefix}BASE_URL", "is not set, nor is there a key for OpenAI's own address"))
    if values["TIMEOUT_S"]:
        try:
            timeout_s = float(values["TIMEOUT_S"])
        except ValueError:
            timeout_s = 0.0
        if not 0 < timeout_s < float("inf"):
            problems.append(Problem(f"{prefix}TIMEOUT_S", f"{values['TIMEOUT_S']!r} is no number of seconds above 0"))
            timeout_s = _SETS[name]
    return ProviderSection(
        name=name,
        dialect="openai",
        base_url=values["BASE_URL"] or OPENAI_URL,
        api_key=values["API_KEY"] or None,
        timeout_s=timeout_s,
        answer_timeout_s=timeout_s,
    )


def _keyed_providers(environ: Mapping[str, str]) -> tuple[ProviderSection, ...]:
    key = environ.get("OPENAI_API_KEY", "").strip()
    return (ProviderSection(name="openai", dialect="openai", base_url=OPENAI_URL, api_key=key),) if key else ()
