"""What the server has to be, in words that say what to do, and what becomes of one that fails."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from ledger.errors import BackupFailed, LedgerUnavailable, NotALedger
from ledger.ledger import check_ledger, open_ledger, open_reports, wall_ms
from ledger.pepper import open_pepper
from ledger.postgres.address import address_of
from ledger.postgres.ledger import check_address
from ledger.postgres.store import BEGIN
from ledger.reports import SpendQuery
from ledger.upkeep import backup_ledger
from ledger.values import Lead
from tests.ledger.calls import Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.homes import PostgresHome


@pytest.fixture
def empty_home(postgres):
    """A database of the test's own, without anything in it."""
    return PostgresHome(postgres, postgres.empty_database())


def as_role(home, name):
    """The same database for another role, which may do no more than everybody."""
    home.server.run("postgres", f"DROP ROLE IF EXISTS {name}")
    home.server.run("postgres", f"CREATE ROLE {name} LOGIN")
    return home.url.replace("postgres@", f"{name}:hunter2@")


async def refused(url):
    """The words that opening it is refused with. Checking it beforehand is refused, too."""
    with pytest.raises(NotALedger):
        await asyncio.to_thread(check_ledger, url)
    with pytest.raises(NotALedger) as refusal:
        async with open_ledger(url):
            raise AssertionError("it opened")
    assert "hunter2" not in str(refusal.value)
    return str(refusal.value)


async def test_a_database_of_something_else_is_left_alone(empty_home):
    empty_home.server.run(empty_home.name, "CREATE TABLE theirs (x bigint)")
    assert "something else" in await refused(empty_home.url)
    tables = empty_home.server.run(empty_home.name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert [row[0] for row in tables] == ["theirs"]


async def test_a_newer_ledger_is_not_touched(empty_home):
    async with a_ledger(empty_home):
        pass
    empty_home.server.run(empty_home.name, "UPDATE ledger_turn SET version = 99")
    assert "newer farthing" in await refused(empty_home.url)


async def test_a_role_that_may_not_write_is_told_so(postgres_home):
    assert "this role may not write" in await refused(as_role(postgres_home, "onlooker"))


async def test_a_role_that_writes_nothing_by_default_is_told_so(postgres_home):
    url = as_role(postgres_home, "careful")
    postgres_home.server.run("postgres", "ALTER ROLE careful SET default_transaction_read_only = on")
    assert "takes no writes from this role" in await refused(url)


async def test_a_database_that_is_not_there_is_told_by_name(postgres_home):
    assert "no such database" in await refused(postgres_home.server.url("nowhere").replace("@", ":hunter2@"))


def test_a_server_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotALedger, match="cannot be reached"):
        check_ledger(f"postgresql://me:hunter2@/x?host={tmp_path}")


@pytest.mark.parametrize(("off_s", "words"), [(9, "9 s ahead of"), (-9, "9 s behind"), (1, None)])
async def test_a_clock_that_leases_cannot_go_by_is_told(postgres_home, off_s, words):
    check = partial(check_address, address_of(postgres_home.url), now_ms=wall_ms() + off_s * 1000)
    if words is None:
        await asyncio.to_thread(check)
    else:
        with pytest.raises(NotALedger, match=words):
            await asyncio.to_thread(check)


def test_an_address_shows_no_secret():
    address = address_of("postgresql://me:hunter2@db.example:6432/books?sslmode=require&password=hunter2")
    assert repr(address) == "postgresql://db.example:6432/books"
    with pytest.raises(NotALedger) as refused:
        address_of("postgresql://me:hunter2@db:port/x")
    assert "hunter2" not in str(refused.value)


def test_what_a_file_has_beside_it_a_server_does_not(tmp_path):
    with pytest.raises(NotALedger, match="set \\$FARTHING_PEPPER"):
        open_pepper("postgresql://db/x", None)
    with pytest.raises(BackupFailed, match="pg_dump"):
        backup_ledger("postgresql://db/x", tmp_path / "copy", on_step=str)


async def test_reading_takes_no_lease_and_makes_nothing(empty_home):
    with pytest.raises(NotALedger, match="no ledger"):
        async with open_reports(empty_home.url):
            raise AssertionError("it opened")
    assert empty_home.server.run(empty_home.name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


async def test_replicas_that_start_at_once_make_one_ledger(empty_home):
    async with AsyncExitStack() as stack:
        opening = (stack.enter_async_context(a_ledger(empty_home)) for _ in range(3))
        ledgers = await asyncio.gather(*opening)
        for ledger in ledgers:
            await admit_and_settle(ledger, a_call())
        assert len(await ledgers[0].latest_calls()) == 3


async def test_a_connection_that_keeps_no_statements_serves_too(postgres_home):
    """As behind a pooler that lends it by transactions."""
    url = f"{postgres_home.url}&statement_cache_size=0"
    assert not address_of(url).keeps_statements
    async with open_ledger(url, clock_ms=Clock()) as ledger:
        await admit_and_settle(ledger, a_call(key="k"))
        assert (await ledger.figures()).drift == 0


async def test_a_replica_that_falls_silent_in_its_turn_loses_it(postgres_home):
    async with a_ledger(postgres_home) as ledger:
        lead = await ledger.admit(call := a_call())
        silent = await asyncpg.connect(postgres_home.url)
        await silent.execute(BEGIN)
        await ledger.settle(a_settlement(call, lead))
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await silent.execute("COMMIT")
        silent.terminate()


class Link:
    """A way to the server that may fall silent: nothing goes through any more, and nobody hangs up."""

    def __init__(self, folder, server):
        self._folder = folder
        self._far = f"{server.folder}/.s.PGSQL.5432"
        self.passes = asyncio.Event()

    async def __aenter__(self):
        self.passes.set()
        self._server = await asyncio.start_unix_server(self._meet, self._folder / ".s.PGSQL.5432")
        return self

    async def __aexit__(self, *_):
        self.passes.set()
        self._server.close()

    async def _meet(self, near, to_near):
        far, to_far = await asyncio.open_unix_connection(self._far)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._carry(near, to_far))
            both.create_task(self._carry(far, to_near))

    async def _carry(self, source, sink):
        while data := await source.read(65536):
            await self.passes.wait()
            sink.write(data)
        sink.close()


async def test_a_link_that_falls_silent_is_given_up_and_what_was_asked_may_be_asked_again(postgres_home, monkeypatch):
    monkeypatch.setattr("ledger.postgres.connection.SILENCE_S", 0.5)
    monkeypatch.setattr("ledger.postgres.store.TURN_S", 0.5)
    with tempfile.TemporaryDirectory() as folder:
        async with Link(Path(folder), postgres_home.server) as link:
            url = f"postgresql://postgres@/{postgres_home.name}?host={folder}"
            async with open_ledger(url, clock_ms=Clock()) as ledger:
                first = await ledger.admit(call := a_call())
                link.passes.clear()
                with pytest.raises(LedgerUnavailable):
                    await ledger.settle(a_settlement(call, first))
                with pytest.raises(LedgerUnavailable):
                    await ledger.figures()
                assert not ledger.is_ready
                link.passes.set()
                await until_it_answers(lambda: ledger.settle(a_settlement(call, first)))
                await until_it_answers(ledger.figures)
    async with a_ledger(postgres_home) as ledger:
        assert (await ledger.spend(SpendQuery()))["total"]["cost_nanousd"] == 400


async def until_it_answers(ask):
    async with asyncio.timeout(30):
        while True:
            try:
                return await ask()
            except LedgerUnavailable:
                await asyncio.sleep(0.05)


async def test_lost_connections_are_made_again(postgres_home):
    async with a_ledger(postgres_home) as ledger:
        await admit_and_settle(ledger, a_call())
        # Of this test's database: others run on the same server.
        ended = f"SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{postgres_home.name}'"
        assert postgres_home.server.run("postgres", ended)[0][0] > 0
        assert isinstance(await until_it_answers(lambda: ledger.admit(a_call())), Lead)
        assert (await until_it_answers(ledger.figures)).drift == 0
