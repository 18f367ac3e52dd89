"""Configs that come from the environment, or from nothing."""

import pytest

from ledger.prices import load_book
from router.errors import UnknownModel
from service.config import ConfigInvalid
from service.config.catalog import Catalog
from service.config.environment import config_from_environment


def problems(**environ: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as invalid:
        config_from_environment(environ)
    return [str(problem) for problem in invalid.value.problems]


def test_from_nothing_comes_the_embedded_model() -> None:
    config = config_from_environment({"PRIMARY_OPENAI_MODEL": "", "FALLBACK_OPENAI_API_KEY": " ", "OPENAI_API_KEY": ""})
    (provider,) = config.providers
    assert (provider.name, provider.dialect) == ("local", "local")
    assert [(route.name, route.targets) for route in config.routes] == [("default", ("local:smollm2",))]


def test_primary_comes_before_fallback_each_with_its_own_timeout() -> None:
    config = config_from_environment(
        {
            "FALLBACK_OPENAI_MODEL": "gpt-oss:20b",
            "FALLBACK_OPENAI_BASE_URL": "http://127.0.0.1:11434/v1",
            "PRIMARY_OPENAI_MODEL": "gpt-4o",
            "PRIMARY_OPENAI_API_KEY": "sk-1",
        }
    )
    primary, fallback = config.providers
    assert (primary.base_url, primary.api_key) == ("https://api.openai.com/v1", "sk-1")
    assert (primary.timeout_s, primary.answer_timeout_s) == (12, 12)
    assert (fallback.base_url, fallback.api_key) == ("http://127.0.0.1:11434/v1", None)
    assert (fallback.timeout_s, fallback.answer_timeout_s) == (20, 20)
    assert [(r.name, r.targets) for r in config.routes] == [("default", ("primary:gpt-4o", "fallback:gpt-oss:20b"))]


@pytest.mark.parametrize("name", ["primary", "fallback"])
def test_either_set_works_alone(name: str) -> None:
    prefix = f"{name.upper()}_OPENAI_"
    config = config_from_environment({f"{prefix}MODEL": "m", f"{prefix}API_KEY": "k", f"{prefix}TIMEOUT_S": "1.5"})
    assert [(p.name, p.timeout_s, p.answer_timeout_s) for p in config.providers] == [(name, 1.5, 1.5)]
    assert config.routes[0].targets == (f"{name}:m",)


def test_a_key_in_the_environment_makes_its_provider_usable() -> None:
    assert [p.name for p in config_from_environment({"OPENAI_API_KEY": "sk"}).providers] == ["local", "openai"]
    environ = {"OPENAI_API_KEY": "sk", "PRIMARY_OPENAI_MODEL": "m", "PRIMARY_OPENAI_BASE_URL": "http://h/v1"}
    primary, openai = config_from_environment(environ).providers
    assert primary.api_key is None
    assert (openai.name, openai.base_url, openai.api_key) == ("openai", "https://api.openai.com/v1", "sk")


def test_anthropics_key_alone_makes_its_models_usable() -> None:
    _, anthropic = config_from_environment({"ANTHROPIC_API_KEY": " sk-ant "}).providers
    assert (anthropic.name, anthropic.dialect, anthropic.api_key) == ("anthropic", "anthropic", "sk-ant")
    assert anthropic.base_url == "https://api.anthropic.com"
    assert problems(ANTHROPIC_API_KEY="sk-\u00e9") == [
        "ANTHROPIC_API_KEY: has a character in it that no header can carry"
    ]


def test_geminis_key_alone_makes_its_models_usable_under_both_its_names() -> None:
    config = config_from_environment({"GEMINI_API_KEY": "AIza"})
    gemini = config.providers[-1]
    assert (gemini.name, gemini.dialect, gemini.api_key) == ("gemini", "gemini", "AIza")
    assert gemini.base_url == "https://generativelanguage.googleapis.com"
    catalog = Catalog(config, load_book(), now_ms=0)
    for name in ("gemini:gemini-2.5-flash", "google:gemini-2.5-flash"):
        (target,) = catalog.resolve(name).targets
        assert (target.id, target.provider.max_concurrency) == ("gemini:gemini-2.5-flash", 12)
        assert target.price is not None
        assert target.price.base.output == 2_500_000_000
    with pytest.raises(UnknownModel):
        catalog.resolve("google2:gemini-2.5-flash")


def test_half_a_set_says_what_is_missing() -> None:
    assert problems(PRIMARY_OPENAI_TIMEOUT_S="5", FALLBACK_OPENAI_MODEL="m") == [
        "PRIMARY_OPENAI_MODEL: is not set, but PRIMARY_OPENAI_TIMEOUT_S is",
        "PRIMARY_OPENAI_BASE_URL: is not set, nor is PRIMARY_OPENAI_API_KEY for OpenAI's own address",
        "FALLBACK_OPENAI_BASE_URL: is not set, nor is FALLBACK_OPENAI_API_KEY for OpenAI's own address",
    ]


def test_a_wrong_value_is_told_in_its_variables_name_and_a_secret_not_at_all() -> None:
    lines = problems(
        PRIMARY_OPENAI_MODEL="a b",
        PRIMARY_OPENAI_BASE_URL="h/hunter2",
        PRIMARY_OPENAI_API_KEY="hun\nter2",
        PRIMARY_OPENAI_TIMEOUT_S="soon",
        OPENAI_API_KEY="hünter2",
    )
    assert lines == [
        "PRIMARY_OPENAI_MODEL: 'a b' is no model's name",
        "PRIMARY_OPENAI_TIMEOUT_S: 'soon' is no number of seconds above 0",
        "PRIMARY_OPENAI_API_KEY: has a character in it that no header can carry",
        "PRIMARY_OPENAI_BASE_URL: is no http:// or https:// address",
        "OPENAI_API_KEY: has a character in it that no header can carry",
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300"])
def test_a_timeout_is_a_number_of_seconds_above_zero(seconds: str) -> None:
    lines = problems(PRIMARY_OPENAI_MODEL="m", PRIMARY_OPENAI_API_KEY="k", PRIMARY_OPENAI_TIMEOUT_S=seconds)
    assert lines == [f"PRIMARY_OPENAI_TIMEOUT_S: {seconds!r} is no number of seconds above 0"]
