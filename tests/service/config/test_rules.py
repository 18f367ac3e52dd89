"""What must hold between sections."""

import pytest

from service.config.limits import limit_of
from service.config.names import is_loopback, is_model_name
from tests.service.config.conftest import PROVIDER, Reads, Refuses


def model(**keys: str) -> str:
    return PROVIDER + '[[models]]\nid = "openai:m"\n' + "\n".join(f'{key} = "{value}"' for key, value in keys.items())


def ceiling(scope: str, limit_usd: str = "1") -> str:
    return f'[[ceilings]]\nscope = "{scope}"\nwindow = "day"\nlimit_usd = "{limit_usd}"\n'


def rate(unit: str, limit: str = "", window: str = "minute") -> str:
    said = f"limit = {limit}\n" if limit else ""
    return f'[[ceilings]]\nscope = "global"\nwindow = "{window}"\nunit = "{unit}"\n{said}'


def provider(url: str, more: str = "") -> str:
    return f'[[providers]]\nname = "p"\ndialect = "openai"\nbase_url = "{url}"\n{more}\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PROVIDER + PROVIDER, "providers[1].name: 'openai' is there twice"),
        (PROVIDER + '[[routes]]\nname="a"\ntargets=["openai:m"]\n' * 2, "routes[1].name: 'a' is there twice"),
        (
            PROVIDER + '[[routes]]\nname="a"\ntargets=["openai:m","openai:m"]',
            "routes[0].targets[1]: 'openai:m' is there twice",
        ),
        (PROVIDER + '[[routes]]\nname="a"\ntargets=[]', "routes[0].targets: must name at least one provider:model"),
        (
            PROVIDER + '[[routes]]\nname="a"\ntargets=["gpt-4o"]',
            "routes[0].targets[0]: 'gpt-4o' must be written provider:model",
        ),
        (
            PROVIDER + '[[routes]]\nname="a"\ntargets=["openai:m","openai:n"]\nstrategy="weighted"\nweights=[1]',
            "routes[0].weights: there are 1, but the route has 2 targets",
        ),
        (PROVIDER + '[[routes]]\nname=" "\ntargets=["openai:m"]', "routes[0].name: ' ' must be a plain name"),
        (PROVIDER + '[[models]]\nid="openai:m"\n' * 2, "models[1].id: 'openai:m' is there twice"),
        (
            PROVIDER + '[[models]]\nid="openai:m"\nsupports=["tols"]',
            "models[0].supports[0]: 'tols' is no capability; there are include_thoughts, json_schema",
        ),
        (PROVIDER + '[[models]]\nid="opnai:m"', "models[0].id: there is no provider 'opnai'; there are openai"),
        (model(input_usd_per_mtok="1"), "models[0].output_usd_per_mtok: is missing: a price has both input and output"),
        (model(cached_input_usd_per_mtok="1", output_usd_per_mtok="1"), "models[0].input_usd_per_mtok: is missing"),
        (
            model(input_usd_per_mtok="-1", output_usd_per_mtok="1"),
            "models[0].input_usd_per_mtok: '-1' is not an amount",
        ),
        (
            model(input_usd_per_mtok="1,5", output_usd_per_mtok="1"),
            "models[0].input_usd_per_mtok: '1,5' is not an amount",
        ),
        (
            provider("https://x.openai.azure.com"),
            "providers[0].base_url: must end in /openai/v1, or in /openai/deployments/NAME, at Azure",
        ),
        (
            provider("https://x.openai.azure.com/openai/deployments/d"),
            "providers[0].query: is without api-version, which Azure asks for there",
        ),
        (
            provider("https://eu-aiplatform.googleapis.com/v1").replace('"openai"', '"gemini"'),
            "providers[0].base_url: must end in /v1/projects/PROJECT/locations/LOCATION/publishers/google",
        ),
        (provider("http://h/v1", 'headers = { "a b" = "c" }'), "providers[0].headers: 'a b' is no header's name"),
        (provider("http://h/v1", 'headers = { Host = "c" }'), "providers[0].headers.Host: is set by Farthing itself"),
        (
            provider("http://h/v1", 'api_key = "k"\nheaders = { Authorization = "c" }'),
            "providers[0].headers.Authorization: is set by Farthing itself",
        ),
        (
            provider("http://h/v1", 'headers = { x-a = "\\u0001" }'),
            "providers[0].headers.x-a: has a character in it that no header can carry",
        ),
        (provider("http://h/v1", 'auth_header = ""'), "providers[0].auth_header: '' is no header's name"),
        (provider("http://h/v1", 'headers = { x-a = "$NOWHERE" }'), "providers[0].headers.x-a: the environment"),
        (
            provider("https://h/v1").replace('"openai"', '"anthropic"'),
            "providers[0].base_url: is without /v1, which is added",
        ),
        (
            provider("https://h/v1beta/").replace('"openai"', '"gemini"'),
            "providers[0].base_url: is without /v1beta, which is added",
        ),
        (ceiling("global") * 2, "ceilings[1].scope: 'global a day' is there twice"),
        (ceiling("global") + "downgrade_at = 1.5", "ceilings[0].downgrade_at: expected float <= 1.0"),
        (ceiling("global", "NaN"), "ceilings[0].limit_usd: 'NaN' is not an amount"),
        (rate("usd"), 'ceilings[0].limit_usd: is missing: limit_usd = "100", or a unit and its limit'),
        (rate("calls"), "ceilings[0].limit: is missing: so many calls"),
        (rate("usd", "1.5"), 'ceilings[0].limit: an amount is exact, so it goes in quotes: "1.5"'),
        (rate("usd", '"much"'), "ceilings[0].limit: 'much' is not an amount"),
        (rate("tokens", "1.5"), "ceilings[0].limit: 1.5 is no whole number of tokens"),
        (rate("tokens", '"1.5"'), "ceilings[0].limit: '1.5' is no whole number of tokens, zero or more"),
        (rate("calls", "-1"), "ceilings[0].limit: -1 is no whole number of calls, zero or more"),
        (rate("calls", "1000000000000001"), "ceilings[0].limit: 1000000000000001 is more than 1,000,000,000,000,000"),
        ('[router]\nhedge_after_ms = "fast"', "router.hedge_after_ms: 'fast' cannot be; choose a number or p95"),
        (rate("call", "1"), "ceilings[0].unit: 'call' cannot be; choose usd, tokens, calls"),
        (rate("tokens", "1") + 'limit_usd = "1"\n', "ceilings[0].limit_usd: stands for unit"),
        (ceiling("global") + "limit = 1", "ceilings[0].limit_usd: stands for unit"),
        (ceiling("global") + 'unit = "calls"', "ceilings[0].limit_usd: stands for unit"),
        (rate("calls", "1") + 'when_tight = "clamp"', "ceilings[0].when_tight: a call cannot be made smaller"),
        (rate("tokens", "1") + "downgrade_at = 0.5", "ceilings[0].downgrade_at: is for dollars"),
        (rate("calls", "1") * 2, "ceilings[1].scope: 'global a minute in calls' is there twice"),
        (ceiling("provider:x"), "ceilings[0].scope: there is no provider 'x'; there are local"),
        (ceiling("model:local"), "ceilings[0].scope: 'local' must be written provider:model"),
        (ceiling("user:"), "ceilings[0].scope: 'user:' must be global, or one of provider:P, model:P:M, key:ID"),
        (ceiling("model:local:*"), "ceilings[0].scope: 'model:local:*': a * stands alone, as in model:*"),
        (ceiling("user:a:*"), "ceilings[0].scope: 'user:a:*': a * stands alone, as in user:*"),
        (ceiling("team:research-*"), "ceilings[0].scope: 'team:research-*': a * stands alone, as in team:*"),
        (ceiling("model:local:smol*"), "ceilings[0].scope: 'model:local:smol*': a * stands alone, as in model:*"),
        (ceiling("everything"), "ceilings[0].scope: 'everything' must be global, or one of provider:P"),
        (ceiling("everyone:*"), "ceilings[0].scope: 'everyone:*' must be global, or one of provider:P"),
        (
            '[ledger]\nurl="postgresql:me:hunter2@db"',
            "ledger.url: must be an address, written postgresql://user@host/database",
        ),
        ('[ledger]\nurl="postgresql://me:hunter2@db:x/y"', "ledger.url: the ledger's address is none: write it like"),
        ('[ledger]\nurl="farthing.db"', "ledger.url: must be a file, written sqlite:farthing.db, or a database"),
        ('[cache]\nurl="http://:hunter2@cache"', "cache.url: must begin with valkey://, valkeys://, redis://"),
        ('[cache]\nurl="redis://:hunter2@cache/x"', "cache.url: must end with the number of a database"),
        ('[ledger]\nurl="sqlite::memory:"', "ledger.url: must be a file: what is kept in memory is no ledger"),
        ('[ledger]\nurl="sqlite://farthing.db"', "ledger.url: a path follows the colon at once"),
        ('[telemetry]\ntrace_url="localhost/{trace_id}"', "telemetry.trace_url: is no http:// or https:// address"),
        ('[telemetry]\ntrace_url="http://viewer/traces"', "telemetry.trace_url: has no {trace_id} in it, which the id"),
        ('[telemetry]\npublic_url="llm.example.com"', "telemetry.public_url: is no http:// or https:// address"),
        ('[telemetry]\notlp_endpoint="localhost:4318"', "telemetry.otlp_endpoint: is no http:// or https:// address"),
        (provider("api.openai.com"), "providers[0].base_url: is no http:// or https:// address"),
        (provider("http://[::1/v1"), "providers[0].base_url: is no http:// or https:// address"),
        (provider("http://h:99999/v1"), "providers[0].base_url: is no http:// or https:// address"),
        (provider("http://h/a b"), "providers[0].base_url: is no http:// or https:// address"),
        (provider("http://me:hunter2@h/v1"), "providers[0].base_url: must not have a user or password in it"),
        (provider("http://h/v1?key=hunter2"), "providers[0].base_url: must end with its path"),
        (provider("http://h/v1/chat/completions"), "providers[0].base_url: is without /chat/completions"),
        (provider("http://h/v1", 'api_key = "hun\\nter2"'), "providers[0].api_key: has a character in it"),
        (provider("http://h/v1", 'proxy = "socks5://me:hunter2@p:1"'), "providers[0].proxy: is no http:// address"),
        (provider("http://h/v1", 'proxy = "http://"'), "providers[0].proxy: is no http:// address"),
        (provider("http://h/v1", 'model_path = "x.gguf"'), 'providers[0].model_path: is for dialect = "local" only'),
        (
            '[[providers]]\nname="a"\ndialect="openai"\nbase_url="http://h"\ncount_tokens="provider"',
            'providers[0].count_tokens: is "provider" for dialect = "anthropic" and "gemini" only',
        ),
        (
            '[[providers]]\nname="a"\ndialect="gemini"\nbase_url="http://h"\nresponses=true',
            'providers[0].responses: is for dialect = "openai" only',
        ),
        ('[[providers]]\nname="a:b"\ndialect="local"', "providers[0].name: 'a:b' must be made of"),
        (
            '[[providers]]\nname="a"\ndialect="local"\nbase_url="http://h"',
            'providers[0].base_url: dialect = "local" runs',
        ),
        ('[[providers]]\nname="a"\ndialect="openai"', "providers[0].base_url: is missing"),
        ('[server]\nhost=""', "server.host: is empty; 127.0.0.1 is this machine"),
    ],
)
def test_a_broken_rule_is_one_line_at_its_place(refuses: Refuses, text: str, line: str) -> None:
    lines = refuses(text)
    assert lines[0].startswith(line), lines
    assert len(lines) == 1
    assert "hunter2" not in lines[0]


def test_a_scope_and_window_may_have_a_ceiling_in_each_unit(reads: Reads) -> None:
    found = reads(rate("tokens", "5") + rate("calls", '"60"') + rate("usd", '"0.5"') + rate("tokens", "9", "hour"))
    assert [limit_of(section) for section in found.ceilings] == [5, 60, 500_000_000, 9]
    assert limit_of(reads(rate("usd", "3")).ceilings[0]) == 3_000_000_000


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_loopback_host_is_taken(reads: Reads, host: str) -> None:
    assert reads(f'[server]\nhost = "{host}"').server.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", "127.0.0.1.example.com", ""])
def test_any_other_host_is_reachable_from_outside(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "url", ["sqlite:farthing.db", "sqlite:/var/lib/f.db", "sqlite:///var/lib/f.db", "sqlite:../f.db"]
)
def test_a_ledger_in_a_file_is_taken(reads: Reads, url: str) -> None:
    assert reads(f'[ledger]\nurl = "{url}"').ledger.url == url


def test_a_models_name_fits_a_header_and_has_an_end() -> None:
    assert is_model_name("gpt-oss:20b")
    assert is_model_name("meta-llama/Llama-3.1-8B")
    assert not any(map(is_model_name, ["", "a b", "a\r\nb", "modèle", "x" * 257]))


def test_problem_lines_are_bounded(refuses: Refuses) -> None:
    lines = refuses(ceiling("x" * 100_000) + f"{'k' * 100_000} = 1")
    assert len(lines) == 2
    assert all(len(line) < 1000 for line in lines)


def test_problem_lines_are_lines_whatever_names_are_in_them(refuses: Refuses) -> None:
    names = '[[providers]]\nname = "a\\nb\\u001b[0m"\ndialect = "local"\n[[routes]]\nname = "r"\ntargets = ["c:m"]'
    lines = refuses(names)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
