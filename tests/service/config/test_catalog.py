"""From a config to deployments with prices, by the packaged book."""

import datetime

import msgspec
import pytest

from ledger.ceilings import Ceiling
from ledger.prices import FREE, Tier, load_book
from router.breaker import BreakerRule
from router.deployments import HedgeRule
from router.errors import UnknownModel
from service.config import Config
from service.config.catalog import MAX_DIRECT_ROUTES, UNPRICED_FREE, Catalog
from service.config.environment import config_from_environment
from tests.service.config.conftest import PROVIDER, Reads

VERTEX = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1/publishers/google"
NOW_MS = int(datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).timestamp() * 1000)
OLLAMA = '[[providers]]\nname = "ollama"\ndialect = "openai"\nbase_url = "http://127.0.0.1:11434/v1/"\n'
ROUTES = """
[[routes]]
name = "chat"
targets = ["openai:gpt-4o-mini", "ollama:gpt-oss:20b"]
[[routes]]
name = "openai:alias"
targets = ["ollama:gpt-oss:20b"]
strategy = "weighted"
weights = [3]
cache = false
"""


def catalog(config: Config) -> Catalog:
    return Catalog(config, load_book(), now_ms=NOW_MS)


def test_a_route_has_its_deployments_in_order_with_what_is_known_of_them(reads: Reads) -> None:
    chat, alias = catalog(reads(PROVIDER + OLLAMA + ROUTES)).routes
    mini, oss = chat.targets
    assert (mini.id, mini.encoding, mini.context_window) == ("openai:gpt-4o-mini", "o200k_base", 128_000)
    assert mini.price is not None
    assert (mini.price.base.input, mini.price.base.output) == (150_000_000, 600_000_000)
    assert (oss.provider.name, oss.model, oss.price) == ("ollama", "gpt-oss:20b", None)
    assert oss.provider.base_url == "http://127.0.0.1:11434/v1"
    assert (chat.cache, alias.cache) == (None, False)
    assert (chat.strategy, chat.weights) == ("ordered", ())
    assert (alias.strategy, alias.weights) == ("weighted", (3,))


def test_openais_own_address_answers_responses_and_others_if_the_config_says_so(reads: Reads) -> None:
    told = OLLAMA.replace("ollama", "vllm") + "responses = true\n"
    found = {provider.name: provider.has_responses for provider in catalog(reads(PROVIDER + OLLAMA + told)).providers}
    assert found == {"openai": True, "ollama": False, "vllm": True}
    off = catalog(reads(PROVIDER + "responses = false\n" + OLLAMA))
    assert not any(provider.has_responses for provider in off.providers)


def test_a_model_is_a_routes_name_before_it_is_a_providers_and_its_model(reads: Reads) -> None:
    found = catalog(reads(PROVIDER + OLLAMA + ROUTES))
    assert found.resolve("chat") is found.routes[0]
    assert found.resolve("openai:alias") is found.routes[1]
    direct = found.resolve("ollama:gpt-oss:20b")
    assert [(target.provider.name, target.model) for target in direct.targets] == [("ollama", "gpt-oss:20b")]
    assert found.resolve("ollama:gpt-oss:20b") is direct


def test_no_model_is_the_default_route_else_the_first(reads: Reads) -> None:
    assert catalog(reads(PROVIDER + OLLAMA + ROUTES)).resolve(None).name == "chat"
    default = '[[routes]]\nname = "default"\ntargets = ["openai:o3"]'
    assert catalog(reads(PROVIDER + OLLAMA + ROUTES + default)).resolve(None).name == "default"


@pytest.mark.parametrize("model", ["", "gpt-4o", "opnai:gpt-4o", "openai:", ":x", "openai:a b", "openai:a\r\nx: y"])
def test_an_unknown_model_lists_the_routes(reads: Reads, model: str) -> None:
    with pytest.raises(UnknownModel) as unknown:
        catalog(reads(PROVIDER + OLLAMA + ROUTES)).resolve(model)
    assert (unknown.value.model, unknown.value.routes) == (model, ("chat", "openai:alias"))


def test_without_routes_no_model_is_unknown(reads: Reads) -> None:
    found = catalog(reads(PROVIDER))
    with pytest.raises(UnknownModel):
        found.resolve(None)
    assert found.resolve("openai:o3").targets[0].price is not None


def test_names_that_callers_make_up_do_not_fill_the_memory(reads: Reads) -> None:
    found = catalog(reads(PROVIDER))
    for number in range(MAX_DIRECT_ROUTES + 5):
        found.resolve(f"openai:{number}")
    assert len(found._direct) == MAX_DIRECT_ROUTES
    with pytest.raises(UnknownModel):
        found.resolve("openai:" + "x" * 257)


def test_the_configs_own_price_comes_first_and_its_version_says_it_whole(reads: Reads) -> None:
    own = """
    [[models]]
    id = "openai:gpt-4o-mini"
    input_usd_per_mtok = "0.2"
    output_usd_per_mtok = "1"
    cached_input_usd_per_mtok = "0.1"
    reasoning_usd_per_mtok = "2"
    cache_write_usd_per_mtok = "0.25"
    cache_write_1h_usd_per_mtok = "0.4"
    input_audio_usd_per_mtok = "3"
    context_window = 1000
    max_output_tokens = 100
    encoding = "cl100k_base"
    supports = ["tools"]
    """
    (target,) = catalog(reads(PROVIDER + own)).resolve("openai:gpt-4o-mini").targets
    assert target.price is not None
    expected = Tier(
        input=200_000_000,
        cached_input=100_000_000,
        cache_write=250_000_000,
        output=1_000_000_000,
        reasoning=2_000_000_000,
        cache_write_1h=400_000_000,
        input_audio=3_000_000_000,
    )
    assert target.price.base == expected
    assert target.price.version == (
        "config: input 0.2, output 1, cached input 0.1, reasoning 2, cache write 0.25, cache write 1h 0.4, "
        "input audio 3"
    )
    assert (target.context_window, target.max_output_tokens, target.encoding) == (1000, 100, "cl100k_base")
    assert target.supports == frozenset({"tools"})


def test_a_section_without_a_price_leaves_the_books_price(reads: Reads) -> None:
    text = PROVIDER + '[[models]]\nid = "openai:gpt-4o-mini"\nmax_output_tokens = 5'
    (target,) = catalog(reads(text)).resolve("openai:gpt-4o-mini").targets
    assert target.price is not None
    assert target.price.base.input == 150_000_000
    assert target.max_output_tokens == 5


def test_the_embedded_model_is_free() -> None:
    found = catalog(config_from_environment({}))
    assert [target.price for target in found.resolve(None).targets] == [FREE]
    assert found.warnings == ()


def test_an_unpriced_model_is_refused_unless_the_config_says_free_and_is_warned_of(reads: Reads) -> None:
    refusing = catalog(reads(PROVIDER + OLLAMA + ROUTES))
    assert refusing.warnings == (
        "ollama:gpt-oss:20b has no price, so calls to it are refused; give it one in [[models]]",
    )
    free = catalog(reads(PROVIDER + OLLAMA + ROUTES + '[router]\nunpriced = "free"'))
    assert free.routes[1].targets[0].price == UNPRICED_FREE
    assert free.warnings == (
        "ollama:gpt-oss:20b has no price, so calls to it count as free; give it one in [[models]]",
    )


def test_in_the_environment_modes_only_an_unpriced_model_at_an_unknown_host_is_free() -> None:
    own = {"PRIMARY_OPENAI_MODEL": "my-model", "PRIMARY_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    theirs = {"FALLBACK_OPENAI_MODEL": "my-model", "FALLBACK_OPENAI_API_KEY": "k"}
    found = catalog(config_from_environment(own | theirs))
    assert [target.price for target in found.resolve(None).targets] == [UNPRICED_FREE, None]
    assert len(found.warnings) == 2
    named = catalog(config_from_environment(own | {"PRIMARY_OPENAI_MODEL": "gpt-4o"})).resolve(None).targets[0]
    assert named.price is not None
    assert not named.price.is_free


def test_anthropics_models_have_their_prices_with_nothing_but_a_key() -> None:
    (target,) = (
        catalog(config_from_environment({"ANTHROPIC_API_KEY": "k"})).resolve("anthropic:claude-opus-4-6").targets
    )
    assert target.price is not None
    base = target.price.base
    assert (base.input, base.cached_input, base.output) == (5_000_000_000, 500_000_000, 25_000_000_000)


def test_a_provider_gets_as_many_attempts_at_once_as_is_usual_for_its_dialect_unless_the_config_says(reads: Reads):
    claude = '[[providers]]\nname = "claude"\ndialect = "anthropic"\nbase_url = "https://api.anthropic.com"\n'
    local = '[[providers]]\nname = "local"\ndialect = "local"\n'
    found = catalog(reads(PROVIDER + claude + local + OLLAMA + "max_concurrency = 3\n"))
    limits = {provider.name: provider.max_concurrency for provider in found.providers}
    assert limits == {"openai": 12, "claude": 10, "local": None, "ollama": 3}


def test_ceilings_are_in_nano_dollars(reads: Reads) -> None:
    text = '[[ceilings]]\nscope = "global"\nwindow = "month"\nlimit_usd = "0.000000001"\n'
    one = Ceiling(scope="global", window="month", limit=1)
    assert catalog(reads(text)).ceilings == (one,)
    per_minute = (
        '[[ceilings]]\nscope = "key:*"\nwindow = "minute"\nunit = "tokens"\nlimit = 90000\nwhen_tight = "wait"\n'
    )
    rate = Ceiling(scope="key:*", window="minute", unit="tokens", limit=90_000, when_tight="wait")
    assert catalog(reads(text + per_minute)).ceilings == (one, rate)
    assert catalog(reads(text + "downgrade_at = 0.9")).ceilings == (msgspec.structs.replace(one, downgrade_at=0.9),)


def test_a_price_is_the_deployments_own_whatever_routes_are_called_and_free_for_want_of_one_is_none(
    reads: Reads,
) -> None:
    alias = '[[routes]]\nname = "openai:gpt-4o-mini"\ntargets = ["ollama:gpt-oss:20b"]\n'
    found = catalog(reads('[router]\nunpriced = "free"\n' + PROVIDER + OLLAMA + alias))
    price = found.price_of("openai:gpt-4o-mini")
    assert price is not None
    assert price.base.input == 150_000_000
    assert found.price_of("ollama:gpt-oss:20b") is None
    assert found.price_of("elsewhere:m") is None


@pytest.mark.parametrize(
    ("router", "route", "rule"),
    [
        ("", "", None),
        ("hedge = true", "", HedgeRule(after_s=1.2, stagger_s=0.4, max_ratio=0.05)),
        ("hedge = true", "hedge = false", None),
        ("hedge_after_ms = 500\nhedge_stagger_ms = 10", "hedge = true", HedgeRule(after_s=0.5, stagger_s=0.01)),
        ("hedge_max_ratio = 1.0", 'hedge_after_ms = "p95"', HedgeRule(after_s="p95", max_ratio=1.0)),
        ("hedge = true", "hedge = false\nhedge_after_ms = 5", None),
    ],
)
def test_a_route_is_hedged_where_it_or_the_router_says_so(
    reads: Reads, router: str, route: str, rule: HedgeRule | None
) -> None:
    config = reads(
        f"[router]\n{router}\n[[providers]]\nname = 'a'\ndialect = 'openai'\nbase_url = 'http://a.example/v1'\n"
        f"[[routes]]\nname = 'chat'\ntargets = ['a:m']\n{route}\n"
    )
    assert catalog(config).resolve("chat").hedge == rule


def test_a_models_breaker_is_its_own_where_it_says_so(reads: Reads) -> None:
    text = "[router]\nbreaker_cooldown_s = 9\n" + PROVIDER
    own = '[[models]]\nid = "openai:m"\nbreaker_threshold = 7\nlatency_threshold_ms = 1500\n'
    own += '[[models]]\nid = "openai:n"\nbreaker_cooldown_s = 2\n'
    found = catalog(reads(text + own))
    assert found.breaker_rule("openai:m") == BreakerRule(threshold=7, cooldown_s=9)
    assert found.breaker_rule("openai:n") == BreakerRule(threshold=3, cooldown_s=2)
    assert found.breaker_rule("openai:other") == BreakerRule(threshold=3, cooldown_s=9)
    assert found.resolve("openai:m").targets[0].latency_threshold_s == 1.5


@pytest.mark.parametrize(
    ("dialect", "base_url", "on_abort", "auth_header", "counts_tokens"),
    [
        ("openai", "https://api.openai.com/v1", "estimate", "", False),
        ("openai", "https://x.openai.azure.com/openai/v1", "estimate", "api-key", False),
        ("openai", "https://x.services.ai.azure.com/openai/v1", "estimate", "api-key", False),
        ("openai", "https://openai.azure.com.evil.example/openai/v1", "estimate", "", False),
        ("openai", "https://generativelanguage.googleapis.com/v1beta/openai", "drain", "", False),
        ("openai", "https://api.groq.com/openai/v1", "drain", "", False),
        ("openai", "http://127.0.0.1:11434/v1", "estimate", "", False),
        ("anthropic", "https://api.anthropic.com", "estimate", "", True),
        ("anthropic", "https://api.anthropic.com.evil.example", "estimate", "", False),
        ("gemini", "https://generativelanguage.googleapis.com", "drain", "", True),
        ("gemini", VERTEX, "drain", "authorization", True),
        ("gemini", "http://127.0.0.1:1", "estimate", "", False),
    ],
)
def test_what_is_known_of_an_address_holds_unless_the_config_says_otherwise(
    reads: Reads, dialect: str, base_url: str, on_abort: str, auth_header: str, *, counts_tokens: bool
) -> None:
    section = f'[[providers]]\nname = "p"\ndialect = "{dialect}"\nbase_url = "{base_url}"\n'
    (provider,) = catalog(reads(section)).providers
    assert (provider.on_abort, provider.auth_header) == (on_abort, auth_header)
    assert provider.counts_tokens == counts_tokens
    (provider,) = catalog(reads(section + 'on_abort = "hold"\nauth_header = "X-Key"')).providers
    assert (provider.on_abort, provider.auth_header) == ("hold", "x-key")
    if dialect != "openai":
        for said in ("provider", "here"):
            (provider,) = catalog(reads(section + f'count_tokens = "{said}"')).providers
            assert provider.counts_tokens == (said == "provider")


def test_what_the_embedded_model_is_stopped_at_costs_nothing(reads: Reads) -> None:
    (provider,) = catalog(reads('[[providers]]\nname = "l"\ndialect = "local"\n')).providers
    assert provider.on_abort == "free"


def test_headers_and_query_are_read_from_the_environment_too(reads: Reads) -> None:
    section = '[[providers]]\nname = "p"\ndialect = "openai"\nbase_url = "http://h/v1"\n'
    text = section + 'headers = { X-Secret = "$SECRET" }\nquery = { api-version = "v" }'
    (provider,) = catalog(reads(text, SECRET="shh")).providers
    assert (provider.headers, provider.query) == ({"x-secret": "shh"}, {"api-version": "v"})
