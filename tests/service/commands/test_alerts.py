"""`farthing alerts`."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from service.commands import main
from tests.upstream import scripted_upstream, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = """
[[alerts]]
url = "{url}/CANARY-PATH/hook"
secret = "{secret}"
name = "ops"
[[alerts]]
url = "{url}/2/hook"
events = ["disk.low"]
"""


@pytest.fixture
def farthing(tmp_path, monkeypatch):
    """`await farthing(config, *arguments)`: exit status, standard output and error of a command in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)

    async def run(config, *arguments):
        (tmp_path / "farthing.toml").write_text(config)
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.mark.parametrize("second", [200, 503])
async def test_every_target_gets_a_test_and_its_answer_is_said(farthing, second):
    async with scripted_upstream() as receiver:
        receiver.default = status(200, "")
        if second != 200:
            receiver.plays(status(second), status(second))
        code, out, err = await farthing(CONFIG.format(url=receiver.root, secret=SECRET), "alerts", "test")
        assert code == (0 if second == 200 else 1), out + err
        assert ("taken (200)" in out) == (second == 200)
        assert (f"answered {second}" in out) == (second != 200)
        assert "ops" in out
        assert "CANARY" not in out + err
        assert SECRET not in out + err
        signed = next(it for it in receiver.requests if "CANARY" in it.path)
        said = Webhook(SECRET).verify(signed.raw_body, signed.headers)
        assert said["type"] == "test"
        assert len({json.loads(it.raw_body)["data"]["id"] for it in receiver.requests}) == 1


async def test_with_nobody_to_tell_a_test_fails_and_a_check_shows_who_is_told(farthing):
    code, _, err = await farthing("", "alerts", "test")
    assert (code, err) == (1, "farthing: there is nobody to tell: the config has no [[alerts]]\n")
    code, out, err = await farthing(CONFIG.format(url="https://hooks.example.com", secret=SECRET), "check")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines() if "hooks.example.com" in line]
    assert rows == [
        ["ops", "https://hooks.example.com/…", "*", "yes"],
        ["hooks.example.com", "https://hooks.example.com/…", "disk.low", "no"],
    ]
    assert "CANARY" not in out
    assert SECRET not in out
