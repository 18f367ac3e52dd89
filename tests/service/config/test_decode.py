"""Every problem of a document at once, each with its place and what to do."""

import pytest

from router.tokens.encodings import ENCODINGS
from service.config.model import ModelSection
from service.strict_json import choices_of
from tests.service.config.conftest import PROVIDER, Reads, Refuses


def test_every_problem_is_told_at_once_and_each_with_its_place(refuses: Refuses) -> None:
    text = """
    colour = "red"
    [server]
    prot = 1
    workers = "x"
    host = "0.0.0.0"
    auth = "off"
    [router]
    hedge = "soon"
    [[providers]]
    name = "a"
    dialect = "opnai"
    [[providers]]
    name = "b"
    dialect = "openai"
    base_url = "https://b.example/v1"
    timout_s = 5
    [[routes]]
    name = "chat"
    targets = ["a:m", "c:m"]
    [[ceilings]]
    scope = "x"
    window = "dai"
    limit_usd = 1.5
    warn_at = [1.5]
    """
    assert refuses(text) == [
        "colour: unknown key; known keys are "
        "server, ledger, cache, router, telemetry, providers, models, routes, ceilings, "
        "reconcile, alerts",
        "server.prot: unknown key; did you mean port?",
        "server.workers: expected int, got str",
        "router.hedge: expected bool, got str",
        "providers[0].dialect: 'opnai' cannot be; choose openai, anthropic, gemini, local",
        "providers[1].timout_s: unknown key; did you mean timeout_s?",
        "ceilings[0].window: 'dai' cannot be; choose minute, hour, day, month, total",
        'ceilings[0].limit_usd: an amount is exact, so it goes in quotes: "1.5"',
        "ceilings[0].warn_at[0]: expected float <= 1.0",
        "server.auth: off is for this machine alone, and '0.0.0.0' can be reached from outside; leave it at auto",
        "providers[0].base_url: is missing",
        "routes[0].targets[1]: there is no provider 'c'; there are a, b",
        "ceilings[0].scope: 'x' must be global, or one of provider:P, model:P:M, key:ID, team:T, user:U, "
        "workflow:W and run:R; * for each name",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[providers]]\nname = 'a'", "providers[0].dialect: is missing"),
        ("[[routes]]\ntargets = ['a:b']\nname = 5", "routes[0].name: expected str, got int"),
        ("[[routes]]\nname = 'a'\ntargets = [5]", "routes[0].targets[0]: expected str, got int"),
        (
            "[[ceilings]]\nscpoe = 'global'\nwindow = 'day'\nlimit_usd = '1'",
            "ceilings[0].scpoe: unknown key; did you mean scope?",
        ),
        ("server = 5", "server: must be a table"),
        ("providers = 5", "providers: must be a list of tables, written [[providers]]"),
        ("[providers]\nname = 'a'", "providers: must be a list of tables, written [[providers]]"),
        ("routes = [1]", "routes[0]: must be a table"),
        ("[server]\nport = 70000", "server.port: expected int <= 65535"),
        ("[server]\nworkers = true", "server.workers: expected int, got bool"),
        ("[router]\nstream_gap_s = inf", "router.stream_gap_s: expected float <= 10000000.0"),
        ("[router]\nstream_gap_s = nan", "router.stream_gap_s: expected float > 0.0"),
        ("[cache]\nttl_s = 99999999999999999999", "cache.ttl_s: expected int <= 1000000000"),
        ("[cache]\nenabled = 'yes'", "cache.enabled: expected bool, got str"),
        ("[ledger]\nurl = 2026-01-01", "ledger.url: expected str, got date"),
        ("[server]\nauth = 'on'", "server.auth: 'on' cannot be; choose auto, required, off"),
        ("[server]\n'a\\nb' = 1", "server.'a\\\\nb': unknown key;"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(refuses: Refuses, text: str, line: str) -> None:
    lines = refuses(text)
    assert any(said.startswith(line) for said in lines), lines
    assert all("\n" not in said for said in lines)


def test_what_only_follows_from_another_problem_is_not_told(refuses: Refuses) -> None:
    nameless = '[[providers]]\nnmae = "a"\ndialect = "openai"\nbase_ulr = "https://a.example"\n'
    assert refuses(nameless + '[[routes]]\nname = "r"\ntargets = ["a:m"]') == [
        "providers[0].nmae: unknown key; did you mean name?",
        "providers[0].base_ulr: unknown key; did you mean base_url?",
    ]


def test_a_whole_value_comes_from_the_environment_and_takes_its_fields_type(reads: Reads) -> None:
    text = PROVIDER + 'api_key = "${KEY}"\ntimeout_s = "$SECONDS"\n[server]\nport = "$PORT"\n[cache]\nenabled = "$ON"\n'
    text += '[[routes]]\nname = "r"\ntargets = ["$FIRST", "openai:gpt-4o"]'
    config = reads(text, KEY="sk-1\n", SECONDS="2.5", PORT="0", ON="false", FIRST="openai:o3")
    assert (config.providers[0].api_key, config.providers[0].timeout_s) == ("sk-1", 2.5)
    assert (config.server.port, config.cache.enabled) == (0, False)
    assert config.routes[0].targets == ("openai:o3", "openai:gpt-4o")


def test_a_value_from_the_environment_is_named_when_unset_and_never_shown(refuses: Refuses) -> None:
    text = PROVIDER + 'api_key = "$KEY"\ntimeout_s = "$OTHER"\n[server]\nauth = "$OTHER"\n[ledger]\nurl = "x${KEY}"\n'
    lines = refuses(text, KEY="", OTHER="sk-secret")
    assert lines[:4] == [
        "providers[0].api_key: the environment variable KEY is not set",
        "providers[0].timeout_s: expected float, got str",
        "server.auth: what $OTHER holds cannot be; choose auto, required, off",
        "ledger.url: only a whole value can be read from the environment, not a part of one",
    ]
    assert "sk-secret" not in "".join(lines)


def test_the_encodings_to_choose_from_are_those_that_are_there() -> None:
    assert tuple(choices_of(ModelSection.__annotations__["encoding"])) == ENCODINGS
