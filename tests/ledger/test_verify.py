"""The audit finds planted damage of each kind, and nothing where there is none."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.ceilings import DAY_MS, HOUR_MS, Ceiling
from ledger.corrections import Correction, open_corrector
from ledger.operations.lines import CHAIN, _cost_nanousd
from ledger.operations.lines import PRICE as PRICED
from ledger.prices import Price, Tier
from ledger.sqlite import moment
from ledger.upkeep import prune_ledger
from ledger.usage import Usage
from ledger.verify import NoSuchLine, Unreadable, verify_ledger
from tests.ledger.calls import (
    BEGAN_MS,
    Clock,
    a_call,
    a_ledger,
    a_settlement,
    admit_and_settle,
    an_idempotency_key,
)

PRICE = Price(version="v1", base=Tier(input=100_000_000, output=50_000_000))
SWAP = """
UPDATE postings SET seq = CASE seq WHEN 1 THEN -2 WHEN 2 THEN -1 END WHERE seq IN (1, 2);
UPDATE postings SET seq = -seq WHERE seq < 0;
"""
INSERTED = """
INSERT INTO holds SELECT 'forged', generation_id, 9, owner_id, deployment, price_version, 0, 'settled', taken_at_ms, 1,
    'ok', NULL, NULL, NULL, NULL, 0, NULL, 0 FROM holds LIMIT 1;
INSERT INTO postings SELECT 4, 'forged', kind, 0, 'free', 0, 0, 0, 0, 0, 0, price_version, posted_at_ms, reason, chain,
  NULL, NULL, NULL, NULL, NULL, NULL, 0 FROM postings WHERE seq = 3;
"""
DAMAGE = {
    "invariant 1": "UPDATE ceiling_windows SET limit_amount = 1200, excused_amount = 1200",
    "latency by the day": "UPDATE latency_days SET count = count + 1",
    "latency by the day, an hour more": "UPDATE latency_buckets SET sum_us = sum_us + 1",
    "latency by the day, a day less": "DELETE FROM latency_days",
    "held is the sum": "UPDATE ceiling_windows SET held_amount = held_amount + 1",
    "held is the sum of open": "UPDATE holds SET held_nanousd = 1 WHERE state = 'held'",
    "spent is the sum": "UPDATE ceiling_windows SET spent_amount = spent_amount + 1",
    "what a ceiling has folded is what its scope has": (
        "UPDATE ceiling_windows SET spent_amount = spent_amount + 1, folded_amount = folded_amount + 1"
    ),
    "has the closing line": "UPDATE holds SET state = 'released' WHERE state = 'settled'",
    "names a hold": "UPDATE postings SET hold_id = 'gone' WHERE seq = 1",
    "numbered without a gap": "UPDATE postings SET seq = 7 WHERE seq = 1",
    "in every window": "DELETE FROM hold_windows",
    "responses are counted": "UPDATE response_totals SET entries = 5",
    "no longer than its call": (
        "UPDATE idempotency SET generation_id = (SELECT generation_id FROM postings JOIN holds USING (hold_id) LIMIT 1)"
    ),
    "references lead somewhere": "UPDATE holds SET generation_id = 'gone'",
    "references lead somewhere, a delivery's": (
        "INSERT INTO deliveries (event_seq, target, state, tries, next_at_ms) VALUES (9, 'hook', 'pending', 0, 1)"
    ),
    "a whole chain": "UPDATE postings SET posted_at_ms = posted_at_ms + 1 WHERE seq = 2",
    "a whole chain, two lines swapped": SWAP,
    "a whole chain, a line deleted": "DELETE FROM postings WHERE seq = 2",
    "a whole chain, a line inserted": INSERTED,
    "what its tokens cost": "UPDATE postings SET output_tokens = output_tokens + 1 WHERE seq = 3",
    "what its tokens cost, no answer's counts": "UPDATE postings SET output_tokens = -1 WHERE seq = 3",
    "what its tokens cost, a price that is none": "UPDATE prices SET price = '{}'",
    "what its tokens cost, a class that it had none of": "UPDATE postings SET output_image_tokens = 1 WHERE seq = 3",
    "a whole chain, a class that it had none of": "UPDATE postings SET output_image_tokens = 0 WHERE seq = 3",
    "spend by user, workflow and run": "UPDATE spend_hours_by_name SET attempts = 0 WHERE dimension = 'workflow'",
    "spend by the day of users, workflows and runs": "UPDATE spend_days_by_name SET attempts = 0",
    "spend by the hour": "UPDATE spend_hours SET cost_nanousd = cost_nanousd + 1",
    "what was looked at is still there": "UPDATE audit SET seq = 4",
    "whoever crossed a line was told of it": "UPDATE ceiling_windows SET warn_amount = spent_amount",
}


@pytest.fixture(autouse=True, scope="module")
def several_connections():
    """As a file is looked at that is larger than those of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moment, "CONNECTION_BYTES", 1)
        yield


async def a_history(home):
    limit = Ceiling(scope="global", window="total", limit=5000)
    async with a_ledger(home, ceilings=[limit]) as ledger:
        await ledger.record_prices({"p:m": PRICE})
        await admit_and_settle(ledger, a_call(key="k"))
        await admit_and_settle(ledger, a_call())
        await admit_and_settle(ledger, a_call(), basis="estimated")
        await ledger.admit(a_call(idempotency=an_idempotency_key()))


def damage(home, script):
    """As somebody would who has the ledger: no trigger and no foreign key stands in the way."""
    with home.database(ruled=False) as db:
        assert sum(db.execute(statement).rowcount for statement in script.split(";") if statement.strip()) > 0


def audit(home, *, since=None):
    return verify_ledger(home.url, on_rule=lambda _: None, since=since)


async def test_a_sound_ledger_is_clean(home):
    await a_history(home)
    findings = audit(home)
    assert findings.violations == ()
    assert (findings.postings, findings.holds, findings.unpriced, findings.last_seq) == (3, 4, 0, 3)
    assert len(bytes.fromhex(findings.last_digest)) == 32


@pytest.mark.parametrize("rule", DAMAGE)
async def test_it_names_the_rule_that_is_broken_and_its_rows(home, rule):
    await a_history(home)
    damage(home, DAMAGE[rule])
    broken = audit(home).violations
    assert any(rule.partition(",")[0] in violation.rule and violation.rows for violation in broken), broken


async def over_the_limit(home):
    """300 above its limit: 250 by an overrun, 50 by a correction upwards that one downwards follows."""
    clock, ceiling = Clock(), Ceiling(scope="global", window="total", limit=2000)
    async with (
        a_ledger(home, clock=clock, ceilings=[ceiling]) as ledger,
        open_corrector(home.url, clock_ms=clock) as books,
    ):
        first = await admit_and_settle(ledger, a_call(), cost=1000)
        second = await ledger.admit(request := a_call())
        await ledger.settle(a_settlement(request, second, cost=1250))
        for cost in (1070, 1050):
            change = Correction(
                hold_id=first.hold_id, cost_nanousd=cost, basis="estimated", reason="for once", price_version="v1"
            )
            await books.correct([change])
        clock.at_ms += DAY_MS
        await ledger.lease.rejoin(ledger.lease.owner)
        await admit_and_settle(ledger, a_call(held=0, now_ms=clock.at_ms), cost=0, basis="free")


@pytest.mark.parametrize("pruned", [False, True])
async def test_a_window_above_its_limit_is_excused_by_what_was_not_asked_for_and_no_more(home, pruned):
    await over_the_limit(home)
    if pruned:
        now_ms = BEGAN_MS + 40 * DAY_MS
        prune_ledger(home.url, BEGAN_MS + HOUR_MS * 2, now_ms=now_ms, on_step=str)
        assert audit(home).postings == 1
    assert audit(home).violations == ()
    script = "UPDATE ceiling_windows SET held_amount = held_amount + {}"
    damage(home, script.format(20))
    rules = [violation.rule for violation in audit(home).violations]
    assert not any("invariant 1" in rule for rule in rules), "the correction upwards had been 70 for a while"
    damage(home, script.format(1))
    broken = {violation.rule: violation.rows for violation in audit(home).violations}
    ((row,),) = [rows for rule, rows in broken.items() if "invariant 1" in rule]
    assert row["held_amount"] + row["spent_amount"] == 2321


async def test_the_very_line_that_was_changed_is_named(home):
    await a_history(home)
    damage(home, "UPDATE postings SET cost_nanousd = cost_nanousd + 1 WHERE seq = 2")
    rows = {violation.rule: violation.rows for violation in audit(home).violations}
    assert [row["seq"] for row in rows[CHAIN]] == [2]
    assert [(row["seq"], row["cost_nanousd"], row["expected_nanousd"]) for row in rows[PRICED]] == [(2, 401, 400)]


async def test_an_audit_that_begins_at_a_line_trusts_it_and_those_before(home):
    await a_history(home)
    damage(home, "UPDATE postings SET posted_at_ms = posted_at_ms + 1 WHERE seq = 2")
    assert [violation.rule for violation in audit(home, since=1).violations] == [CHAIN]
    findings = audit(home, since=2)
    assert (findings.violations, findings.postings) == ((), 1)
    assert audit(home, since=3).postings == 0
    with pytest.raises(NoSuchLine, match="no line 4 to begin after: the newest is 3") as refused:
        audit(home, since=4)
    assert (refused.value.seq, refused.value.first_seq, refused.value.last_seq) == (4, 0, 3)
    with pytest.raises(NoSuchLine, match="lines were lost"):
        audit(home, since=1 << 80)
    damage(home, "DELETE FROM postings WHERE seq = 2")
    with pytest.raises(NoSuchLine, match="no line 2 to begin after: it is missing from those up to 3"):
        audit(home, since=2)


async def test_a_line_whose_price_is_not_on_record_is_counted(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call())
    findings = audit(home)
    assert (findings.violations, findings.unpriced) == ((), 1)


async def test_a_flipped_bit_in_a_page_is_found(sqlite_home):
    await a_history(sqlite_home)
    path = sqlite_home.path
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'postings'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size] ^= 0x40
    path.write_bytes(content)
    assert any(violation.rule == "the file is sound" for violation in audit(sqlite_home).violations)


async def test_a_file_cut_short_is_unreadable(sqlite_home):
    await a_history(sqlite_home)
    path = sqlite_home.path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Unreadable, match=r"cannot be read: .*: put a backup in its place"):
        audit(sqlite_home)


RATES = st.integers(0, 10**11)
TIERS = st.builds(
    Tier, **{name: st.none() | RATES for name in Tier.__struct_fields__} | dict.fromkeys(("input", "output"), RATES)
)
COUNTS = st.tuples(*[st.integers(0, 2_000_000)] * len(Usage.__struct_fields__))


@settings(max_examples=60)
@given(TIERS, st.none() | st.tuples(st.integers(0, 100), TIERS), RATES, COUNTS)
def test_the_audit_and_the_price_book_come_to_the_same(base, dearer, each, counts):
    # Thresholds among the prompt, and among what only the prompt and the answer are together.
    tiers = () if dearer is None else ((sum(counts) * dearer[0] // 100, dearer[1]),)
    price = Price(version="v", base=base, tiers=tiers, per_request_nanousd=each)
    assert _cost_nanousd(price, counts) == price.cost_nanousd(Usage.of_counts(counts))


async def test_a_missing_a_foreign_and_a_torn_file_are_unreadable(sqlite_home):
    with pytest.raises(Unreadable, match="there is no ledger"):
        audit(sqlite_home)
    await a_history(sqlite_home)
    path = sqlite_home.path
    path.write_bytes(b"rubbish" + path.read_bytes()[7:])
    with pytest.raises(Unreadable):
        audit(sqlite_home)


async def test_it_audits_while_a_service_writes(home):
    async with a_ledger(home) as ledger:
        await admit_and_settle(ledger, a_call(now_ms=BEGAN_MS))
        assert audit(home).violations == ()


async def test_a_ceiling_that_was_out_of_force_for_a_while_is_no_breach(home):
    clock = Clock()
    ceiling = Ceiling(scope="global", window="minute", limit=10_000)
    async with a_ledger(home, clock=clock, ceilings=[ceiling]) as ledger:
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        await ledger.configure_ceilings(())
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
        clock.at_ms += 61_000
        await ledger.configure_ceilings((ceiling,))
        await admit_and_settle(ledger, a_call(now_ms=clock.at_ms))
    assert audit(home).violations == ()
