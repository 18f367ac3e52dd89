"""Where a ledger is kept: whoever is given a server without the packages for it is told which ones to install."""

import asyncio
import sys

import pytest

from ledger.verify import Unreadable, verify_ledger

WITHOUT_PACKAGES = """
import asyncio, sys
from pathlib import Path
sys.modules["asyncpg"] = None  # As where it is not installed.
from ledger.copying import copy_ledger
from ledger.corrections import open_corrector
from ledger.errors import LedgerError
from ledger.ledger import check_ledger, open_ledger, open_reports, wall_ms
from ledger.upkeep import prune_ledger
from ledger.verify import verify_ledger

URL = "postgresql://user@127.0.0.1:1/farthing"

async def opened(manager):
    async with manager:
        pass

def quiet(_):
    pass

for use in (
    lambda: check_ledger(URL),
    lambda: asyncio.run(opened(open_ledger(URL))),
    lambda: asyncio.run(opened(open_reports(URL))),
    lambda: asyncio.run(opened(open_corrector(URL, clock_ms=wall_ms))),
    lambda: verify_ledger(URL, on_rule=quiet),
    lambda: prune_ledger(URL, 0, now_ms=wall_ms(), on_step=quiet),
    lambda: copy_ledger(URL, "sqlite:new.db", now_ms=wall_ms(), on_step=quiet),
):
    try:
        use()
    except LedgerError as error:
        print(error)
"""
COMMANDS = """
import sys
sys.modules["asyncpg"] = None
from service.commands import main
main(sys.argv[1:], prog_name="farthing")
"""


async def python(folder, script, *arguments):
    """(status, output, errors) of a script in a process of its own: here the package is loaded."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        *arguments,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_without_the_packages_each_use_of_a_server_says_what_to_install(tmp_path):
    status, out, err = await python(tmp_path, WITHOUT_PACKAGES)
    assert (status, err) == (0, "")
    assert out.splitlines() == ["a ledger on PostgreSQL needs more packages: pip install 'farthing[postgres]'"] * 7


@pytest.mark.parametrize("command", ["serve", "spend", "verify", "check"])
async def test_without_the_packages_a_command_says_so_in_a_line(tmp_path, command):
    (tmp_path / "farthing.toml").write_text('[ledger]\nurl = "postgresql://user@127.0.0.1:1/farthing"\n', "utf-8")
    status, out, err = await python(tmp_path, COMMANDS, command)
    assert (status, out) == (2, "")
    words = "ledger.url: a ledger on PostgreSQL needs more packages: pip install 'farthing[postgres]'"
    assert err.splitlines() == [f"farthing: farthing.toml: {words}"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://user@host:abc/farthing", "the ledger's address is none"),
        (
            "postgresql://user@127.0.0.1:1/farthing",
            r"postgresql://127.0.0.1:1/farthing cannot be read: no connection \(Conn",
        ),
    ],
)
def test_an_audit_of_a_server_that_is_not_to_be_had_says_which(url, words):
    with pytest.raises(Unreadable, match=words):
        verify_ledger(url, on_rule=lambda _: None)
