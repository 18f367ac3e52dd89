"""The history that benchmarks are made on is one that a ledger could have come to by itself."""

import sqlite3
from contextlib import closing

from benchmarks.history import CEILINGS, make_history
from ledger.ceilings import DAY_MS
from ledger.ledger import open_ledger, open_reports
from ledger.reports import SpendQuery
from ledger.verify import verify_ledger
from tests.ledger.calls import a_call, admit_and_settle


async def test_a_history_is_sound_and_goes_on(tmp_path):
    url = f"sqlite:{tmp_path / 'ledger.db'}"
    span = await make_history(tmp_path / "ledger.db", 100, a_day=48)
    assert span.until_ms - span.began_ms == 101 * DAY_MS // 48
    findings = verify_ledger(url, on_rule=lambda _: None)
    assert (findings.postings, findings.holds, findings.unpriced, findings.violations) == (100, 100, 0, ())
    async with open_reports(url) as reports:
        assert (await reports.spend(SpendQuery(group_by=("user",))))["total"]["generations"] == 100
    async with open_ledger(url, clock_ms=lambda: span.until_ms) as ledger:
        await admit_and_settle(ledger, a_call(now_ms=span.until_ms))
        assert {ceiling.id for ceiling in ledger.ceilings_of("up0:model-0", {})} == {it.id for it in CEILINGS}
    assert verify_ledger(url, on_rule=lambda _: None).postings == 101
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        (windows,) = db.execute("SELECT COUNT(*) FROM ceiling_windows").fetchone()
    assert windows > len(CEILINGS)
