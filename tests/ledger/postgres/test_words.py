"""Every statement is one that the server takes, and the two engines' schemas are the same."""

import re
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from ledger.postgres.address import address_of
from ledger.postgres.connection import open_connection
from ledger.postgres.failures import ServerFailed
from ledger.postgres.words import own_words, translated
from ledger.sql import migrations, statements
from ledger.sqlite.proofs import REFERENCES

FILES = sorted(entry.name for entry in files("ledger.sql").joinpath("sqlite").iterdir() if entry.name.endswith(".sql"))
NEEDS = [name.removesuffix(".sql") for name in FILES if name != "schema.sql"]
# What makes SQLite's audit of many lines quick; on a server each line is looked at, and each rule's own statement. And
# what looks for what is changed next: on a server the change says so.
SQLITE_ALONE = {
    ("lines", "hashed_lines"), ("lines", "make_rates"), ("lines", "add_rate"), ("lines", "right_lines"),
    ("admit", "who_may_lead"), ("settle", "open_holds"), ("settle", "flights_led"),
}  # fmt: skip
# The same; and what adds up once a batch, in triggers that see one row each: a server's see all of a statement.
ALL_SQLITE_ALONE = {"postpone", "proofs", "weights"}
TABLES_OF_SQLITE = "'nowhere', 'postponed', 'postponing'"
# A server moves sums by name by rules of their own, a file by those that move sums by the hour.
RULES_OF_POSTGRES = {"a_correction_moves_what_it_corrects_by_name", "a_generation_told_again_is_moved_by_name"}
RULES_OF_SQLITE = {
    "a_line_is_postponed", "an_ended_generation_is_postponed", "what_was_postponed_is_added_up",
    "what_is_told_late_is_added_up_by_pair",
}  # fmt: skip
# Of months, which a file has none of: what looks after them, and what is done before a ledger is put in them.
POSTGRES_ALONE = {"fold", "months", "prepare"}
# The turn, and what puts calls in months. A month's tables are as the whole is, by the server's own rule.
OWN_TABLES = "'ledger_turn', 'newest_line', 'parts'"
SLICES = (
    "take_slice", "end_slice", "slices_of_owner", "spend_slice", "ceilings_stay", "owner_stays", "key_stays",
    "lead_new_flight", "wait_for_owner",
)  # fmt: skip


async def test_the_server_takes_every_statement(postgres_home):
    refused = {}
    async with open_connection(address_of(postgres_home.url)) as connection:
        for need in NEEDS:
            for name, text in statements("sqlite", need).items():
                if need in ALL_SQLITE_ALONE or (need, name) in SQLITE_ALONE:
                    continue
                prepare = f"PREPARE this AS {translated(text).text}; DEALLOCATE this"
                try:
                    await connection.run(lambda db, prepare=prepare: db.run_script(prepare))
                except ServerFailed as error:
                    refused[need, name] = str(error)
    assert not refused


def test_its_own_words_are_for_statements_that_there_are():
    known = {text for need in NEEDS for text in statements("sqlite", need).values()}
    assert known >= own_words().keys()
    files_here = [it for it in files("ledger.sql").joinpath("postgres").iterdir() if it.is_file()]
    alone = {it.name[:-4] for it in files_here} - {*NEEDS}
    assert alone == POSTGRES_ALONE
    needs = {it.name[:-4] for it in files_here} - alone
    own = [(need, name) for need in needs for name in statements("postgres", need)]
    assert {(need, name) for need, name in own if name not in statements("sqlite", need)} == {
        ("verify", REFERENCES),
        *(("slices", name) for name in SLICES),
    }


async def test_both_engines_have_the_same_tables_columns_and_rules(postgres_home):
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() "
        f"AND table_name NOT IN ({OWN_TABLES}) AND NOT EXISTS (SELECT 1 FROM pg_class WHERE relispartition "
        "AND oid = to_regclass(quote_ident(table_name)))"
    )
    rules = "SELECT DISTINCT trigger_name, '' FROM information_schema.triggers WHERE trigger_schema = current_schema()"
    async with open_connection(address_of(postgres_home.url)) as connection:
        here = await connection.run(lambda db: set(db.execute(columns).fetchall()))
        rules_here = await connection.run(lambda db: {name for name, _ in db.execute(rules)})
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript("".join(script for _, script in migrations("sqlite")))
        there = set(
            db.execute(
                "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
                "WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite_%' "
                f"AND m.name NOT IN ({TABLES_OF_SQLITE})"
            )
        )
        rules_there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    assert here == there
    assert (rules_here - rules_there, rules_there - rules_here) == (RULES_OF_POSTGRES, RULES_OF_SQLITE)


@pytest.mark.parametrize(
    ("statement", "text", "names"),
    [
        ("SELECT :a + :b * :a", "SELECT $1 + $2 * $1", ("a", "b")),
        ("VALUES (?, ?)", "VALUES ($1, $2)", (0, 1)),
        ("SELECT ':a', CAST(:b AS text), :c::bigint", "SELECT ':a', CAST($1 AS text), $2::bigint", ("b", "c")),
        ("SELECT 'it''s :a' WHERE x = :x_1", "SELECT 'it''s :a' WHERE x = $1", ("x_1",)),
    ],
)
def test_parameters_are_numbered(statement, text, names):
    found = translated(statement)
    assert (found.text, found.names) == (text, names)


def test_what_no_text_can_hold_is_shown_as_such():
    assert translated("SELECT :a").values({"a": "x\0y"}) == ["x\ufffdy"]


def test_a_statement_finds_or_writes():
    for need in NEEDS:
        for text in statements("sqlite", need).values():
            reads = bool(re.match("(SELECT|WITH)", text))
            assert translated(text).reads == reads, text
            assert translated(text).finds == (reads or "RETURNING" in text), text


# What not every engine takes that speaks the protocol, and the only places where it may be: the package tells them.
BEYOND = {
    r"pg_(try_)?advisory\w*": {"migrate.py"},
    r"PARTITION (OF|BY RANGE)|(AT|DE)TACH PARTITION|LOCK TABLE|SECURITY DEFINER": {"0004_months.sql"},
    r"TEMP(ORARY)? TABLE": {"fold.sql"},
    r"ISOLATION LEVEL (REPEATABLE READ|SERIALIZABLE)": {"snapshot.py", "verify.py", "copying.py"},
    r"SKIP LOCKED|LISTEN |NOTIFY |REFERENCING (OLD|NEW)|SET SESSION|WITH HOLD": set(),
}


@pytest.mark.parametrize("words", BEYOND)
def test_what_only_postgresql_itself_takes_is_where_its_package_says(words):
    texts = {
        path.name: "\n".join(
            line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("--")
        )
        for place in ("ledger.postgres", "ledger.sql")
        for path in Path(str(files(place))).rglob("*")
        if path.suffix in {".py", ".sql"} and "sqlite" not in path.parts and path.name != "__init__.py"
    }
    assert len(texts) > 30
    assert {name for name, text in texts.items() if re.search(words, text, re.IGNORECASE)} == BEYOND[words]
