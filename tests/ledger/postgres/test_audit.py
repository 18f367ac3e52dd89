"""The audit finds on PostgreSQL what it finds in a file: the same damage, told by the same rules."""

import pytest

from tests.ledger.test_verify import DAMAGE, a_history, audit

# In words that only SQLite takes.
OTHERWISE = {
    "no longer than its call": (
        "UPDATE idempotency SET generation_id = (SELECT generation_id FROM postings JOIN holds USING (hold_id) LIMIT 1)"
    ),
}


async def test_a_sound_ledger_is_clean(postgres_home):
    await a_history(postgres_home)
    findings = audit(postgres_home)
    assert findings.violations == ()
    assert (findings.postings, findings.holds, findings.unpriced, findings.last_seq) == (3, 4, 0, 3)


@pytest.mark.parametrize("rule", DAMAGE)
async def test_it_names_the_rule_that_is_broken_and_its_rows(postgres_home, rule):
    await a_history(postgres_home)
    with postgres_home.database(ruled=False) as db:
        statements = OTHERWISE.get(rule, DAMAGE[rule]).split(";")
        assert sum(db.execute(statement).rowcount for statement in statements if statement.strip()) > 0
    broken = audit(postgres_home).violations
    assert any(rule.partition(",")[0] in violation.rule and violation.rows for violation in broken), broken
