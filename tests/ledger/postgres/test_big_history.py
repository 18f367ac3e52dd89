"""Reports over a long history read sums that are kept by the hour, and no month's lines."""

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.ledger import open_reports
from ledger.operations.spend_report import spend_report
from ledger.postgres.address import address_of
from ledger.postgres.connection import open_connection
from ledger.postgres.snapshot import SNAPSHOT
from ledger.reports import LatencyQuery, SpendQuery
from tests.ledger.calls import Clock, a_ledger, a_settlement
from tests.ledger.postgres.test_fold import CEILINGS, audit, call_at
from tests.ledger.postgres.test_fold import a_history as a_short_history
from tests.ledger.postgres.test_months import AUGUST_MS, JULY_MS, JUNE_MS, MAY_MS, a_call_at, home

__all__ = ["home"]
# What a transaction has looked at itself, told by the server without delay.
LOOKED_AT = """
SELECT relname FROM pg_stat_xact_user_tables WHERE relname LIKE 'postings%' AND seq_scan + COALESCE(idx_scan, 0) > 0
"""
WHOLE_HOURS = {"since_ms": MAY_MS, "until_ms": JULY_MS + DAY_MS}


async def lines_looked_at(home, query):
    def read(db):
        db.run_script(SNAPSHOT)
        try:
            assert spend_report(db, query=query)["total"]["attempts"]
            return [name for (name,) in db.execute(LOOKED_AT)]
        finally:
            db.run_script("ROLLBACK")

    async with open_connection(address_of(home.url)) as connection:
        return await connection.run(read)


async def test_a_report_of_whole_hours_looks_at_no_months_lines(home):
    await a_short_history(home, MAY_MS, JUNE_MS)
    async with a_ledger(home, clock=Clock(JULY_MS), ceilings=CEILINGS) as ledger:
        await ledger.admit(a_call_at(JULY_MS))
        for group_by in (("day", "model"), ("month", "key"), ("hour", "outcome"), ("user",), ("workflow", "day"), ()):
            assert await lines_looked_at(home, SpendQuery(group_by=group_by, **WHOLE_HOURS)) == [], group_by
    part = SpendQuery(since_ms=MAY_MS, until_ms=MAY_MS + 2 * DAY_MS + HOUR_MS // 2)
    assert await lines_looked_at(home, part), "a part of an hour is told line by line"


# 100,000,000 lines of a year: 60 combinations an hour, 1,000 users of whom twenty call in one, and twenty workflows.
LINES, HOURS = 100_000_000, 365 * 24
BEGAN_MS, ENDED_MS = AUGUST_MS - HOURS * HOUR_MS, AUGUST_MS
SPENT = """
INSERT INTO spend_hours
SELECT {began} + hour * 3600000, 'up' || of % 2 || ':model-' || of % 5, 'route-' || of % 2, 'key-' || of / 10, 'team',
       'priced_usage', CASE of % 30 WHEN 0 THEN 'upstream_error' ELSE 'ok' END, n * 400000, 0, n, n, 0, 0, n * 1000,
       n * 250, n * 100, n * 50
  FROM (SELECT hour, of, {lines} / ({hours} * 60) + CAST(hour * 60 + of < {lines} % ({hours} * 60) AS integer) AS n
          FROM generate_series(0::bigint, {hours} - 1) AS hours (hour),
               generate_series(0::bigint, 59) AS combinations (of)) AS drawn
"""
SPENT_BY_NAME = """
INSERT INTO spend_hours_by_name
SELECT '{dimension}', at_ms - at_ms % 864000000, '{dimension}-' || name, 'up' || name % 2 || ':model-' || name % 5,
       'route-' || name % 2, 'key-' || name % 4, 'team', 'priced_usage', 'ok', at_ms, n * 400000, 0, n, n, 0, 0,
       n * 1000, n * 250, n * 100, n * 50
  FROM (SELECT {began} + hour * 3600000 AS at_ms, (hour * 7919 + of * ({names} / {at_once})) % {names} AS name,
               {lines} / ({hours} * {at_once}) AS n
          FROM generate_series(0::bigint, {hours} - 1) AS hours (hour),
               generate_series(0::bigint, {at_once} - 1) AS active (of)) AS drawn
"""
LATENCIES = """
INSERT INTO latency_days
SELECT {began} + day * 86400000, 'up' || of % 2 || ':model-' || of % 5, kind, 500 + bucket, 137, 137 * 800000, 900000
  FROM generate_series(0::bigint, {hours} / 24 - 1) AS days (day), generate_series(0, 9) AS deployments (of),
       unnest(ARRAY['total', 'ttft']) AS kinds (kind), generate_series(0, 99) AS buckets (bucket)
"""
FOLDED = """
INSERT INTO closings
VALUES ({lines}, decode(repeat('07', 32), 'hex'), {lines}, {lines} * 400000::bigint, {ended}, {ended});
UPDATE newest_line SET seq = {lines}, chain = decode(repeat('07', 32), 'hex')
"""


DAYS_BY_NAME = """
INSERT INTO spend_days_by_name
SELECT dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms - hour_ms % 86400000,
       SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
       SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
  FROM spend_hours_by_name
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""


def made(home, script, **values):
    """Past the rules that would add up, or refuse, row by row."""
    sizes = {"lines": LINES, "hours": HOURS, "began": BEGAN_MS, "ended": ENDED_MS}
    home.server.run(home.name, f"SET session_replication_role = replica; {script.format(**sizes, **values)}")


def cpu_s(home):
    """What this process and the server's have worked, those that are over included: a clock runs for others, too."""
    server = int((home.server.folder / "postmaster.pid").read_text("utf-8").split()[0])
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            figures = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            if int(folder.name) == server:
                ticks += sum(map(int, figures[11:15]))
            elif int(figures[1]) == server:
                ticks += sum(map(int, figures[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


async def least_s(home, ask):
    found = []
    for _ in range(3):
        began_s = cpu_s(home)
        report = await ask()
        found.append(cpu_s(home) - began_s)
    return min(found), report


@pytest.fixture
def long_home(home):
    """Its reports are of a hundred million lines."""
    made(home, SPENT)
    made(home, SPENT_BY_NAME, dimension="user", names=1000, at_once=20)
    made(home, SPENT_BY_NAME, dimension="workflow", names=20, at_once=20)
    made(home, DAYS_BY_NAME)
    made(home, LATENCIES)
    home.server.run(home.name, "VACUUM ANALYZE")
    return home


@pytest.mark.soak
async def test_a_report_over_a_hundred_million_lines_takes_less_than_a_second(long_home):
    took = {}
    async with open_reports(long_home.url, clock_ms=lambda: AUGUST_MS) as reports:
        for group_by in (
            ("day", "model"),
            ("month", "key"),
            ("provider",),
            ("key", "outcome"),
            ("workflow",),
            ("user",),
        ):
            query = SpendQuery(since_ms=BEGAN_MS, until_ms=ENDED_MS, group_by=group_by)
            took[group_by], report = await least_s(long_home, partial(reports.spend, query))
            assert report["total"]["attempts"] == LINES
        latency = LatencyQuery(since_ms=BEGAN_MS, until_ms=ENDED_MS, group_by=("model",))
        took["latency"], _ = await least_s(long_home, partial(reports.latency, latency))
    print({name: f"{seconds * 1000:.0f} ms" for name, seconds in took.items()})
    assert max(took.values()) < 1, took


@pytest.mark.soak
async def test_lines_go_on_after_a_hundred_million_that_were_folded(home):
    made(home, SPENT)
    made(home, FOLDED)
    async with a_ledger(home, clock=Clock(AUGUST_MS), ceilings=CEILINGS) as ledger:
        for number in range(300):
            call = a_call_at(AUGUST_MS + number)
            lead = await ledger.admit(call)
            await ledger.settle(a_settlement(call, lead))
        await call_at(ledger, AUGUST_MS + DAY_MS)
    assert audit(home) == ()
    assert home.server.run(home.name, "SELECT MAX(seq) FROM postings")[0][0] == LINES + 301
