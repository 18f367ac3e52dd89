"""Commands that look into the ledger need nothing else of the config, not the providers' keys, say."""

import asyncio

import pytest
from click.testing import CliRunner

from ledger.ledger import open_ledger
from service.clock import now_ms
from service.commands import main

CONFIG = """
[ledger]
url = "sqlite:books.db"
[[providers]]
name = "openai"
dialect = "openai"
base_url = "https://api.openai.com/v1"
api_key = "$A_KEY_THAT_IS_SET_ELSEWHERE"
[[alerts]]
url = "$A_HOOK_THAT_IS_SET_ELSEWHERE"
"""
# {command: what it says of an empty ledger, its exit status}
COMMANDS = {
    "verify": ("clean", 0),
    "verify --since 0": ("clean", 0),
    "verify --since 7": ("no line 7 to begin after: the newest is 0", 2),
    "spend": ("total", 0),
    "latency": ("latency", 0),
    "explain gen_1": ("there is no call 'gen_1'", 1),
    "backup copy.db": ("clean", 0),
    "prune --before 90d": ("folded: 0 postings", 0),
    "keys list": ("there are no keys", 0),
    "keys revoke nobody": ("there is no key 'nobody'", 2),
    "correct gen_1.1 --cost-usd 1 --reason r": ("gen_1", 2),
}


# Those that also want to know of prices and names of models, and ask nobody.
BOOKS = {
    "keys create --name n --route openai:gpt-4o": ("This is the key", 0),
    "hints": ("nothing was learned yet", 0),
    "hints block openai:gpt-4o": ("is blocked until", 0),
    "reprice --since 7d": ("0 attempts looked at", 0),
    "reconcile export.csv --provider openai": ("has no rows", 2),
}


def test_they_need_only_the_ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)
    (tmp_path / "farthing.toml").write_text(CONFIG, "utf-8")

    async def make():
        async with open_ledger("sqlite:books.db", clock_ms=now_ms):
            pass

    asyncio.run(make())
    (tmp_path / "export.csv").write_text("day,model,cost_usd\n", "utf-8")
    for command, (words, status) in (COMMANDS | BOOKS).items():
        result = CliRunner().invoke(main, command.split())
        assert (result.exit_code, words in result.output) == (status, True), (command, result.output)
    asked = CliRunner().invoke(main, ["check"])
    assert (asked.exit_code, "A_KEY_THAT_IS_SET_ELSEWHERE is not set" in asked.output) == (2, True)
    assert not (tmp_path / "farthing.db").exists()


@pytest.mark.parametrize("command", ["spend --since", "latency --since", "prune --before", "reprice --since"])
@pytest.mark.parametrize(
    "moment", ["999999d", "99999999999d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_a_moment_in_no_year_is_refused_in_a_line(tmp_path, monkeypatch, command, moment):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)
    result = CliRunner().invoke(main, [*command.split(), moment])
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert "1 to 9999" in result.output


@pytest.mark.parametrize("command", ["keys create --name n", "hints", "reprice --since 7d"])
def test_what_prices_and_names_come_from_still_has_to_be_right(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)
    address = CONFIG.replace('"https://api.openai.com/v1"', '"$AN_ADDRESS_THAT_IS_SET_ELSEWHERE"')
    (tmp_path / "farthing.toml").write_text(address, "utf-8")
    result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, "AN_ADDRESS_THAT_IS_SET_ELSEWHERE is not set" in result.output) == (2, True)
    assert "A_KEY_THAT_IS_SET_ELSEWHERE" not in result.output


@pytest.mark.parametrize(
    "command",
    [
        "keys list",
        "keys revoke k",
        "alerts list",
        "alerts retry evt_1",
        "hints",
        "hints allow local:m",
        "hints forget local:m",
    ],
)
def test_what_is_looked_for_or_taken_back_makes_no_ledger_to_be_in(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)
    (tmp_path / "farthing.toml").write_text(
        '[[providers]]\nname = "local"\ndialect = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n', "utf-8"
    )
    result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, "there is no ledger" in result.stderr) == (4, True), result.output
    assert [file.name for file in tmp_path.iterdir()] == ["farthing.toml"]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_wrong_with_the_ledgers_own_section_still_stops_them(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text('[ledger]\nurl = "mysql:x"\n', "utf-8")
    monkeypatch.setenv("FARTHING_CONFIG", "wrong.toml")
    result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, "ledger.url: " in result.output) == (2, True), result.output
