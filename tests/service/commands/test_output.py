"""What commands print where the locale has no such characters, and where nothing can be printed at all."""

import asyncio
import csv
import io
import json
import os
import subprocess
from errno import ENOSPC
from pathlib import Path

import msgspec
import pytest

from service.commands.output import safe_output
from tests.ledger.calls import a_call, a_ledger, admit_and_settle
from tests.processes import FARTHING

NAME = "用户 é"
COMMANDS = ("spend", "spend --csv", "spend --json", "keys list", "--help")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")

    async def spend() -> None:
        async with a_ledger(folder) as ledger:
            call = a_call()
            facts = msgspec.structs.replace(call.facts, attribution={**call.facts.attribution, "user": NAME})
            await admit_and_settle(ledger, msgspec.structs.replace(call, facts=facts))

    asyncio.run(spend())
    (folder / "farthing.toml").write_text('[ledger]\nurl = "sqlite:farthing.db"\n', "utf-8")
    return folder


def farthing(folder: Path, command: str, *, encoding: str, to: str = "") -> "subprocess.CompletedProcess[bytes]":
    """to: what a shell makes of standard output."""
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    told = ["sh", "-c", f'exec "$0" "$@" {to}', FARTHING, *command.split()]
    return subprocess.run(told, cwd=folder, env=environ, capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_name_that_the_locale_has_no_letters_for_is_told_all_the_same(folder: Path, encoding: str):
    rows = farthing(folder, "spend --by user --csv", encoding=encoding)
    assert [row["user"] for row in csv.DictReader(io.StringIO(rows.stdout.decode()))] == [NAME], rows.stderr
    report = farthing(folder, "spend --by user --json", encoding=encoding)
    assert [row["user"] for row in json.loads(report.stdout.decode())["rows"]] == [NAME], report.stderr
    table = farthing(folder, "spend --by user", encoding=encoding)
    assert NAME.encode(encoding, "backslashreplace") in table.stdout, table.stderr
    assert {rows.returncode, report.returncode, table.returncode} == {0}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize(
    ("to", "words"),
    [(">/dev/full", b"No space left on device"), (">&-", b"standard output is closed")],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_printed_ends_the_command_in_a_line(folder: Path, command: str, to: str, words: bytes):
    ended = farthing(folder, command, encoding="utf-8", to=to)
    assert (ended.returncode, ended.stderr) == (1, b"farthing: " + words + b"\n")


def test_of_another_file_on_a_full_disk_its_name_is_told(capsys):
    with pytest.raises(SystemExit) as ended, safe_output():
        raise OSError(ENOSPC, "No space left on device", "a.db")
    assert (ended.value.code, capsys.readouterr().err) == (1, "farthing: a.db: No space left on device\n")


def test_what_fails_otherwise_is_not_taken_for_the_output():
    with pytest.raises(FileNotFoundError), safe_output():
        Path("/nowhere/at/all").read_text()
