"""`farthing copy` as people see it: what it says, and the exit status of each way that it ends."""

import asyncio
import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from ledger.copying import Step
from ledger.verify import verify_ledger
from service.commands import main
from service.commands.copying import shown
from tests.ledger.calls import Clock, a_call, a_ledger, admit_and_settle
from tests.ledger.homes import SqliteHome
from tests.ledger.test_apikeys import a_key


@pytest.fixture
def home(tmp_path: Path) -> SqliteHome:
    """A ledger of three calls and a key."""
    home = SqliteHome(tmp_path)

    async def make() -> None:
        async with a_ledger(home, clock=Clock()) as ledger:
            await ledger.create_api_key(a_key())
            for _ in range(3):
                await admit_and_settle(ledger, a_call())

    asyncio.run(make())
    return home


def copy(source: str, target: str, *options: str, **environ: str) -> Result:
    return CliRunner().invoke(main, ["copy", "--from", source, "--to", target, *options], env=environ)


def test_it_says_what_was_copied_and_what_has_to_go_along(home: SqliteHome) -> None:
    (home.folder / "farthing.pepper").write_text("p" * 32)
    target = f"sqlite:{home.folder}/moved.db"
    result = copy("$OLD", "${NEW}", OLD=home.url, NEW=target, FARTHING_PEPPER="")
    assert result.exit_code == 0, result.output
    assert "copied: " in result.stdout
    assert "3 calls" in result.stdout
    assert "calls/s); compared row by row" in result.stdout
    assert "clean: " in result.stdout
    pepper = f"give the service on the new one what {home.folder / 'farthing.pepper'} holds as $FARTHING_PEPPER"
    assert f"1 API keys are checked with a pepper that no ledger holds: {pepper}" in result.stdout
    for words in ("auditing the old ledger", "copying postings: ", "comparing postings: ", "auditing the new ledger"):
        assert words in result.stderr
    assert verify_ledger(target, on_rule=lambda _: None).postings == 3
    again = copy(home.url, target)
    assert (again.exit_code, "there is a ledger in" in again.stderr) == (4, True), again.output


def test_a_broken_ledger_is_told_as_verify_tells_it(home: SqliteHome) -> None:
    with home.database(ruled=False) as db:
        db.execute("UPDATE holds SET state = 'released'")
    result = copy(home.url, f"sqlite:{home.folder}/moved.db")
    assert (result.exit_code, "BROKEN  invariant 3" in result.stdout, "nothing was copied" in result.stderr) == (
        3, True, True,
    )  # fmt: skip
    assert not (home.folder / "moved.db").exists()


@pytest.mark.parametrize(
    ("source", "target", "words", "status"),
    [
        ("sqlite:nowhere.db", "sqlite:new.db", "there is no ledger at", 4),
        ("mysql:x", "sqlite:new.db", "'mysql' names no ledger", 4),
        ("$NOWHERE", "sqlite:new.db", "NOWHERE is not set", 2),
    ],
)
def test_what_cannot_be_is_said(home: SqliteHome, source: str, target: str, words: str, status: int) -> None:
    result = copy(source, target, NOWHERE="")
    assert (result.exit_code, words in result.stderr) == (status, True), result.output


def test_on_a_terminal_it_is_a_bar() -> None:
    screen = io.StringIO()
    with shown(Console(file=screen, force_terminal=True, width=100)) as tell:
        tell(Step("auditing the old ledger: the file is sound"))
        tell(Step("copying postings", 250, 1000))
    assert "copying postings" in screen.getvalue()
    assert "250/1000" in screen.getvalue()
