"""Every class of tokens goes through the whole ledger, and a ledger from before it knew some of them stays whole."""

import hashlib
import json
import sqlite3
from contextlib import closing

from ledger.ceilings import DAY_MS, Ceiling
from ledger.corrections import open_corrector, repriced
from ledger.operations.lines import LineAudit, first_place
from ledger.prices import Price, Tier
from ledger.reports import SpendQuery
from ledger.sql import migrations
from ledger.sqlite.migrate import APPLICATION_ID
from ledger.upkeep import prune_ledger
from ledger.usage import Usage
from ledger.verify import verify_ledger
from tests.ledger.calls import BEGAN_MS, Clock, a_call, a_ledger, admit_and_settle

# No two classes cost the same, so that none can stand in for another.
PRICE = Price(version="v1", base=Tier(**{name: (rate + 3) * 10**9 for rate, name in enumerate(Tier.__struct_fields__)}))
ALL = Usage.of_counts(range(1, len(Usage.__struct_fields__) + 1))
TEXT = Usage(input_tokens=3, output_tokens=2)
DAY = Ceiling(scope="global", window="day", limit=10**9)
OLD_LINE = ("settlement", 400, "priced_usage", 0, 3, 1, 4, 2, 0, "v0", BEGAN_MS, None)


def audit(home):
    return verify_ledger(home.url, on_rule=lambda _: None)


def look_at_each(db):
    lines = LineAudit(first_place(db))
    assert list(lines.look(db)) == [2]
    return lines


async def test_a_line_of_every_class_is_priced_explained_audited_repriced_and_added_up(home):
    clock = Clock()
    async with (
        a_ledger(home, clock=clock, ceilings=[DAY]) as ledger,
        open_corrector(home.url, clock_ms=clock) as books,
    ):
        await ledger.record_prices({"p:m": PRICE})
        lead = await admit_and_settle(ledger, call := a_call(held=10**6), cost=PRICE.cost_nanousd(ALL), usage=ALL)
        await admit_and_settle(ledger, a_call(held=10**6), cost=PRICE.cost_nanousd(TEXT), usage=TEXT)
        story = await ledger.generation(call.facts.generation_id)
        charged = await books.find(lead.hold_id)
        spend = await ledger.spend(SpendQuery())
        assert audit(home).violations == ()
        assert (await ledger._readers.read(look_at_each)).broken == []
        dearer = Price(version="v2", base=Tier(input=PRICE.base.input, output_image=10**15))
        await books.correct([repriced(charged, lambda deployment, at_ms: dearer)])
        again = await books.find(lead.hold_id)
    (posting,) = story["attempts"][0]["postings"]
    charges = posting["arithmetic"]["charges"]
    assert {name: posting[name] for name in ALL.__struct_fields__} == dict(
        zip(ALL.__struct_fields__, ALL.counts, strict=True)
    )
    assert [charge["tokens"] for charge in charges] == list(ALL.counts)
    assert [charge["cost_nanousd"] for charge in charges] == [
        tokens * rate // 10**6 for tokens, rate in zip(ALL.counts, PRICE.base.rates, strict=True)
    ]
    assert charged.usage == again.usage == ALL
    assert (again.cost_nanousd, again.price_version) == (dearer.cost_nanousd(ALL), "v2")
    sums = (ALL.prompt_tokens + 3, ALL.completion_tokens + 2, ALL.cache_read_tokens, ALL.reasoning_tokens)
    total = spend["total"]
    assert sums == tuple(total[f"{of}_tokens"] for of in ("prompt", "completion", "cached", "reasoning"))
    assert ALL.prompt_tokens + ALL.completion_tokens == sum(ALL.counts)
    assert audit(home).violations == ()


def test_parts_that_caches_may_hold_are_never_more_of_what_is_fresh_than_there_is():
    found = Usage.of(10, 1, cached=5, audio=4, image=5)
    assert (found.input_audio_tokens, found.input_image_tokens, found.input_tokens) == (4, 1, 0)
    assert (found.cached_tokens, found.prompt_tokens) == (5, 10)


def an_old_ledger(path):
    """As it was left by the schema before: two settled calls, in digests over the columns that there were."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for number, script in migrations("sqlite"):
            if "cache_write_1h_tokens" in script:
                break
            db.executescript(script)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("INSERT INTO owners VALUES ('o', 'p', 0, ?, 0)", (BEGAN_MS + 1,))
        chain = bytes(32)
        for seq in (1, 2):
            db.execute(
                "INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, "
                "user_id, workflow, run, tags, cache, deployment) "
                "VALUES (?, ?, 'r', 0, '', '', '', '', '', '', '{}', 'miss', 'p:m')",
                (f"old_{seq}", BEGAN_MS),
            )
            db.execute(
                "INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, "
                "held_nanousd, state, taken_at_ms) VALUES (?, ?, 1, 'o', 'p:m', 'v0', 900, 'held', ?)",
                (f"old_{seq}.1", f"old_{seq}", BEGAN_MS),
            )
            db.execute(
                "UPDATE holds SET state = 'settled', closed_at_ms = ?, outcome = 'ok' WHERE generation_id = ?",
                (BEGAN_MS, f"old_{seq}"),
            )
            line = (seq, f"old_{seq}.1", *OLD_LINE)
            chain = hashlib.sha256(chain + json.dumps(line, separators=(",", ":")).encode()).digest()
            db.execute(f"INSERT INTO postings VALUES ({', '.join('?' * 15)})", (*line, chain))
            db.execute(
                "UPDATE generations SET outcome = 'ok', cost_basis = 'priced_usage', finished_at_ms = ? "
                "WHERE generation_id = ?",
                (BEGAN_MS, f"old_{seq}"),
            )


async def test_a_ledger_of_the_schema_before_is_whole_after_its_migration_and_goes_on(sqlite_home):
    an_old_ledger(sqlite_home.path)
    async with a_ledger(sqlite_home) as ledger:
        assert audit(sqlite_home).violations == ()
        story = await ledger.generation("old_1")
        for usage in (ALL, TEXT):
            await admit_and_settle(ledger, a_call(), usage=usage)
    findings = audit(sqlite_home)
    assert (findings.violations, findings.postings, findings.unpriced) == ((), 4, 4)
    counts = tuple(story["attempts"][0]["postings"][0][name] for name in Usage.__struct_fields__)
    assert counts == (3, 1, 4, 2, 0, 0, 0, 0, 0, 0, 0)
    later_ms = BEGAN_MS + 2 * DAY_MS
    async with a_ledger(sqlite_home, clock=Clock(later_ms)) as ledger:
        await admit_and_settle(ledger, a_call(now_ms=later_ms))
    pruned = prune_ledger(sqlite_home.url, BEGAN_MS + DAY_MS, now_ms=later_ms, on_step=lambda _: None)
    assert pruned.postings == 4
    assert audit(sqlite_home).violations == ()
