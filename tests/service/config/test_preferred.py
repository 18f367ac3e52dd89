"""The environment of the two older gateways: their models, budget, hedging and breaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.prices import load_book
from router.deployments import HedgeRule
from service.config import Config, ConfigInvalid
from service.config.catalog import Catalog
from service.config.environment import config_from_environment
from service.config.model import RouterSection
from service.config.rules import problems_of

KEYS = {"OPENAI_API_KEY": "sk", "ANTHROPIC_API_KEY": "sk-ant", "GEMINI_API_KEY": "AIza"}
TARGETS = ("anthropic:claude-sonnet-4-5", "openai:gpt-4o", "gemini:gemini-2.5-pro")


def read(**environ: str) -> Config:
    config = config_from_environment(environ)
    assert list(problems_of(config)) == []
    return config


def problems(**environ: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as invalid:
        config_from_environment(environ)
    return [str(problem) for problem in invalid.value.problems]


def test_the_preferred_model_comes_first_then_the_fallbacks_in_order_within_one_budget() -> None:
    config = read(
        PREFERRED_MODEL="anthropic:claude-sonnet-4-5",
        FALLBACK_MODELS=" openai:gpt-4o , google:gemini-2.5-pro,, openai:gpt-4o",
        **KEYS,
    )
    assert [(route.name, route.targets) for route in config.routes] == [("default", TARGETS)]
    assert [provider.name for provider in config.providers] == ["openai", "anthropic", "gemini"]
    assert config.router == RouterSection(deadline_ms=20_000)
    assert config.is_from_environment
    route = Catalog(config, load_book(), now_ms=0).resolve(None)
    assert (tuple(target.id for target in route.targets), route.hedge) == (TARGETS, None)


@pytest.mark.parametrize("variable", ["PREFERRED_MODEL", "FALLBACK_MODELS"])
def test_either_variable_works_alone(variable: str) -> None:
    config = read(OPENAI_API_KEY="sk", **{variable: "openai:gpt-4o"})
    assert config.routes[0].targets == ("openai:gpt-4o",)


def test_the_embedded_model_can_be_a_fallback_and_is_there_only_then() -> None:
    config = read(OPENAI_API_KEY="sk", PREFERRED_MODEL="openai:gpt-4o", FALLBACK_MODELS="local:smollm2")
    assert [provider.name for provider in config.providers] == ["local", "openai"]
    assert config.routes[0].targets == ("openai:gpt-4o", "local:smollm2")


def test_a_time_for_the_first_answer_turns_hedging_on_for_every_call() -> None:
    config = read(
        PREFERRED_MODEL="openai:gpt-4o",
        LLM_PRIMARY_TIMEOUT_MS="900",
        FALLBACK_HEDGE_STAGGER_MS="250",
        LLM_TOTAL_BUDGET_MS="5000",
        OPENAI_API_KEY="sk",
    )
    assert config.router.deadline_ms == 5000
    route = Catalog(config, load_book(), now_ms=0).resolve(None)
    assert route.hedge == HedgeRule(after_s=0.9, stagger_s=0.25, max_ratio=1.0)


def test_each_provider_has_its_own_number_of_attempts_at_once() -> None:
    config = read(ANTHROPIC_MAX_CONCURRENCY="3", OPENAI_MAX_CONCURRENCY="5", GEMINI_MAX_CONCURRENCY="", **KEYS)
    assert {provider.name: provider.max_concurrency for provider in config.providers} == {
        "local": None,
        "openai": 5,
        "anthropic": 3,
        "gemini": None,
    }


@pytest.mark.parametrize(
    ("environ", "router"),
    [
        ({"CIRCUIT_ERROR_THRESHOLD": "7"}, RouterSection(breaker_threshold=7)),
        ({"CIRCUIT_COOLDOWN_MS": "1500"}, RouterSection(breaker_cooldown_s=1.5)),
        (
            {"CB_FAILURE_THRESHOLD": "4", "CB_COOLDOWN_SECONDS": "2.5"},
            RouterSection(breaker_threshold=4, breaker_cooldown_s=2.5),
        ),
        ({"CB_FAILURE_THRESHOLD": "4", "CIRCUIT_ERROR_THRESHOLD": "4"}, RouterSection(breaker_threshold=4)),
        ({"CB_FAILURE_THRESHOLD": " ", "LLM_TOTAL_BUDGET_MS": ""}, RouterSection()),
    ],
)
def test_the_breaker_is_set_by_either_pair_beside_any_route(environ: dict[str, str], router: RouterSection) -> None:
    primary = {"PRIMARY_OPENAI_MODEL": "m", "PRIMARY_OPENAI_API_KEY": "k"}
    assert read(**environ).router == read(**environ, **primary).router == router


def test_every_problem_is_told_at_once_in_its_variables_name() -> None:
    assert problems(
        PREFERRED_MODEL="gpt-4o",
        FALLBACK_MODELS="openai:gpt-4o,anthropic: x,mistral:large",
        ANTHROPIC_API_KEY="sk-\u00e9",
        GEMINI_MAX_CONCURRENCY="0",
        LLM_TOTAL_BUDGET_MS="soon",
        LLM_PRIMARY_TIMEOUT_MS="-1",
        FALLBACK_HEDGE_STAGGER_MS="1e3",
        CIRCUIT_ERROR_THRESHOLD="2",
        CB_FAILURE_THRESHOLD="3",
        CIRCUIT_COOLDOWN_MS="0.5",
        CB_COOLDOWN_SECONDS="nan",
    ) == [
        "ANTHROPIC_API_KEY: has a character in it that no header can carry",
        "GEMINI_MAX_CONCURRENCY: '0' is no whole number from 1 to 1000000",
        "PREFERRED_MODEL: 'gpt-4o' must be provider:model, with a provider among openai, anthropic, gemini, local",
        "FALLBACK_MODELS: 'openai:gpt-4o' needs OPENAI_API_KEY, which is not set",
        "FALLBACK_MODELS: 'anthropic: x' must be provider:model, with the name of a model",
        "FALLBACK_MODELS: 'mistral:large' must be provider:model, with a provider among openai, anthropic, gemini, "
        "local",
        "LLM_TOTAL_BUDGET_MS: 'soon' is no whole number from 1 to 10000000000",
        "LLM_PRIMARY_TIMEOUT_MS: '-1' is no whole number from 1 to 10000000000",
        "FALLBACK_HEDGE_STAGGER_MS: '1e3' is no whole number from 1 to 10000000000",
        "CB_FAILURE_THRESHOLD: says otherwise than CIRCUIT_ERROR_THRESHOLD",
        "CIRCUIT_COOLDOWN_MS: '0.5' is no whole number from 1 to 10000000000",
        "CB_COOLDOWN_SECONDS: 'nan' is no number of seconds above 0",
    ]


def test_two_sets_that_each_say_what_is_asked_are_a_problem() -> None:
    lines = problems(
        PREFERRED_MODEL="openai:gpt-4o", OPENAI_API_KEY="sk", FALLBACK_OPENAI_MODEL="m", FALLBACK_OPENAI_API_KEY="k"
    )
    assert lines == [
        "PREFERRED_MODEL: it, or FALLBACK_MODELS, is set, and so is FALLBACK_OPENAI_API_KEY: both say what is asked"
    ]


NAMES = (
    *("PREFERRED_MODEL", "FALLBACK_MODELS", "LLM_PRIMARY_TIMEOUT_MS", "FALLBACK_HEDGE_STAGGER_MS"),
    *("LLM_TOTAL_BUDGET_MS", "OPENAI_MAX_CONCURRENCY", "CIRCUIT_ERROR_THRESHOLD", "CIRCUIT_COOLDOWN_MS"),
    *("CB_FAILURE_THRESHOLD", "CB_COOLDOWN_SECONDS", "OPENAI_API_KEY"),
)
VALUES = st.text(max_size=4) | st.integers().map(str) | st.sampled_from(["openai:m", "google:m,openai:m", "0.5"])


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_any_environment_is_a_config_without_problems_or_problems_in_the_variables_names(environ: dict[str, str]):
    try:
        config = config_from_environment(environ)
    except ConfigInvalid as invalid:
        named = {problem.place for problem in invalid.problems}
        assert named <= {*NAMES}
    else:
        assert list(problems_of(config)) == []
