"""How long an audit takes: `python -m benchmarks.verify [postings]` makes a ledger of so many lines and verifies it."""

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.ceilings import HOUR_MS, Ceiling
from ledger.chain import GENESIS, LINE_COLUMNS, Line, link
from ledger.ledger import open_ledger
from ledger.prices import Price, Tier
from ledger.usage import Usage
from ledger.verify import verify_ledger

PRICE: Final = Price(version="v1", base=Tier(input=150_000_000, cached_input=75_000_000, output=600_000_000))
BEGAN_MS: Final = 1_795_000_000_000
CEILINGS: Final = (
    Ceiling(scope="global", window="total", limit=10**17),
    Ceiling(scope="model:p:m", window="day", limit=10**17),
)
GENERATION: Final = (
    "INSERT INTO generations (generation_id, created_at_ms, route, stream, trace_id, key_id, team, user_id, workflow, "
    "run, tags, cache, deployment, outcome, cost_basis, finished_at_ms, latency_us) "
    "VALUES (?, ?, 'chat', 0, ?, '', '', 'u1', 'w', '', '{}', 'miss', 'p:m', 'ok', 'priced_usage', ?, 800000)"
)
HOLD: Final = (
    "INSERT INTO holds (hold_id, generation_id, attempt, owner_id, deployment, price_version, held_nanousd, state, "
    "taken_at_ms, closed_at_ms, outcome, status, latency_us) "
    "VALUES (?, ?, 1, 'own', 'p:m', 'v1', 5000000, 'settled', ?, ?, 'ok', 200, 800000)"
)
_COLUMNS: Final = (*LINE_COLUMNS, "chain", "tokens")
POSTING: Final = f"INSERT INTO postings ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
DAY_MS: Final = 24 * HOUR_MS


async def make_ledger(path: Path, lines: int, *, spacing_ms: int = 100) -> None:
    """A ledger with so many settled calls, one each `spacing_ms`, as if they had been admitted one by one."""
    async with open_ledger(f"sqlite:{path}", clock_ms=lambda: BEGAN_MS) as ledger:
        await ledger.configure_ceilings(CEILINGS)
        await ledger.record_prices({"p:m": PRICE})
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for setting in ("PRAGMA synchronous = OFF", "PRAGMA cache_size = -200000", "BEGIN"):
            db.execute(setting)
        owner = "INSERT INTO owners (owner_id, process, started_at_ms, lease_until_ms) VALUES ('own', 'b', ?, ?)"
        db.execute(owner, (BEGAN_MS, 1 << 60))
        spent: dict[tuple[str, int], int] = {}
        for rows in _rows(lines, spacing_ms, spent):
            db.execute(GENERATION, rows[0])
            db.execute(HOLD, rows[1])
            for place in rows[3]:
                open_window = "INSERT OR IGNORE INTO ceiling_windows VALUES (?, ?, ?, 'nanousd', ?, ?, 0, 0, 0, NULL)"
                ends_at_ms = place[1] + DAY_MS if place[1] else None
                db.execute(open_window, (*place, ends_at_ms, 10**17, 10**17))
                db.execute("INSERT INTO hold_windows VALUES (?, ?, ?)", (rows[1][0], *place))
            db.execute(POSTING, rows[2])
        for place, cost in spent.items():
            spend = "UPDATE ceiling_windows SET spent_amount = ? WHERE ceiling_id = ? AND starts_at_ms = ?"
            db.execute(spend, (cost, *place))
        for ending in ("DELETE FROM owners", "COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)"):
            db.execute(ending)


def _rows(lines: int, spacing_ms: int, spent: dict[tuple[str, int], int]) -> Iterator[tuple[Any, ...]]:
    chain = GENESIS
    for seq in range(1, lines + 1):
        at_ms = BEGAN_MS + seq * spacing_ms
        generation_id = f"gen_{at_ms:012x}{seq:014x}"
        usage = Usage(input_tokens=seq * 7 % 4001, cached_tokens=seq % 3, output_tokens=seq * 13 % 977)
        cost = PRICE.cost_nanousd(usage)
        line = Line(
            hold_id=f"{generation_id}.1",
            kind="settlement",
            cost_nanousd=cost,
            cost_basis="priced_usage",
            usage=usage,
            price_version="v1",
            posted_at_ms=at_ms + 800,
            tokens=usage.tokens,
        )
        row = line.row(seq)
        chain = link(chain, row)
        windows = (CEILINGS[0].id, 0), (CEILINGS[1].id, at_ms - at_ms % DAY_MS)
        for place in windows:
            spent[place] = spent.get(place, 0) + cost
        hold = (line.hold_id, generation_id, at_ms, at_ms + 800)
        yield (generation_id, at_ms, f"{seq:032x}", at_ms + 800), hold, (*row, chain, line.tokens), windows


def main(arguments: list[str]) -> None:
    lines = int(arguments[0]) if arguments else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "farthing.db"
        asyncio.run(make_ledger(path, lines))
        steps: list[tuple[float, str]] = []
        began_s = time.perf_counter()
        findings = verify_ledger(f"sqlite:{path}", on_rule=lambda step: steps.append((time.perf_counter(), step)))
        took_s = time.perf_counter() - began_s
        assert not findings.violations, findings
        figures = {"postings": lines, "seconds": round(took_s, 2), "postings_per_s": round(lines / took_s)}
        print(msgspec.json.encode(figures | {"file_bytes_per_call": path.stat().st_size // lines}).decode())
        if "--steps" in arguments:
            for at_s, step in steps:
                if not step.startswith("lines"):
                    print(f"{at_s - began_s:8.2f} s  {step}")
            print(f"{steps[-1][0] - began_s:8.2f} s  {steps[-1][1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
