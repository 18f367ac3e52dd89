"""`farthing alerts`."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from ledger.events import EventRaised, Try
from ledger.ledger import open_ledger
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


async def test_what_was_given_up_is_listed_with_its_reason_and_tried_again_by_hand(farthing, tmp_path):
    facts = {"scope": "user:\x1b[31mred", "window": "day", "threshold": 0.8}
    async with open_ledger(f"sqlite:{tmp_path / 'farthing.db'}") as ledger:
        await ledger.due_deliveries({"ops": ["*"], "two": ["*"]}, 1, 1)
        raised = EventRaised(type="ceiling.threshold", dedup_key="x", at_ms=1_700_000_000_000, facts=facts)
        await ledger.raise_event(raised)
        await ledger.due_deliveries({"ops": ["*"], "two": ["*"]}, 1, 1)
        dead = Try(event_id=raised.id, target="ops", at_ms=1, state="dead", status=410, error="answered 410")
        taken = Try(event_id=raised.id, target="two", at_ms=1, state="delivered", status=200)
        await ledger.record_tries([dead, taken])
    code, out, _ = await farthing("", "alerts", "list")
    assert code == 0
    for words in ("ceiling.threshold", r"80% of user:\x1b[31mred a day", "ops given up (answered 410), two"):
        assert words in out
    assert "\x1b" not in out
    code, out, _ = await farthing("", "alerts", "list", "--state", "dead", "--json")
    assert [it["id"] for it in json.loads(out)["alerts"]] == [raised.id]

    code, _, err = await farthing("", "alerts", "retry", raised.id, "--target", "two")
    assert (code, "nothing of" in err) == (2, True)
    code, out, _ = await farthing("", "alerts", "retry", raised.id)
    assert (code, out) == (0, f"{raised.id} is due again for ops\n")
    assert "ops not yet (answered 410)" in (await farthing("", "alerts", "list"))[1]
    assert (await farthing("", "alerts", "list", "--state", "dead"))[1].startswith("nothing happened")
