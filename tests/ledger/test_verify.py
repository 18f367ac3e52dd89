"""The audit finds planted damage of each kind, and nothing where there is none."""

import sqlite3
from contextlib import closing

import pytest

from ledger.ceilings import Ceiling
from ledger.verify import Unreadable, verify_ledger
from tests.ledger.calls import BEGAN_MS, a_call, a_ledger, admit_and_settle

DAMAGE = {
    "invariant 1": "UPDATE ceiling_windows SET limit_nanousd = 1200, excused_nanousd = 1200",
    "held is the sum": "UPDATE ceiling_windows SET held_nanousd = held_nanousd + 1",
    "spent is the sum": "UPDATE ceiling_windows SET spent_nanousd = spent_nanousd + 1",
    "has the closing line": "UPDATE holds SET state = 'released' WHERE state = 'settled'",
    "names a hold": "UPDATE postings SET hold_id = 'gone'",
    "numbered without a gap": "UPDATE postings SET seq = 7",
    "in every window": "DELETE FROM hold_windows",
    "responses are counted": "UPDATE response_totals SET entries = 5",
    "references lead somewhere": "UPDATE holds SET generation_id = 'gone'",
}


async def a_history(folder):
    limit = Ceiling(scope="global", window="total", limit_nanousd=5000)
    async with a_ledger(folder, ceilings=[limit]) as ledger:
        await admit_and_settle(ledger, a_call(key="k"))
        await ledger.admit(a_call())


def audit(folder):
    return verify_ledger(f"sqlite:{folder / 'farthing.db'}", on_rule=lambda _: None)


async def test_a_sound_ledger_is_clean(tmp_path):
    await a_history(tmp_path)
    findings = audit(tmp_path)
    assert findings.violations == ()
    assert (findings.postings, findings.holds) == (1, 2)


@pytest.mark.parametrize("rule", DAMAGE)
async def test_it_names_the_rule_that_is_broken_and_its_rows(tmp_path, rule):
    await a_history(tmp_path)
    with closing(sqlite3.connect(tmp_path / "farthing.db", isolation_level=None)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        assert db.execute(DAMAGE[rule]).rowcount > 0
    broken = audit(tmp_path).violations
    assert any(rule in violation.rule and violation.rows for violation in broken), broken


async def test_a_missing_a_foreign_and_a_torn_file_are_unreadable(tmp_path):
    with pytest.raises(Unreadable, match="there is no ledger"):
        audit(tmp_path)
    await a_history(tmp_path)
    path = tmp_path / "farthing.db"
    path.write_bytes(b"rubbish" + path.read_bytes()[7:])
    with pytest.raises(Unreadable):
        audit(tmp_path)


async def test_it_audits_while_a_service_writes(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        await admit_and_settle(ledger, a_call(now_ms=BEGAN_MS))
        assert audit(tmp_path).violations == ()
