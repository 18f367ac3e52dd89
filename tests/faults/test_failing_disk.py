"""Disks that fail, fill up or lie, and processes that stand still: nothing is acknowledged that is not kept."""

import asyncio
import itertools
import os
import resource
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager, closing
from functools import partial

import apsw
import pytest

from ledger.errors import LedgerUnavailable, NotALedger
from ledger.operations.owners import LeaseRule
from ledger.sqlite import connection as connections
from ledger.sqlite.checkpoint import WalRule
from ledger.sqlite.ledger import open_sqlite_ledger
from ledger.sqlite.writer import open_store
from ledger.values import CacheBounds
from ledger.verify import verify_ledger
from service.clock import now_ms
from tests.faults.disk import Disk, Face, RecordingVFS
from tests.processes import a_process, farthing_serve, one_route, run_farthing
from tests.upstream import answer, scripted_upstream

_numbers = itertools.count(1)


def put(value):
    return lambda db: db.execute("INSERT INTO refusals VALUES (:v, 'r', 'c', 1)", {"v": value}).rowcount


def kept(db):
    return {row[0] for row in db.execute("SELECT hour_ms FROM refusals")}


def on_disk(disk):
    """Where a writer's connections come from, so that they are on this disk."""
    vfs = RecordingVFS(f"failing-{next(_numbers)}", disk)

    @asynccontextmanager
    async def opening(path, synchronous):
        connections.create_private(path)
        make = partial(Face, path, vfs.vfs_name, busy_timeout_ms=20)
        async with connections.Connection(make, iter_chunk_size=64) as connection:
            await connection.run(partial(connections._apply_writer_settings, synchronous=synchronous))
            yield connection

    return opening


async def until_taken(write):
    async with asyncio.timeout(30):
        while True:
            try:
                return await write()
            except LedgerUnavailable:
                await asyncio.sleep(0.01)


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def sound(path):
    return not verify_ledger(f"sqlite:{path}", on_rule=lambda _rule: None).violations


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("write", apsw.SQLITE_FULL),
        ("write", apsw.SQLITE_IOERR_WRITE),
        ("sync", apsw.SQLITE_IOERR_FSYNC),
        ("read", apsw.SQLITE_IOERR_READ),
    ],
    ids=["full", "writes fail", "syncs fail", "reads fail"],
)
async def test_while_the_disk_fails_nothing_is_acknowledged_and_afterwards_it_goes_on(tmp_path, operation, code):
    disk, path = Disk(), tmp_path / "l.db"
    async with open_store(path, "full", on_disk(disk)) as store:
        acknowledged = {n for n in range(20) if await store.write(put(n))}
        disk.fault = lambda failing, _name: code if failing == operation else None
        refused = await asyncio.gather(*(store.write(put(n)) for n in range(100, 110)), return_exceptions=True)
        acknowledged |= {100 + n for n, result in enumerate(refused) if result == 1}
        # A read that fails is noticed when something has to be read: at the latest on opening again.
        if operation != "read":
            assert {type(result) for result in refused} == {LedgerUnavailable}
            await until(lambda: not store.is_ready)
        disk.fault = lambda _operation, _name: None
        assert await until_taken(lambda: store.write(put(999))) == 1
        assert store.is_ready
        found = await store.write(kept)
    assert acknowledged | {999} <= found
    assert sound(path)


async def test_a_checkpoint_that_fails_does_not_unsay_what_was_committed(tmp_path):
    disk, path = Disk(), tmp_path / "l.db"
    rule = WalRule(checkpoint_bytes=1)
    async with open_store(path, "full", on_disk(disk), rule) as store:
        disk.fault = lambda failing, name: apsw.SQLITE_IOERR_WRITE if (failing, name) == ("write", "l.db") else None
        assert await store.write(put(1)) == 1
        await until(lambda: not store.is_ready)
        disk.fault = lambda _operation, _name: None
        assert await until_taken(lambda: store.write(kept)) == {1}


HOLDING = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


async def test_while_another_process_holds_the_lock_writes_are_refused_and_afterwards_taken(tmp_path):
    path = tmp_path / "l.db"
    async with (
        open_store(path, "full", on_disk(Disk())) as store,
        a_process(sys.executable, "-c", HOLDING, str(path), stdin=PIPE, stdout=PIPE) as other,
    ):
        assert await other.stdout.readline() == b"locked\n"
        with pytest.raises(LedgerUnavailable) as refused:
            await store.write(put(1))
        assert not refused.value.unknown
        await until(lambda: not store.is_ready)
        await other.communicate(b"\n")
        assert await until_taken(lambda: store.write(put(2))) == 1
        assert await store.write(kept) == {2}


async def test_a_reader_that_stays_stops_admissions_at_the_logs_limit_and_settlements_never(tmp_path):
    path, wal = tmp_path / "l.db", tmp_path / "l.db-wal"
    rule = WalRule(checkpoint_bytes=32 << 10, restart_bytes=64 << 10, restart_wait_ms=1, limit_bytes=256 << 10)
    async with open_store(path, "full", wal_rule=rule) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT COUNT(*) FROM refusals").fetchone()
            number = 0
            while store.is_ready and number < 2000:
                assert await store.write(put(number)) == 1
                number += 1
            with pytest.raises(LedgerUnavailable):
                await store.write(put(5000))
            assert wal.stat().st_size < rule.limit_bytes + (64 << 10)
            assert await store.write(put(6000), is_settlement=True) == 1
            assert not store.is_ready
        assert await store.write(put(6001), is_settlement=True) == 1
        assert store.is_ready
        assert wal.stat().st_size < rule.checkpoint_bytes
        assert await store.write(put(7000)) == 1


async def test_a_file_that_is_damaged_while_it_is_open_stays_closed_and_says_so(tmp_path, caplog):
    path = tmp_path / "l.db"
    async with open_store(path, "full") as store:
        await store.write(put(1))
    async with open_store(path, "full") as store:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        with pytest.raises(LedgerUnavailable):
            await store.write(put(2))
        await until(lambda: "takes no more writes" in caplog.text)
        assert not store.is_ready
        with pytest.raises(LedgerUnavailable):
            await store.write(put(3))
    assert "put a backup in its place" in caplog.text


async def test_a_file_that_is_moved_away_acknowledges_nothing_until_it_is_back(tmp_path, caplog):
    path, away = tmp_path / "l.db", tmp_path / "away.db"
    async with open_store(path, "full") as store:
        await store.write(put(1))
        path.rename(away)
        with pytest.raises(LedgerUnavailable) as unavailable:
            await store.write(put(2))
        assert unavailable.value.unknown  # It may be found in it again, should the file come back.
        await until(lambda: "is gone: put it back" in caplog.text)
        assert not store.is_ready
        with pytest.raises(LedgerUnavailable):
            await store.write(put(3))
        assert not path.exists()  # No new ledger is begun, with nothing spent.
        away.rename(path)
        await until_taken(lambda: store.write(put(4)))
        assert {1, 4} <= await store.write(kept) <= {1, 2, 4}


async def test_a_file_in_its_place_is_not_written_to(tmp_path, caplog):
    path, other = tmp_path / "l.db", tmp_path / "other.db"
    async with open_store(other, "full") as store:
        await store.write(put(7))
    content = other.read_bytes()
    async with open_store(path, "full") as store:
        await store.write(put(1))
        other.rename(path)
        with pytest.raises(LedgerUnavailable):
            await store.write(put(2))
        await until(lambda: "another file than the one that was opened" in caplog.text)
        assert not store.is_ready
        with pytest.raises(LedgerUnavailable):
            await store.write(put(3))
    assert path.read_bytes() == content


async def test_a_file_cut_short_is_not_opened(tmp_path):
    path = tmp_path / "l.db"
    async with open_store(path, "full") as store:
        await store.write(put(1))
    os.truncate(path, 5000)
    with pytest.raises(NotALedger, match="malformed"):
        async with open_store(path, "full"):
            raise AssertionError("it opened")


async def test_a_service_whose_disk_is_full_says_so_and_comes_back(tmp_path):
    async with scripted_upstream() as upstream:
        upstream.default = answer("ok", prompt_tokens=3, completion_tokens=2)
        async with farthing_serve(tmp_path, config=one_route(upstream.url, limit_usd="1000")) as service:
            assert (await service.generate(model="chat", prompt="before"))[0] == 200
            pid, sent = service.process.pid, len(upstream.requests)
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, most))
            body = {"model": "chat", "prompt": "while it is full"}
            async with service.http.post(f"{service.url}/generate", json=body) as refused:
                told = await refused.json(content_type=None)
                assert (refused.status, told["code"]) == (503, "ledger_unavailable")
                assert int(refused.headers["Retry-After"]) >= 1
            assert len(upstream.requests) == sent, "no call is made that cannot be accounted for"
            async with service.http.get(f"{service.url}/health/ready") as ready:
                assert ready.status == 503
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
            await service.poll("/health/ready", lambda it: it.get("ready") or it.get("status") == "ready")
            assert (await service.generate(model="chat", prompt="after"))[0] == 200
            service.terminate()
            assert await service.ended() == 0
        code, out, _ = await run_farthing(tmp_path, "verify")
        assert code == 0, out


STALLED = """
import asyncio, sys
from pathlib import Path
from ledger.sqlite.ledger import open_sqlite_ledger
from ledger.operations.owners import LeaseRule
from ledger.values import CacheBounds
from service.clock import now_ms
from tests.ledger.calls import a_call, a_settlement

async def main(path):
    lease, bounds = LeaseRule(lease_ms=1000, renew_s=0.2, sweep_s=0.1), CacheBounds()
    async with open_sqlite_ledger(path, clock_ms=now_ms, synchronous="full", bounds=bounds, lease=lease) as ledger:
        first = a_call(now_ms=now_ms(), generation_id="gen_stalled", held=1000)
        lead = await ledger.admit(first)
        print("held", ledger.owner_id, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await ledger.settle(a_settlement(first, lead, cost=400))
        second = a_call(now_ms=now_ms(), generation_id="gen_awake", held=1000)
        await ledger.settle(a_settlement(second, await ledger.admit(second), cost=300))
        print("awake", ledger.owner_id, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_process_that_stood_still_past_its_lease_is_fenced_off_and_its_late_usage_mends_the_books(tmp_path):
    path = tmp_path / "l.db"
    lease = LeaseRule(lease_ms=1000, renew_s=0.2, sweep_s=0.1)
    async with (
        open_sqlite_ledger(path, clock_ms=now_ms, synchronous="full", bounds=CacheBounds(), lease=lease) as ledger,
        a_process(sys.executable, "-c", STALLED, str(path), stdin=PIPE, stdout=PIPE) as child,
    ):
        _, owner = (await child.stdout.readline()).decode().split()
        child.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(6):  # The lease, and the five seconds within which its holds lapse.
            while (await ledger.generation("gen_stalled"))["outcome"] != "lost":
                await asyncio.sleep(0.05)
        assert lines(path) == [("lapse", 1000, "unknown")]
        child.send_signal(signal.SIGCONT)
        out, _ = await child.communicate(b"\n")
        assert child.returncode == 0
        word, new_owner = out.decode().split()
        assert word == "awake"
        assert new_owner != owner, "what it holds from now on, it holds under a lease of its own"
    assert [kind for kind, _, _ in lines(path)] == ["lapse", "correction", "settlement"]
    assert sum(cost for _, cost, _ in lines(path)) == 400 + 300
    assert sound(path)


def lines(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT kind, cost_nanousd, cost_basis FROM postings ORDER BY seq").fetchall()
