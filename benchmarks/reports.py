"""`python -m benchmarks.reports [postings]`: how long reports take over a long history, and what they cost a writer.

The history is made by a few large statements on the real schema (its chain is not a real one): one attempt a call,
33,333 calls a day on ten deployments, two routes and four keys, one in thirty failed; every hour has 60 combinations.
A thousand users of one key, route and deployment each, in twenty workflows.
"""

import asyncio
import itertools
import multiprocessing
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.ledger import _client
from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.ledger import open_ledger, open_reports, wall_ms
from ledger.reports import LatencyQuery, SpendQuery
from ledger.sql import statements

POSTINGS = 1_000_000
A_DAY = 33_333
REPEATS = 5
SECONDS = 4.0
PAUSE_S = 0.2
CLIENTS = 16
TURNS = 3
FAR_MS = 1 << 48
DRAWN = """
CREATE TEMP TABLE drawn AS
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :postings)
SELECT n, printf('gen_%012d', n) AS generation_id, printf('gen_%012d.1', n) AS hold_id,
       :began_ms + n * :step_ms AS at_ms,
       'up' || (n * 7919 % 2) || ':model-' || (n * 7919 % 5) AS deployment, 'route-' || (n * 104729 % 2) AS route,
       'key-' || (n * 1299709 % 4) AS key_id, CASE n % 30 WHEN 0 THEN 'upstream_error' ELSE 'ok' END AS outcome
  FROM numbers
"""
FILLED = (
    """
    INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow,
                             run, tags, cache, deployment, outcome, cost_basis, finished_at_ms, latency_us)
    SELECT generation_id, at_ms, route, 0, printf('%032x', n), key_id, 'team', 'user-' || (n % 1000),
           'workflow-' || (n % 20), '', '{}', 'miss', deployment, outcome, 'priced_usage', at_ms + 800, 800000
      FROM drawn
    """,
    """
    INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, held_nanousd, state,
                       taken_at_ms, closed_at_ms, outcome, status, latency_us)
    SELECT hold_id, generation_id, 1, 'bench', deployment, 'v', 1000000, 'settled', at_ms, at_ms + 800, outcome, 200,
           100000 + n * 15485863 % 3000000 FROM drawn
    """,
    """
    INSERT INTO postings (seq, hold_id, kind, cost_nanousd, cost_basis, overrun_nanousd, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, price_version, posted_at_ms, chain,
                          tokens)
    SELECT n, hold_id, 'settlement', 400000, 'priced_usage', 0, 900, 100, 0, 200, 50, 'v', at_ms + 800, randomblob(32),
           1250
      FROM drawn
    """,
    f"""
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome, cost_nanousd, saved_nanousd,
                             generations, attempts, cache_hits, coalesced, prompt_tokens, completion_tokens,
                             cached_tokens, reasoning_tokens)
    SELECT at_ms / {HOUR_MS} * {HOUR_MS}, deployment, route, key_id, team, basis, outcome, SUM(cost_nanousd),
           SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
           COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0), COALESCE(SUM(cached_tokens), 0),
           COALESCE(SUM(reasoning_tokens), 0)
      FROM ({statements("sqlite", "reports")["spend_detail"]}) GROUP BY 1, 2, 3, 4, 5, 6, 7
    """,
    """
    INSERT INTO spend_hours_by_name
    SELECT dimension, hour_ms - hour_ms % 864000000, name, deployment, route, key_id, team, basis, outcome, hour_ms,
           SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
           SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
      FROM named_spend GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    """,
    f"""
    INSERT INTO latency_buckets (deployment, kind, hour_ms, bucket, count, sum_us, max_us)
    SELECT deployment, CASE outcome WHEN 'ok' THEN 'total' ELSE 'error' END, taken_at_ms / {HOUR_MS} * {HOUR_MS},
           CASE outcome WHEN 'ok' THEN CAST(ln(latency_us) / ln(1.02) AS INTEGER) + 1 ELSE 0 END, COUNT(*),
           SUM(latency_us), MAX(latency_us)
      FROM holds GROUP BY 1, 2, 3, 4
    """,
    f"""
    INSERT INTO latency_days (day_ms, deployment, kind, bucket, count, sum_us, max_us)
    SELECT hour_ms / {DAY_MS} * {DAY_MS}, deployment, kind, bucket, SUM(count), SUM(sum_us), MAX(max_us)
      FROM latency_buckets GROUP BY 1, 2, 3, 4
    """,
)


async def make_history(path: Path, postings: int) -> tuple[int, int]:
    """Fill a ledger; (its first moment, its last)."""
    until_ms = wall_ms() // DAY_MS * DAY_MS
    step_ms = DAY_MS // A_DAY
    began_ms = until_ms - postings * step_ms
    async with open_ledger(f"sqlite:{path}"):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")  # A WAL of this length would be read back slowly.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA temp_store = FILE")
        db.execute("PRAGMA cache_size = -400000")
        db.execute("BEGIN")
        with _without_triggers(db):
            db.execute(DRAWN, {"postings": postings, "began_ms": began_ms, "step_ms": step_ms})
            for statement in FILLED:
                db.execute(statement, {"since_ms": 0, "until_ms": FAR_MS})
        db.execute("COMMIT")
    return began_ms, until_ms


@contextmanager
def _without_triggers(db: sqlite3.Connection) -> Iterator[None]:
    """What they would refuse or add up row by row, the large statements bring along."""
    triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        db.execute(sql)


async def time_reports(path: Path, began_ms: int, until_ms: int) -> dict[str, float]:
    """{report: the median of its times in milliseconds}."""
    since_ms, before_ms = began_ms + HOUR_MS // 2, until_ms - HOUR_MS // 2
    found: dict[str, float] = {}
    async with open_reports(f"sqlite:{path}") as reports:
        asked: dict[str, Callable[[], object]] = {
            "spend by model and day": partial(reports.spend, SpendQuery(group_by=("model", "day"))),
            "the same, with half hours at its ends": partial(
                reports.spend, SpendQuery(group_by=("model", "day"), since_ms=since_ms, until_ms=before_ms)
            ),
            "spend by key and outcome": partial(reports.spend, SpendQuery(group_by=("key", "outcome"))),
            "spend by workflow": partial(reports.spend, SpendQuery(group_by=("workflow",))),
            "spend by user, of thousands": partial(reports.spend, SpendQuery(group_by=("user",))),
            "spend of the last day by hour": partial(
                reports.spend, SpendQuery(group_by=("hour",), since_ms=until_ms - DAY_MS)
            ),
            "latency by model": partial(reports.latency, LatencyQuery(group_by=("model",))),
            "latency of the last day by hour": partial(
                reports.latency, LatencyQuery(group_by=("hour",), since_ms=until_ms - DAY_MS)
            ),
        }
        for name, ask in asked.items():
            times_ms = []
            for _ in range(REPEATS):
                began_s = time.perf_counter()
                await ask()  # type: ignore[misc]
                times_ms.append((time.perf_counter() - began_s) * 1000)
            found[name] = median(times_ms)
    return found


def read_on(path: str) -> None:
    """Ask for the report five times a second until ended, on the other core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    async def reading() -> None:
        async with open_reports(f"sqlite:{path}") as reports:
            while True:
                await reports.spend(SpendQuery(group_by=("model", "day")))
                await asyncio.sleep(PAUSE_S)

    uvloop.run(reading())


def time_writer(path: Path) -> list[tuple[float, float]]:
    """[(pairs a second alone, beside a reader)], in turns, because other things also happen on a machine."""
    numbers, found = itertools.count(), []
    for _ in range(TURNS):
        alone = uvloop.run(write_pairs(path, numbers))
        reader = multiprocessing.get_context("spawn").Process(target=read_on, args=(str(path),))
        reader.start()
        try:
            found.append((alone, uvloop.run(write_pairs(path, numbers))))
        finally:
            reader.terminate()
            reader.join()
    return found


async def write_pairs(path: Path, numbers: Iterator[int]) -> float:
    """Admissions that were settled, a second."""
    latencies_ms: list[float] = []
    async with open_ledger(f"sqlite:{path}") as ledger:
        began_s = time.perf_counter()
        clients = (_client(ledger, numbers, began_s + SECONDS, latencies_ms) for _ in range(CLIENTS))
        await asyncio.gather(*clients)
        return len(latencies_ms) / 2 / (time.perf_counter() - began_s)


def main() -> None:
    """Make the history, ask for the reports, print the table."""
    postings = int(sys.argv[1]) if len(sys.argv) > 1 else POSTINGS
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.db"
        began_ms, until_ms = asyncio.run(make_history(path, postings))
        table = Table("report", "ms", title=f"Reports over {postings:,} postings, {path.stat().st_size / 1e9:.1f} GB")
        for report, ms in asyncio.run(time_reports(path, began_ms, until_ms)).items():
            table.add_row(report, f"{ms:,.0f}")
        console.print(table)
        for alone, beside in time_writer(path):
            console.print(
                f"writer: {alone:,.0f} pairs/s alone, {beside:,.0f} beside a reader: {beside / alone - 1:+.0%}"
            )


if __name__ == "__main__":
    main()
