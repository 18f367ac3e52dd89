"""Folds old detail into closing balances, in transactions so small that a running service waits for none of them.

Each one is whole: it writes a balance, moves the windows' parts and drops the lines, or does nothing. What was cut off
goes on when it is done again.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database
from ledger.errors import NotALedger, TooRecent
from ledger.operations.events import forget_events
from ledger.operations.pairs import SQL as PAIRS
from ledger.operations.spend_sources import NAMES
from ledger.reports import iso
from ledger.sql import migrations, statements
from ledger.sqlite.checkpoint import Checkpoints
from ledger.sqlite.migrate import check_identity
from ledger.sqlite.turns import Turns
from ledger.upkeep import Pruned

SQL: Final = statements("sqlite", "prune")
ROWS_AT_ONCE: Final = 500
# A correction that is this many lines after what it corrects keeps it, and all that follow it, from being folded.
MOST_AT_ONCE: Final = 64_000
_BUSY_TIMEOUT_S: Final = 5.0

Work = Callable[[Database], int]


def prune_file(
    path: Path,
    before_ms: int,
    *,
    now_ms: int,
    dry_run: bool,
    on_step: Callable[[str], None],
    at_once: int = ROWS_AT_ONCE,
) -> Pruned:
    """Fold what is before this moment, back to a whole hour. Raises NotALedger and TooRecent."""
    bounds = bounds_of(before_ms, now_ms)
    if not path.is_file():
        raise NotALedger(f"there is no ledger at {path}")
    try:
        with closing(_connect(path, is_dry=dry_run)) as db:
            if check_identity(db) != len(migrations("sqlite")):
                raise NotALedger("the ledger is of an older farthing: start the service once, it brings it up to date")
            if dry_run:
                db.execute("BEGIN")
                return count_rows(db, bounds)
            with closing(_InTurns(db, path)) as turns:
                return prune_rows(turns, bounds, at_once, on_step)
    except sqlite3.DatabaseError as error:
        raise NotALedger(f"{path} could not be pruned further ({error}): nothing is half done; try it again") from error


def bounds_of(before_ms: int, now_ms: int) -> dict[str, int]:
    """What is to be folded: all before this moment, back to a whole hour. Raises TooRecent."""
    before_ms -= before_ms % HOUR_MS
    if before_ms > now_ms - DAY_MS:
        raise TooRecent(f"{iso(before_ms)} is not a day ago yet: such calls may still be repeated or mended")
    return {"before_ms": before_ms, "now_ms": now_ms}


class Repeating:
    """Runs one transaction after the other, each in this process's turn, as a service's writer does."""

    def write(self, work: Work) -> int:
        """Run `work` in a transaction."""
        raise NotImplementedError

    def repeat(self, work: Work, at_once: int, on_step: Callable[[str], None], what: str) -> int:
        """Until it finds nothing more to do. Returns how much it did in all."""
        done, count = 0, at_once
        while count:
            count = self.write(work)
            done += count
            on_step(f"{done:,} {what} folded")
        return done


class _InTurns(Repeating):
    """On a file."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.db = db
        self._turns = Turns(path)
        self._checkpoints = Checkpoints(path)

    def write(self, work: Work) -> int:
        with self._turns.take():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                count = work(self.db)
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
            self._checkpoints.run_if_due(self.db)
        return count

    def close(self) -> None:
        self._turns.close()


def prune_rows(turns: Repeating, bounds: dict[str, int], at_once: int, on_step: Callable[[str], None]) -> Pruned:
    """Fold lines, and what is then left without any."""
    held = {"holds": 0}

    def fold(db: Database) -> int:
        lines, holds = _fold_lines(db, bounds, at_once)
        held["holds"] += holds
        return lines

    lines = turns.repeat(fold, at_once, on_step, "lines")
    pruned_before = turns.write(_pruned_before)
    # Nothing but lines makes a balance, and nothing may go that no balance stands for.
    reach = {**bounds, "before_ms": min(bounds["before_ms"], pruned_before), "most": at_once}
    chargeless = turns.repeat(lambda db: _drop_holds(db, reach), at_once, on_step, "attempts")
    calls = turns.repeat(
        lambda db: _drop(db, "finished_generations", "drop_generation", "generation_id", reach),
        at_once, on_step, "calls",
    )  # fmt: skip
    stored = turns.repeat(
        lambda db: _drop(db, "expired_responses", "drop_response", "cache_key", reach), at_once, on_step, "answers"
    )
    for dimension in NAMES:
        turns.repeat(partial(_drop_sums, named={**reach, "dimension": dimension}), at_once, on_step, "sums by name")
    turns.repeat(partial(_drop_pairs, reach=reach), at_once, on_step, "sums by pair")
    forget = partial(forget_events, before_ms=bounds["before_ms"], most=at_once)
    events = turns.repeat(forget, at_once, on_step, "events")
    return Pruned(
        before_ms=pruned_before,
        through_seq=turns.write(_folded_through),
        postings=lines,
        holds=held["holds"] + chargeless,
        generations=calls,
        responses=stored,
        events=events,
    )


def _pruned_before(db: Database) -> int:
    (moment_ms,) = db.execute(SQL["pruned_before"]).fetchone()
    return moment_ms or 0


def _fold_lines(db: Database, bounds: dict[str, int], most: int) -> tuple[int, int]:
    """Fold the next lines that may go, and their attempts. Returns (lines, attempts)."""
    found = _next_cut(db, bounds, _folded_through(db), most)
    if not found:
        return 0, 0
    cut = {**bounds, "through_seq": found[-1][0]}
    hold_ids = list(dict.fromkeys(row[1] for row in found))
    db.execute(SQL["close_lines"], cut)
    db.execute(SQL["fold_windows"], cut)
    _fold_scopes(db, hold_ids)
    db.execute(SQL["drop_lines"], cut)
    return len(found), _drop_attempts(db, hold_ids)


def _next_cut(db: Database, bounds: dict[str, int], after_seq: int, most: int) -> list[tuple[Any, ...]]:
    """The next lines that may go together: a whole prefix, every hold with all of its lines, never the newest line."""
    (newest,) = db.execute(SQL["last_seq"]).fetchone()
    while most <= MOST_AT_ONCE:
        lines = db.execute(SQL["next_lines"], {**bounds, "after_seq": after_seq, "most": most}).fetchall()
        cut, needed, stopped = 0, 0, len(lines) < most
        for count, (seq, _, last_of_hold, may_go) in enumerate(lines, 1):
            if not may_go or seq == newest or seq != after_seq + count:
                stopped = True
                break
            needed = max(needed, last_of_hold)
            if needed <= seq:
                cut = count
        if cut or stopped:
            return lines[:cut]
        most *= 2
    return []


def _drop_holds(db: Database, reach: dict[str, int]) -> int:
    hold_ids = [row[0] for row in db.execute(SQL["chargeless_holds"], reach)]
    _fold_scopes(db, hold_ids)
    return _drop_attempts(db, hold_ids)


def _fold_scopes(db: Database, hold_ids: list[str]) -> None:
    db.executemany(SQL["fold_scopes"], [{"hold_id": hold_id} for hold_id in hold_ids])


def _drop_attempts(db: Database, hold_ids: list[str]) -> int:
    holds = [{"hold_id": hold_id} for hold_id in hold_ids]
    for name in ("fold_call", "drop_links", "drop_hold"):
        db.executemany(SQL[name], holds)
    return len(holds)


def _drop_sums(db: Database, named: dict[str, Any]) -> int:
    return db.execute(SQL["drop_sums"], named).rowcount


def _drop_pairs(db: Database, reach: dict[str, int]) -> int:
    return db.execute(PAIRS["drop_pairs"], reach).rowcount


def _drop(db: Database, find: str, drop: str, name: str, reach: dict[str, int]) -> int:
    rows = [{name: row[0]} for row in db.execute(SQL[find], reach).fetchall()]
    db.executemany(SQL[drop], rows)
    return len(rows)


def count_rows(db: Database, bounds: dict[str, int]) -> Pruned:
    """What would be folded, found in one snapshot; attempts and calls are counted without looking at each one's end."""
    after_seq = _folded_through(db)
    holds: set[str] = set()
    lines, through_seq = 0, after_seq
    while found := _next_cut(db, bounds, through_seq, MOST_AT_ONCE):
        lines += len(found)
        holds.update(row[1] for row in found)
        through_seq = found[-1][0]
    (generations,) = db.execute(SQL["generations_before"], bounds).fetchone() if lines else (0,)
    (responses,) = db.execute(SQL["expired_count"], bounds).fetchone()
    return Pruned(
        before_ms=bounds["before_ms"],
        through_seq=through_seq,
        postings=lines,
        holds=len(holds),
        generations=generations,
        responses=responses,
    )


def _folded_through(db: Database) -> int:
    (through_seq,) = db.execute("SELECT COALESCE(MAX(through_seq), 0) FROM closings").fetchone()
    return int(through_seq)


def _connect(path: Path, *, is_dry: bool) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'ro' if is_dry else 'rw'}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)
    # Foreign keys are off: without an index on every line's hold each row that goes would cost a look at all lines. The
    # schema's triggers say what may go. Nothing may be checkpointed but in this process's turn.
    for setting in ("foreign_keys = OFF", "wal_autocheckpoint = 0", "trusted_schema = OFF", "synchronous = FULL"):
        db.execute(f"PRAGMA {setting}")
    return db
