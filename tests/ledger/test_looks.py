"""The service's own audit: it goes on from where it was, tells of drift once, and one process at a time looks."""

import logging
import os
import sqlite3
from contextlib import asynccontextmanager, closing

import msgspec

from ledger.sqlite.looks import Looks
from ledger.verify import verify_ledger
from tests.ledger.calls import Clock, a_call, a_ledger, admit_and_settle


@asynccontextmanager
async def a_watched_ledger(folder):
    clock = Clock()
    async with a_ledger(folder, clock=clock) as ledger:
        looks = Looks(ledger._store, ledger._readers, clock_ms=clock, owner_id=lambda: ledger.owner_id, every_s=60)

        async def look_a_minute_later():
            clock.at_ms += 60_000
            await looks.look()
            return await ledger.figures()

        yield ledger, look_a_minute_later


def damage(folder, statement):
    with closing(sqlite3.connect(folder / "farthing.db", isolation_level=None)) as db:
        db.execute("DROP TRIGGER a_posting_never_changes")
        db.execute("DROP TRIGGER a_posting_never_vanishes")
        assert db.execute(statement).rowcount > 0


def events(folder):
    with closing(sqlite3.connect(folder / "farthing.db")) as db:
        return db.execute("SELECT type, subject, facts FROM events ORDER BY event_id").fetchall()


async def test_a_look_goes_on_from_the_one_before(tmp_path):
    async with a_watched_ledger(tmp_path) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        await admit_and_settle(ledger, a_call())
        assert (await look()).verified_seq == 2
        await admit_and_settle(ledger, a_call())
        figures = await look()
        assert (figures.verified_seq, figures.drift) == (3, 0)
        assert figures.wal_bytes > 0


async def test_drift_is_logged_and_told_once(tmp_path, caplog):
    async with a_watched_ledger(tmp_path) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        damage(tmp_path, "UPDATE postings SET cost_nanousd = cost_nanousd + 1")
        with caplog.at_level(logging.ERROR):
            assert (await look()).drift == 1
        assert "a whole chain" in caplog.text
        await admit_and_settle(ledger, a_call())
        assert (await look()).drift == 1
    ((kind, subject, facts),) = events(tmp_path)
    assert kind == "ledger.drift"
    assert "seq=1" in subject
    assert msgspec.json.decode(facts)["row"]["seq"] == 1


async def test_a_ledger_that_lost_its_end_is_noticed(tmp_path):
    async with a_watched_ledger(tmp_path) as (ledger, look):
        await admit_and_settle(ledger, a_call())
        await admit_and_settle(ledger, a_call())
        await look()
        damage(tmp_path, "DELETE FROM postings WHERE seq = 2")
        assert (await look()).drift == 1
    broken = verify_ledger(f"sqlite:{tmp_path / 'farthing.db'}", on_rule=lambda _: None).violations
    assert any("looked at is still there" in violation.rule for violation in broken)


async def test_a_page_that_cannot_be_read_is_drift(tmp_path):
    async with a_watched_ledger(tmp_path) as (ledger, look):
        await admit_and_settle(ledger, a_call())
    with closing(sqlite3.connect(tmp_path / "farthing.db")) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'postings'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    async with a_watched_ledger(tmp_path) as (_, look):
        with (tmp_path / "farthing.db").open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"\xff", (page - 1) * size)
        assert (await look()).drift == 1


async def test_of_two_processes_one_looks(tmp_path):
    async with a_watched_ledger(tmp_path) as (ledger, look), a_watched_ledger(tmp_path) as (_, look_too):
        await admit_and_settle(ledger, a_call())
        assert (await look()).verified_seq == 1
        await admit_and_settle(ledger, a_call())
        assert (await look_too()).verified_seq == 1


async def test_writes_that_wait_are_added_up_over_processes(tmp_path):
    async with a_ledger(tmp_path) as one, a_ledger(tmp_path) as other:
        with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as db:
            db.execute("UPDATE owners SET queue_depth = 7 WHERE owner_id = ?", (other.owner_id,))
        assert (await one.figures()).queue_depth == 7
        assert (await other.figures()).queue_depth == 0
