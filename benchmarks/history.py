"""`python -m benchmarks.history CALLS FILE`: a long history, made in minutes, for other benchmarks to take turns on.

A ledger that an audit finds sound, as if each of its calls had been admitted: a few large statements a day on the real
schema. One attempt a call, 33,333 calls a day on ten deployments, two routes and four keys, one in thirty failed; every
hour has 60 combinations. A thousand users of one key, route and deployment each, in twenty workflows. All of it under
two ceilings.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS, Ceiling
from ledger.chain import GENESIS
from ledger.ledger import open_ledger, wall_ms
from ledger.prices import Price, Tier

A_DAY: Final = 33_333
LIMIT: Final = 10**17
CEILINGS: Final = (
    Ceiling(scope="global", window="total", limit=LIMIT),
    Ceiling(scope="global", window="day", limit=LIMIT),
)
PRICE: Final = Price(version="v1", base=Tier(input=150_000_000, cached_input=75_000_000, output=600_000_000))
DEPLOYMENTS: Final = tuple(f"up{provider}:model-{model}" for provider in range(2) for model in range(5))
_PERIOD_MS: Final = 10 * DAY_MS
_CACHE_KIB: Final = 400_000

MADE: Final = """
CREATE TEMP TABLE drawn (
    n INTEGER PRIMARY KEY, generation_id TEXT, hold_id TEXT, at_ms INTEGER, deployment TEXT, route TEXT, key_id TEXT,
    user_id TEXT, workflow TEXT, outcome TEXT, latency_us INTEGER, input INTEGER, cached INTEGER, output INTEGER,
    cost_nanousd INTEGER) STRICT
"""
DRAWN: Final = f"""
INSERT INTO drawn
WITH RECURSIVE numbers (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last),
named AS (
    SELECT n, :began_ms + n * :step_ms AS at_ms, n * 7 % 4001 AS input, n % 3 AS cached, n * 13 % 977 AS output
      FROM numbers)
SELECT n, printf('gen_%012x%014x', at_ms, n), printf('gen_%012x%014x.1', at_ms, n), at_ms,
       'up' || (n * 7919 % 2) || ':model-' || (n * 7919 % 5), 'route-' || (n * 104729 % 2), 'key-' || (n * 1299709 % 4),
       'user-' || (n % 1000), 'workflow-' || (n % 20), CASE n % 30 WHEN 0 THEN 'upstream_error' ELSE 'ok' END,
       100000 + n * 15485863 % 3000000, input, cached, output,
       (input * {PRICE.base.rates[0]} + cached * {PRICE.base.rates[1]} + output * {PRICE.base.rates[3]}) / 1000000
  FROM named
"""
FILLED: Final = (
    """
    INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow,
                             run, tags, cache, deployment, outcome, cost_basis, finished_at_ms, latency_us)
    SELECT generation_id, at_ms, route, 0, printf('%032x', n), key_id, 'team', user_id, workflow, '', '{}', 'miss',
           deployment, outcome, 'priced_usage', at_ms + 800, 800000
      FROM drawn
    """,
    """
    INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, held_nanousd, state,
                       taken_at_ms, closed_at_ms, outcome, status, latency_us, held_tokens)
    SELECT hold_id, generation_id, 1, 'bench', deployment, 'v1', 5000000, 'settled', at_ms, at_ms + 800, outcome, 200,
           latency_us, 8000
      FROM drawn
    """,
    f"""
    INSERT INTO hold_windows (hold_id, ceiling_id, starts_at_ms)
    SELECT hold_id, ceiling_id, CASE ceiling_id WHEN 'total global' THEN 0 ELSE at_ms / {DAY_MS} * {DAY_MS} END
      FROM drawn CROSS JOIN (SELECT 'day global' AS ceiling_id UNION ALL SELECT 'total global')
    """,
    f"""
    INSERT INTO ceiling_windows (ceiling_id, starts_at_ms, ends_at_ms, counts, limit_amount, excused_amount,
                                 held_amount, spent_amount)
    SELECT 'day global', at_ms / {DAY_MS} * {DAY_MS}, at_ms / {DAY_MS} * {DAY_MS} + {DAY_MS}, 'nanousd', {LIMIT},
           {LIMIT}, 0, SUM(cost_nanousd)
      FROM drawn GROUP BY 2
     UNION ALL
    SELECT 'total global', 0, NULL, 'nanousd', {LIMIT}, {LIMIT}, 0, SUM(cost_nanousd) FROM drawn
     WHERE true
        ON CONFLICT DO UPDATE SET spent_amount = spent_amount + excluded.spent_amount
    """,
    """
    INSERT INTO postings (seq, hold_id, kind, cost_nanousd, cost_basis, overrun_nanousd, input_tokens, cached_tokens,
                          cache_write_tokens, output_tokens, reasoning_tokens, price_version, posted_at_ms, chain,
                          tokens)
    SELECT n, hold_id, 'settlement', cost_nanousd, 'priced_usage', 0, input, cached, 0, output, 0, 'v1', at_ms + 800,
           chained(json_array(n, hold_id, 'settlement', cost_nanousd, 'priced_usage', 0, input, cached, 0, output, 0,
                              'v1', at_ms + 800, NULL)),
           input + cached + output
      FROM drawn ORDER BY n
    """,
    f"""
    INSERT INTO spend_hours (hour_ms, deployment, route, key_id, team, basis, outcome, cost_nanousd, generations,
                             attempts, prompt_tokens, completion_tokens, cached_tokens)
    SELECT at_ms / {HOUR_MS} * {HOUR_MS}, deployment, route, key_id, 'team', 'priced_usage', outcome,
           SUM(cost_nanousd), COUNT(*), COUNT(*), SUM(input + cached), SUM(output), SUM(cached)
      FROM drawn GROUP BY 1, deployment, route, key_id, outcome
        ON CONFLICT DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, generations = generations + excluded.generations,
           attempts = attempts + excluded.attempts, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens
    """,
    f"""
    INSERT INTO spend_hours_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome,
                                     hour_ms, cost_nanousd, generations, attempts, prompt_tokens, completion_tokens,
                                     cached_tokens)
    SELECT dimension, at_ms / {_PERIOD_MS} * {_PERIOD_MS}, CASE dimension WHEN 'user' THEN user_id ELSE workflow END,
           deployment, route, key_id, 'team', 'priced_usage', outcome, at_ms / {HOUR_MS} * {HOUR_MS},
           SUM(cost_nanousd), COUNT(*), COUNT(*), SUM(input + cached), SUM(output), SUM(cached)
      FROM drawn CROSS JOIN (SELECT 'user' AS dimension UNION ALL SELECT 'workflow')
     GROUP BY 1, 2, 3, deployment, route, key_id, outcome, 10
        ON CONFLICT DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, generations = generations + excluded.generations,
           attempts = attempts + excluded.attempts, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens
    """,
    f"""
    INSERT INTO spend_days_by_pair (period_ms, user_id, workflow, deployment, route, key_id, team, basis, outcome,
                                    day_ms, cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT at_ms / {_PERIOD_MS} * {_PERIOD_MS}, user_id, workflow, deployment, route, key_id, 'team', 'priced_usage',
           outcome, at_ms / {DAY_MS} * {DAY_MS}, SUM(cost_nanousd), 0, COUNT(*), COUNT(*), 0, 0, SUM(input + cached),
           SUM(output), SUM(cached), 0
      FROM drawn GROUP BY 1, user_id, workflow, deployment, route, key_id, outcome, 10
        ON CONFLICT DO UPDATE
       SET cost_nanousd = cost_nanousd + excluded.cost_nanousd, generations = generations + excluded.generations,
           attempts = attempts + excluded.attempts, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
           completion_tokens = completion_tokens + excluded.completion_tokens,
           cached_tokens = cached_tokens + excluded.cached_tokens
    """,
    "UPDATE pairs_added_up SET until_ms = (SELECT MAX(at_ms) + 1 FROM drawn)",
    f"""
    INSERT INTO latency_buckets (deployment, kind, hour_ms, bucket, count, sum_us, max_us)
    SELECT deployment, CASE outcome WHEN 'ok' THEN 'total' ELSE 'error' END, at_ms / {HOUR_MS} * {HOUR_MS},
           CASE outcome WHEN 'ok' THEN CAST(ln(latency_us) / ln(1.02) AS INTEGER) + 1 ELSE 0 END, COUNT(*),
           SUM(latency_us), MAX(latency_us)
      FROM drawn GROUP BY 1, 2, 3, 4
        ON CONFLICT DO UPDATE
       SET count = count + excluded.count, sum_us = sum_us + excluded.sum_us, max_us = MAX(max_us, excluded.max_us)
    """,
)
# Once all days are there.
FINISHED: Final = (
    f"""
    INSERT INTO latency_days (day_ms, deployment, kind, bucket, count, sum_us, max_us)
    SELECT hour_ms / {DAY_MS} * {DAY_MS}, deployment, kind, bucket, SUM(count), SUM(sum_us), MAX(max_us)
      FROM latency_buckets GROUP BY 1, 2, 3, 4
    """,
    f"""
    INSERT INTO spend_days_by_name (dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, day_ms,
                                    cost_nanousd, saved_nanousd, generations, attempts, cache_hits, coalesced,
                                    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
    SELECT dimension, period_ms, name, deployment, route, key_id, team, basis, outcome, hour_ms / {DAY_MS} * {DAY_MS},
           SUM(cost_nanousd), SUM(saved_nanousd), SUM(generations), SUM(attempts), SUM(cache_hits), SUM(coalesced),
           SUM(prompt_tokens), SUM(completion_tokens), SUM(cached_tokens), SUM(reasoning_tokens)
      FROM spend_hours_by_name GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    """,
)


class Span(msgspec.Struct, frozen=True):
    """From when a history goes until when, milliseconds UTC."""

    began_ms: int
    until_ms: int


async def make_history(path: Path, calls: int, *, a_day: int = A_DAY) -> Span:
    """Make a ledger of so many settled calls that end with yesterday. 10,000,000 take some minutes and 14 GB."""
    until_ms = wall_ms() // DAY_MS * DAY_MS
    step_ms = DAY_MS // a_day
    began_ms = until_ms - (calls + 1) * step_ms
    async with open_ledger(f"sqlite:{path}", clock_ms=lambda: began_ms) as ledger:
        await ledger.configure_ceilings(CEILINGS)
        await ledger.record_prices(dict.fromkeys(DEPLOYMENTS, PRICE))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # A WAL of this length would be read back slowly.
        for setting in ("journal_mode = DELETE", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
            db.execute(f"PRAGMA {setting}")
        db.create_function("chained", 1, _chaining())
        db.execute(MADE)
        with _without_triggers(db):
            for first in range(1, calls + 1, a_day):
                part = {"first": first, "last": min(first + a_day - 1, calls), "began_ms": began_ms, "step_ms": step_ms}
                db.execute("BEGIN")
                db.execute(DRAWN, part)
                for statement in FILLED:
                    db.execute(statement)
                db.execute("DELETE FROM drawn")
                db.execute("COMMIT")
            for statement in FINISHED:
                db.execute(statement)
        db.execute("PRAGMA journal_mode = WAL")
    return Span(began_ms, until_ms)


def span_of(path: Path) -> Span:
    """From when the history in this file goes until when."""
    with closing(sqlite3.connect(path)) as db:
        began_ms, ended_ms = db.execute("SELECT MIN(created_at_ms), MAX(created_at_ms) FROM generations").fetchone()
    return Span(began_ms, (ended_ms // DAY_MS + 1) * DAY_MS)


def _chaining() -> Callable[[str], bytes]:
    """The digest of each line in turn, as `ledger.chain.link` makes it."""
    chain = GENESIS

    def chained(line: str) -> bytes:
        nonlocal chain
        chain = sha256(chain + line.encode()).digest()
        return chain

    return chained


@contextmanager
def _without_triggers(db: sqlite3.Connection) -> Iterator[None]:
    """What they would refuse or add up row by row, the large statements bring along."""
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        db.execute(sql)


if __name__ == "__main__":
    asyncio.run(make_history(Path(sys.argv[2]), int(sys.argv[1])))
