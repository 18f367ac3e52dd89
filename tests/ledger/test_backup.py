"""A copy made while others write is a whole, audited ledger of one moment; one that was cut off leaves no file."""

import asyncio
import fcntl
import os
import signal
import sqlite3
import stat
from contextlib import closing

import pytest

from ledger.errors import BackupFailed
from ledger.upkeep import backup_ledger
from ledger.verify import Unreadable, verify_ledger
from tests.forked import forked
from tests.ledger import killed
from tests.ledger.calls import a_call, a_ledger, admit_and_settle
from tests.processes import run_farthing


def back_up(folder, name="copy.db"):
    return backup_ledger(f"sqlite:{folder / 'farthing.db'}", folder / name, on_step=lambda _: None)


async def test_a_copy_under_load_is_a_whole_ledger_of_one_moment(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        settled = 0

        async def keep_calling():
            nonlocal settled
            while not over.is_set():
                await admit_and_settle(ledger, a_call())
                settled += 1

        over = asyncio.Event()
        async with asyncio.TaskGroup() as callers:
            for _ in range(8):
                callers.create_task(keep_calling())
            while settled < 50:
                await asyncio.sleep(0)
            before = settled
            findings = await asyncio.to_thread(back_up, tmp_path)
            after = settled
            over.set()
        assert findings.violations == ()
        assert before <= findings.postings <= after + 8
    copied = verify_ledger(f"sqlite:{tmp_path / 'copy.db'}", on_rule=lambda _: None)
    assert (copied.violations, copied.last_digest) == ((), findings.last_digest)
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("copy.db.partial*"))


async def test_a_copy_serves_as_a_ledger(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        await admit_and_settle(ledger, a_call())
    (tmp_path / "restored").mkdir()
    back_up(tmp_path, "restored/farthing.db")
    async with a_ledger(tmp_path / "restored") as ledger:
        await admit_and_settle(ledger, a_call())
    url = f"sqlite:{tmp_path / 'restored' / 'farthing.db'}"
    findings = verify_ledger(url, on_rule=lambda _: None)
    assert (findings.violations, findings.postings) == ((), 2)


async def test_nothing_is_overwritten(tmp_path):
    async with a_ledger(tmp_path):
        pass
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(BackupFailed, match="is there already"):
        back_up(tmp_path)
    assert (tmp_path / "copy.db").read_text() == "mine"


async def test_two_copies_to_one_place_do_not_mix(tmp_path):
    async with a_ledger(tmp_path):
        pass
    with (tmp_path / "copy.db.partial").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BackupFailed, match="another backup"):
            back_up(tmp_path)


async def test_what_cannot_be_read_or_written_is_said(tmp_path):
    with pytest.raises(Unreadable, match="there is no ledger"):
        back_up(tmp_path)
    async with a_ledger(tmp_path):
        pass
    with pytest.raises(BackupFailed, match="cannot be written"):
        back_up(tmp_path, "nowhere/copy.db")


async def test_drift_is_copied_and_said(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        await admit_and_settle(ledger, a_call())
    with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as db:
        db.execute("UPDATE response_totals SET entries = 5")
    code, out, err = await run_farthing(tmp_path, "backup", "copy.db", environ={"OPENAI_API_KEY": "sk-x"})
    assert (code, "BROKEN" in out) == (3, True), out + err


async def test_a_killed_backup_leaves_no_copy_and_can_be_done_again(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        for _ in range(20):
            await admit_and_settle(ledger, a_call())
    arguments = (f"sqlite:{tmp_path / 'farthing.db'}", str(tmp_path / "copy.db"))
    async with forked(killed.back_up, *arguments, folder=tmp_path, environ=os.environ) as process:
        assert await process.wait() == -signal.SIGKILL
    assert not (tmp_path / "copy.db").exists()
    assert back_up(tmp_path).violations == ()
