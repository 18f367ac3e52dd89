"""Replicas of two versions side by side: the older one is right beside the newer's schema, or it is refused."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from ledger.errors import LedgerUnavailable, NotALedger
from ledger.ledger import check_ledger
from ledger.postgres.address import address_of
from ledger.postgres.beside import BesideWriter
from ledger.postgres.connection import open_blocking_connection
from ledger.postgres.ledger import open_postgres_ledger
from ledger.postgres.migrate import _SCHEMA_LOCK, known_here, migrate
from ledger.postgres.patience import LOCK_MS
from ledger.reports import SpendQuery
from ledger.sql import migrations, oldest_beside
from ledger.store.writer import run_writer
from ledger.upkeep import prune_ledger
from ledger.values import CacheBounds
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, admit_and_settle
from tests.ledger.homes import PostgresHome

HERE = known_here()
EPOCH = len(HERE)
COMPATIBLE = (EPOCH + 1, f"-- beside: {EPOCH}\nALTER TABLE generations ADD COLUMN later bigint NOT NULL DEFAULT 0")
INCOMPATIBLE = (EPOCH + 1, "ALTER TABLE generations ADD COLUMN later bigint")
# Of an epoch that only those who know the one before it may run beside.
NEXT = (EPOCH + 2, f"-- beside: {EPOCH + 1}\nALTER TABLE generations ADD COLUMN last bigint NOT NULL DEFAULT 0")


@pytest.fixture
def home(postgres):
    """A ledger's database of the test's own."""
    return PostgresHome(postgres, postgres.ledger_database())


@asynccontextmanager
async def a_newer_replica(home, *later):
    """A replica whose code knows these migrations, too."""
    async with open_postgres_ledger(
        address_of(home.url), clock_ms=Clock(), bounds=CacheBounds(), known=(*HERE, *later)
    ) as ledger:
        yield ledger


def turn(home):
    (row,) = home.server.run(home.name, "SELECT version, behind FROM ledger_turn")
    return tuple(row)


async def test_an_older_replica_goes_on_beside_one_that_it_may_run_beside(home):
    async with a_ledger(home) as old, a_newer_replica(home, COMPATIBLE) as new:
        assert turn(home) == (EPOCH + 1, 1)
        for ledger in (old, new, old, new):
            await admit_and_settle(ledger, a_call())
        async with a_ledger(home) as started_again:
            await admit_and_settle(started_again, a_call())
            assert (await started_again.spend(SpendQuery()))["total"]["generations"] == 5
    check_ledger(home.url)
    assert verify_ledger(home.url, on_rule=lambda _: None).violations == ()
    with pytest.raises(NotALedger, match="do it with a newer farthing"):
        prune_ledger(home.url, 0, now_ms=BEGAN_MS, on_step=lambda _: None)


async def test_an_older_replica_that_the_schema_left_behind_takes_no_more_calls_and_says_why(home, caplog):
    async with a_ledger(home) as old:
        await admit_and_settle(old, a_call())
        async with a_newer_replica(home, INCOMPATIBLE) as new:
            assert turn(home) == (EPOCH + 1, 0)
            assert old.is_ready
            with pytest.raises(LedgerUnavailable) as refused:
                await old.admit(a_call())
            assert not refused.value.unknown
            with pytest.raises(LedgerUnavailable):
                await old.spend(SpendQuery())
            async with asyncio.timeout(30):
                while "opening it again" not in caplog.text:
                    await asyncio.sleep(0)
            assert not old.is_ready
            words = f"the ledger is at schema {EPOCH + 1}; this farthing knows {EPOCH}: install a newer farthing"
            assert words in caplog.text
            await admit_and_settle(new, a_call())
            with pytest.raises(NotALedger, match=words):
                async with a_ledger(home):
                    raise AssertionError("it opened")
        async with a_newer_replica(home, INCOMPATIBLE, NEXT) as newest:
            assert turn(home) == (EPOCH + 2, 1)
            await admit_and_settle(newest, a_call())
        with pytest.raises(NotALedger, match=f"no older than {EPOCH + 1} may run on it"):
            await asyncio.to_thread(check_ledger, home.url)
    rows = home.server.run(home.name, "SELECT COUNT(*) FROM generations")
    assert rows[0][0] == 3


async def test_a_batch_that_waits_for_its_turn_while_the_schema_moves_on_is_not_written(home):
    migrating = await asyncpg.connect(home.url)
    async with a_ledger(home) as old:
        await migrating.execute("BEGIN; UPDATE ledger_turn SET version = version + 1")
        admitted = asyncio.create_task(old.admit(a_call()))
        while not waiting(home, "transactionid"):
            await asyncio.sleep(0.01)
            assert not admitted.done()
        await migrating.execute("COMMIT")
        with pytest.raises(LedgerUnavailable):
            await admitted
    await migrating.close()
    assert home.server.run(home.name, "SELECT COUNT(*) FROM generations")[0][0] == 0


async def test_a_migration_waits_for_a_batch_beside_the_turn_and_the_next_one_is_not_written(home):
    beside, tells = BesideWriter(address_of(home.url)), "SELECT COUNT(*) FROM pg_locks WHERE NOT granted"
    with open_blocking_connection(address_of(home.url)) as connection, ThreadPoolExecutor(1) as thread:
        migrating = []

        def batch(db):
            migrating.append(thread.submit(connection.run_blocking, partial(migrate, known=(*HERE, INCOMPATIBLE))))
            while not migrating[0].done() and db.execute(f"{tells} AND locktype = 'advisory'").fetchone() == (0,):
                pass
            return migrating[0].done()

        async with a_ledger(home), run_writer(beside):
            assert await beside.write(batch) is False, "what it writes, it writes on the schema that it began on"
            await asyncio.wrap_future(migrating[0])
            assert turn(home) == (EPOCH + 1, 0)
            with pytest.raises(LedgerUnavailable):
                await beside.write(batch)
    assert len(migrating) == 1


async def test_a_batch_beside_the_turn_gives_way_to_a_migration(home):
    beside, migrating = BesideWriter(address_of(home.url)), await asyncpg.connect(home.url)
    async with a_ledger(home), run_writer(beside):
        await migrating.execute(f"BEGIN; SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
        assert await beside.write(lambda db: True) is None
        assert beside.is_ready
        await migrating.execute("COMMIT")
        assert await beside.write(lambda db: db.execute("SELECT version FROM ledger_turn").fetchone()) == (EPOCH,)
    await migrating.close()


def waiting(home, what):
    """How many wait for locks of this kind."""
    (row,) = home.server.run(
        home.name,
        "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        f"WHERE datname = current_database() AND NOT granted AND '{what}' IN (mode, locktype)",
    )
    return row[0]


async def test_a_migration_that_would_wait_for_a_reader_gives_way_and_calls_go_on(home):
    assert LOCK_MS < 1000
    reader = await asyncpg.connect(home.url)
    await reader.execute("BEGIN; LOCK TABLE generations IN ACCESS SHARE MODE")
    async with a_ledger(home) as old:
        migrating = asyncio.create_task(open_and_close(home))
        calls = waited = 0
        while calls < 5 or not waited:
            await admit_and_settle(old, a_call())
            calls += 1
            # The migration is at it, and it waits for the reader.
            waited += waiting(home, "AccessExclusiveLock")
            assert not migrating.done()
        assert turn(home) == (EPOCH, 0)
        await reader.execute("COMMIT")
        await migrating
        assert turn(home) == (EPOCH + 1, 1)
        await admit_and_settle(old, a_call())
    await reader.close()


async def open_and_close(home):
    async with a_newer_replica(home, COMPATIBLE) as new:
        await admit_and_settle(new, a_call())


async def test_a_migration_that_has_to_give_way_for_too_long_is_told(home, monkeypatch):
    monkeypatch.setattr("ledger.postgres.patience.GIVE_UP_S", 0.0)
    monkeypatch.setattr("ledger.store.writer.START_TRIES", 0)
    reader = await asyncpg.connect(home.url)
    await reader.execute("BEGIN; LOCK TABLE generations IN ACCESS SHARE MODE")
    with pytest.raises(NotALedger, match=f"migration {EPOCH + 1} waits for whoever uses its tables"):
        await open_and_close(home)
    await reader.close()


async def test_of_replicas_that_start_at_once_one_applies_each_migration(home):
    async def start(*later):
        async with a_newer_replica(home, *later) as ledger:
            await admit_and_settle(ledger, a_call())

    compatible = (NEXT[0], NEXT[1].replace(str(EPOCH + 1), str(EPOCH)))
    await asyncio.gather(*(start(COMPATIBLE, compatible) for _ in range(3)), start(COMPATIBLE))
    assert turn(home) == (EPOCH + 2, 2)


async def test_a_ledger_from_before_there_were_epochs_gets_them(postgres):
    home = PostgresHome(postgres, postgres.empty_database())
    (first,) = (number for number, script in HERE if "ADD COLUMN behind" in script)
    before = "".join(script for _, script in HERE[: first - 1])
    postgres.run(home.name, f"{before}; UPDATE ledger_turn SET version = {first - 1}")
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call())
    assert turn(home)[0] == EPOCH


@pytest.mark.parametrize(
    ("script", "oldest"),
    [
        ("CREATE TABLE x ()", 7),
        ("-- Why.\n-- beside: 5\nCREATE TABLE x ()", 5),
        ("-- It was not -- beside: 5\n", 7),
        ("-- beside: 7\n", 7),
    ],
)
def test_a_migration_says_who_may_run_beside_it(script, oldest):
    assert oldest_beside(7, script) == oldest
    with pytest.raises(AssertionError, match="cannot admit epoch 8"):
        oldest_beside(7, "-- beside: 8")


def test_each_migration_admits_an_epoch_that_there_is():
    assert all(oldest_beside(number, script) >= 1 for number, script in migrations("postgres"))
