"""`farthing keys`: a secret once, a list without any, and an end that lasts."""

import asyncio
import json
import stat
from itertools import chain

import pytest
from click.testing import CliRunner

from ledger.apikeys import ApiKey, KeptKey
from ledger.ledger import open_ledger
from service.auth.secret import parse_secret
from service.clock import now_ms
from service.commands import main


@pytest.fixture
def farthing(tmp_path, monkeypatch):
    """The command line in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("FARTHING_CONFIG", "FARTHING_PEPPER"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, status=0):
        result = CliRunner().invoke(main, ["keys", *arguments])
        assert result.exit_code == status, result.output
        return result

    return run


def test_a_key_from_its_making_to_its_end(farthing, tmp_path):
    ceilings = ("50/month", "$5 / day", "60 calls/minute", "100000 tokens per minute")
    limits = (*chain.from_iterable(("--ceiling", it) for it in ceilings), "--route", "default", "--expires", "30d")
    made = farthing("create", "--name", "batch jobs", "--team", "research", *limits)
    secret = parse_secret(made.stdout.strip().encode())
    assert secret is not None, "standard output is the secret alone"
    assert secret.key_id in made.stderr
    assert "not shown again" in made.stderr

    listed = farthing("list", "--json").stdout
    (key,) = json.loads(listed)["keys"]
    assert (key["id"], key["name"], key["team"], key["role"]) == (secret.key_id, "batch jobs", "research", "caller")
    assert [(it["window"], it["unit"], it.get("limit_usd", it.get("limit"))) for it in key["ceilings"]] == [
        ("day", "usd", "5.000000000"),
        ("minute", "tokens", 100_000),
        ("minute", "calls", 60),
        ("month", "usd", "50.000000000"),
    ]
    assert (key["routes"], key["state"], key["revoked_at"]) == (["default"], "in force", None)
    table = farthing("list").stdout
    # In words that --ceiling takes.
    words = " ".join(table.split())
    for limit in ("$5.00 a day", "100000 tokens a minute", "60 calls a minute", "$50.00 a month"):
        assert limit in words
    for text in (listed, table):
        assert secret.text.decode()[16:] not in text
    for file in tmp_path.iterdir():
        assert secret.text[16:] not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert (tmp_path / "farthing.pepper").read_bytes().strip() not in (tmp_path / "farthing.db").read_bytes()

    first = farthing("revoke", secret.key_id).stdout
    assert farthing("revoke", secret.key_id).stdout == first
    assert "revoked" in farthing("list").stdout
    assert "there is no key 'nobody'" in farthing("revoke", "nobody", status=2).stderr


def test_everything_as_json_with_the_secret_in_it(farthing):
    made = json.loads(farthing("create", "--name", "x", "--role", "admin", "--json").stdout)
    assert parse_secret(made["secret"].encode()).key_id == made["id"]
    assert (made["role"], made["routes"], made["expires_at"]) == ("admin", [], None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--name", "x", "--ceiling", "50/moon"), "ceilings: '50/moon' is none"),
        (("create", "--name", "x", "--ceiling", "5/day", "--ceiling", "6/day"), "ceilings: there are two a day"),
        (
            ("create", "--name", "x", "--ceiling", "1 call/day", "--ceiling", "6 calls a day"),
            "ceilings: there are two a day in calls",
        ),
        (("create", "--name", "x", "--ceiling", "1.5 tokens/day"), "'1.5' is no whole number of tokens"),
        (("create", "--name", "x", "--ceiling", "$5 calls/day"), "ceilings: '$5 calls/day' is none"),
        (("create", "--name", "x", "--ceiling", "5 pounds/day"), "ceilings: '5 pounds/day' is none"),
        (("create", "--name", "x", "--route", "nope"), "routes: 'nope' is neither a route"),
        (("create", "--name", "x", "--expires", "soon"), "expires: must be a span like 30d"),
        (("create", "--name", "x", "--expires", "9999999d"), "expires: must be no later than 9999-12-31T23:59:59.999Z"),
        (("create", "--name", "x", "--expires", "9" * 20 + "d"), "expires: must be no later than"),
        (("create", "--name", ""), "name: must be 1 to 256"),
        (("create", "--name", "x", "--role", "root"), "'root' is not one of 'caller', 'reader', 'admin'"),
        (("create",), "Missing option '--name'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(farthing, arguments, words):
    assert words in farthing(*arguments, status=2).stderr


def test_a_key_without_an_end_that_anybody_could_write_down_hides_none_of_the_others(farthing):
    """Such keys were made once, and no key is ever removed."""

    async def keep():
        async with open_ledger("sqlite:farthing.db", clock_ms=now_ms) as ledger:
            names = {"key_id": "k1", "name": "z", "team": "", "role": "caller"}
            key = ApiKey(**names, routes=(), ceilings=(), created_at_ms=1, expires_at_ms=1 << 52)
            await ledger.create_api_key(KeptKey(key=key, digest=bytes(32), pepper_id="p1"))

    asyncio.run(keep())
    (key,) = json.loads(farthing("list", "--json").stdout)["keys"]
    assert (key["state"], key["expires_at"]) == ("in force", "9999-12-31T23:59:59.999Z")
    assert "9999-12-31" in farthing("list").stdout


def test_where_there_is_no_ledger_there_are_no_keys(farthing):
    assert "there is no ledger" in farthing("list", status=4).stderr


def test_a_key_under_another_pepper_is_not_made_beside_the_others(farthing, monkeypatch):
    farthing("create", "--name", "one")
    monkeypatch.setenv("FARTHING_PEPPER", "another pepper, that is long enough")
    assert "under another pepper" in farthing("create", "--name", "two", status=2).stderr
    monkeypatch.setenv("FARTHING_PEPPER", "short")
    assert "FARTHING_PEPPER has fewer than" in farthing("create", "--name", "two", status=4).stderr
