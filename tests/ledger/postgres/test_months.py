"""Calls are kept by month: what hangs off a call is in its month, and nothing is lost where there is none."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import asyncpg
import pytest

from ledger.ceilings import DAY_MS, Ceiling
from ledger.corrections import Correction, open_corrector
from ledger.ledger import open_ledger
from ledger.postgres.months import make_months
from ledger.sql import migrations
from service.ids import new_generation_id
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, a_settlement, admit_and_settle
from tests.ledger.homes import PostgresHome
from tests.ledger.test_schema import COLUMNS
from tests.ledger.test_verify import a_history, audit

WHOLES = ("generations", "holds", "hold_windows", "postings")
LIMIT = (Ceiling(scope="global", window="total", limit=10**9),)


def a_month_ms(year, month):
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)


# Later than whenever this runs, so that the months are not there yet.
MAY_MS, JUNE_MS, JULY_MS, AUGUST_MS = (a_month_ms(2041, month) for month in (5, 6, 7, 8))


@pytest.fixture
def home(postgres):
    """A database of the test's own: its months stay."""
    return PostgresHome(postgres, postgres.ledger_database())


def parts_of(home):
    """{part: how many rows each of WHOLES has there}, of those that have any."""
    parts = [row[0] for row in home.server.run(home.name, "SELECT part FROM parts")]
    union = " UNION ALL ".join(
        f"SELECT '{part}' AS part, {place} AS place, COUNT(*) AS n FROM {whole}_{part}"
        for part in parts
        for place, whole in enumerate(WHOLES)
    )
    rows = home.server.run(
        home.name, f"SELECT part, array_agg(n ORDER BY place) AS counts FROM ({union}) AS u GROUP BY part"
    )
    return {row["part"]: row["counts"] for row in rows if any(row["counts"])}


def a_call_at(at_ms):
    return a_call(now_ms=at_ms, generation_id=new_generation_id(at_ms))


async def calls_at(home, *moments):
    """One settled call at each of these moments, oldest first."""
    clock = Clock(moments[0])
    async with a_ledger(home, clock=clock, ceilings=LIMIT) as ledger:
        leads = []
        for clock.at_ms in moments:
            await ledger.lease.rejoin(ledger.lease.owner)
            await ledger._store.write(lambda db: make_months(db, now_ms=clock.at_ms))
            leads.append(await admit_and_settle(ledger, a_call_at(clock.at_ms)))
        return leads


@pytest.mark.parametrize("at_ms", [0, BEGAN_MS, MAY_MS, (1 << 48) - 2])
async def test_a_moments_first_id_is_the_services_own(postgres_home, at_ms):
    def first_id(ms):
        return postgres_home.server.run(postgres_home.name, f"SELECT first_id_of({ms})")[0][0]

    ids = {new_generation_id(at_ms) for _ in range(20)}
    assert all(first_id(at_ms) <= name < first_id(at_ms + 1) for name in ids)
    assert len(first_id(at_ms)) == len(ids.pop())


async def test_all_of_a_call_is_in_its_month_however_late_it_comes(home):
    first, *_ = await calls_at(home, MAY_MS + DAY_MS, JUNE_MS - 1, JUNE_MS, JUNE_MS + DAY_MS)
    assert parts_of(home) == {"2041_05": [2, 2, 2, 2], "2041_06": [2, 2, 2, 2]}
    async with open_corrector(home.url, clock_ms=Clock(JUNE_MS + 9 * DAY_MS)) as books:
        change = Correction(
            hold_id=first.hold_id, cost_nanousd=300, basis="estimated", reason="it was less", price_version="v1"
        )
        assert await books.correct([change]) == [5]
    assert parts_of(home)["2041_05"] == [2, 2, 2, 3]
    assert audit(home).violations == ()


async def test_a_month_that_nobody_made_loses_nothing_and_the_next_one_is_made(home):
    clock = Clock(MAY_MS)
    async with a_ledger(home, clock=clock, ceilings=LIMIT) as ledger:
        for clock.at_ms in (JULY_MS, AUGUST_MS):
            await ledger.lease.rejoin(ledger.lease.owner)
            await admit_and_settle(ledger, a_call_at(clock.at_ms))
            made = await ledger._store.write(lambda db: make_months(db, now_ms=JULY_MS))
            assert made == (clock.at_ms == JULY_MS), "August, once"
        assert parts_of(home) == {"other": [1, 1, 1, 1], "2041_08": [1, 1, 1, 1]}
    assert audit(home).violations == ()


async def test_whoever_reads_what_had_to_be_locked_makes_nobody_wait(home):
    async with a_ledger(home, clock=Clock(MAY_MS)) as ledger:
        reader = await asyncpg.connect(home.url)
        async with reader.transaction():
            await reader.execute("SELECT COUNT(*) FROM postings")
            assert await ledger._store.write(lambda db: make_months(db, now_ms=JULY_MS)) is None
        await reader.close()
        assert await ledger._store.write(lambda db: make_months(db, now_ms=JULY_MS)) == 2
        assert await ledger._store.write(lambda db: make_months(db, now_ms=JULY_MS)) == 0


ANOTHER_LINE = f"INSERT INTO postings ({COLUMNS}) SELECT {{}}, 0, 'free', 0, 'v1', 1, chain FROM postings WHERE seq = 1"
BREACHES = {
    "never vanishes": "TRUNCATE postings_2041_05",
    "not folded never vanishes": "DO $$ BEGIN PERFORM drop_part('2041_05'); END $$",
    "a posting follows the last one": ANOTHER_LINE.format("2, 'gone', 'lapse'"),
    "unique constraint": ANOTHER_LINE.format("3, hold_id, 'lapse'"),
}


async def test_months_have_the_rules_of_the_whole(home):
    await calls_at(home, MAY_MS + DAY_MS, JUNE_MS)
    for words, statement in BREACHES.items():
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=words):
            await asyncio.to_thread(home.server.run, home.name, statement)


async def test_a_role_that_may_write_lines_has_months_made(home):
    role = "keeper"
    home.server.run("postgres", f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN")
    try:
        home.server.run(home.name, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        home.server.run(home.name, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        theirs = PostgresHome(home.server, home.name)
        theirs.url = home.url.replace("postgres@", f"{role}@")
        await calls_at(theirs, MAY_MS + DAY_MS)
        assert parts_of(home) == {"2041_05": [1, 1, 1, 1]}
    finally:
        home.server.run(home.name, f"DROP OWNED BY {role}")
        home.server.run("postgres", f"DROP ROLE {role}")


def an_older_database(server):
    """A ledger of schema 3."""
    name = server.empty_database()
    server.run(name, "".join(script for number, script in migrations("postgres") if number < 4))
    server.run(name, "UPDATE ledger_turn SET version = 3")
    return PostgresHome(server, name)


async def moved(source, target):
    """What an older ledger has columns for, of another one's rows."""
    async with AsyncExitStack() as stack:
        here, there = await asyncpg.connect(source.url), await asyncpg.connect(target.url)
        stack.push_async_callback(here.close)
        stack.push_async_callback(there.close)
        await there.execute("SET session_replication_role = replica")
        columns = await there.fetch(
            "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_class AS c "
            "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'ledger_turn' "
            "GROUP BY c.relname"
        )
        for table, names in columns:
            rows = [tuple(row) for row in await here.fetch(f"SELECT {names} FROM {table}")]
            await there.execute(f"DELETE FROM {table}")
            if rows:
                places = ", ".join(f"${number + 1}" for number in range(len(rows[0])))
                await there.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)


@pytest.mark.parametrize("ids", ["ours", "of another make"])
async def test_an_older_ledger_becomes_the_first_part_as_it_is(home, postgres, ids):
    await (a_history(home) if ids == "ours" else calls_at(home, MAY_MS))
    older = an_older_database(postgres)
    await moved(home, older)
    files = postgres.run(older.name, "SELECT pg_relation_filepath('postings')")[0][0]
    before = postgres.run(older.name, "SELECT * FROM postings ORDER BY seq")
    call = a_call(now_ms=AUGUST_MS, generation_id=new_generation_id(AUGUST_MS))
    async with open_ledger(older.url, clock_ms=Clock(AUGUST_MS)) as ledger:
        lead = await ledger.admit(call)
        await ledger.settle(a_settlement(call, lead))
    assert postgres.run(older.name, "SELECT pg_relation_filepath('postings_before')")[0][0] == files, "not copied"
    assert postgres.run(older.name, "SELECT * FROM postings ORDER BY seq")[: len(before)] == before
    assert audit(older).violations == ()
    parts = {row[0] for row in postgres.run(older.name, "SELECT part FROM parts")}
    assert parts == {"before", "other", *(("2041_08", "2041_09") if ids == "ours" else ())}
    # What stands on a table that was there from the start stands on one that was made later.
    assert rules_of(older, "before") == rules_of(older, "other")


def rules_of(home, part):
    """The rules, keys and columns of a part's tables, but for its name."""
    rules = (
        "SELECT replace(pg_get_triggerdef(oid), '_{0}', '') FROM pg_trigger WHERE NOT tgisinternal "
        "AND tgrelid = '{1}_{0}'::regclass",
        "SELECT replace(pg_get_constraintdef(oid), '_{0}', '') FROM pg_constraint WHERE conrelid = '{1}_{0}'::regclass",
        "SELECT regexp_replace(indexdef, '^.* ON [^ ]*', '') FROM pg_indexes WHERE tablename = '{1}_{0}'",
        "SELECT attname || format_type(atttypid, atttypmod) || attnotnull FROM pg_attribute "
        "WHERE attrelid = '{1}_{0}'::regclass AND attnum > 0",
    )
    return {
        (whole, number, text)
        for whole in WHOLES
        for number, rule in enumerate(rules)
        for (text,) in home.server.run(home.name, rule.format(part, whole))
    }
