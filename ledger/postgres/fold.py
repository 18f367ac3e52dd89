"""Folds months that are wholly over and drops their tables: no row is deleted one by one, and the disk is given back.

What a month comes to is added up while services go on. Then, in their turn and in a moment, it is seen that nothing was
added to the month meanwhile, its windows are told what they keep of it, and its tables are dropped: one transaction, so
that the balance, the windows and the lines that are left are right at every commit. A month of which
something has to stay, a call that was under way at the moment or the newest line, is folded row by row like what is
younger (`ledger.sqlite.prune`); its tables are dropped once nothing is left. To add up a million calls took 22 s on a
busy machine, and gave back a gigabyte.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ledger.postgres.connection import Session
from ledger.postgres.failures import ServerFailed
from ledger.sql import statements
from ledger.sqlite.prune import SQL as ROWS

SQL: Final = statements("postgres", "fold")
# Lines of other parts among those of the one that goes; with more of them it is not worth it.
MOST_BETWEEN: Final = 2000
# Windows that are written in the turn: some seconds of it.
MOST_WINDOWS: Final = 200_000
# How often is it tried again where somebody reads what is to go, a second each, or where something was added to it.
TRIES: Final = 60
RECKONINGS: Final = 3
_PAUSE_S: Final = 1.0
_LOCK_NOT_AVAILABLE: Final = "55P03"
# Adding up takes as long as it takes; nobody waits for it.
_BEGIN: Final = """
BEGIN;
SET LOCAL synchronous_commit = on;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '900ms';
SET LOCAL jit = off;
SET LOCAL work_mem = '64MB';
"""
_TURN: Final = """
SAVEPOINT turn;
SET LOCAL lock_timeout = '10s';
SELECT version FROM ledger_turn WHERE id = 1 FOR UPDATE;
SET LOCAL lock_timeout = '300ms';
SET LOCAL statement_timeout = '8s';
"""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the ledger, and the ids that it lies between."""

    part: str
    first_id: str
    end_id: str


class Folded(msgspec.Struct, kw_only=True):
    """How many rows went with their tables."""

    postings: int = 0
    holds: int = 0
    generations: int = 0


class _Added(Exception):
    """Something came to a part while it was added up."""


def fold_parts(db: Session, bounds: dict[str, int], on_step: Callable[[str], None]) -> Folded:
    """Fold and drop what can go whole, the oldest first, up to the first part that cannot."""
    folded = Folded()
    for row in db.execute(SQL["old_parts"], bounds).fetchall():
        part = Part(part=row[0], first_id=row[1], end_id=row[2])
        if not _fold_part(db, part, bounds, folded):
            break
        on_step(f"{folded.postings:,} lines folded, {part.part} dropped")
    return folded


def drop_empty_parts(db: Session, on_step: Callable[[str], None]) -> None:
    """Give back the disk of parts whose rows all went one by one."""
    for (part,) in db.execute(SQL["empty_parts"]).fetchall():
        db.run_script(_BEGIN)
        try:
            _in_turn(db, lambda part=part: db.execute(SQL["drop_part"], {"part": part}))  # type: ignore[misc]
        finally:
            _end(db)
        on_step(f"{part} dropped")


def _fold_part(db: Session, part: Part, bounds: dict[str, int], folded: Folded) -> bool:
    """False: some of it has to stay."""
    for _ in range(RECKONINGS):
        db.run_script(_BEGIN)
        try:
            return _reckon_and_drop(db, part, bounds, folded)
        except _Added:
            continue
        finally:
            _end(db)
    return False


def _reckon_and_drop(db: Session, part: Part, bounds: dict[str, int], folded: Folded) -> bool:
    place = {**msgspec.structs.asdict(part), **bounds, "through_seq": 0}
    before = db.execute(SQL["place"], place).fetchone()
    counts = db.execute(SQL["counts"], place).fetchone()
    newest = db.execute(SQL["newest"]).fetchone()
    assert before is not None
    assert counts is not None
    through_seq, *_, after_seq = before
    postings, holds, generations, may_go = counts
    if not (holds or generations):
        return True  # It is empty already.
    if not may_go or not postings or (through_seq,) == newest:
        return False
    place["through_seq"] = through_seq
    between = _between(db, place, after_seq)
    if between is None:
        return False
    others = [{"hold_id": hold_id} for hold_id in between]
    _reckon(db, place, others)
    if (db.execute(SQL["count_windows"]).fetchone() or (0,))[0] > MOST_WINDOWS:
        return False

    def drop() -> None:
        if db.execute(SQL["place"], place).fetchone() != before:
            raise _Added
        db.execute(SQL["fold"])
        for statement in (SQL["drop_lines_of"], ROWS["drop_links"], ROWS["drop_hold"]):
            db.executemany(statement, others)
        db.execute(SQL["drop_part"], {"part": part.part})

    _in_turn(db, drop)
    folded.postings += postings + len(between)
    folded.holds += holds + len(others)
    folded.generations += generations
    return True


def _reckon(db: Session, place: dict[str, Any], others: list[dict[str, str]]) -> None:
    """Write down the balance and what scopes keep, of these other attempts too; add up for windows in `make_sums`."""
    db.execute(ROWS["close_lines"], place)
    db.run_script(SQL["make_sums"])
    db.execute(SQL["sum_lines"], place)
    db.execute(SQL["sum_attempts"], place)
    db.execute(SQL["sum_scopes"], place)
    for other in others:
        db.execute(SQL["sum_attempt"], other)
        db.execute(ROWS["fold_scopes"], other)
    db.run_script("ANALYZE folded")


def _between(db: Session, place: dict[str, Any], after_seq: int) -> list[str] | None:
    """The attempts of other parts whose lines the balance stands for, too. None: they are many, or one has to stay."""
    wanted = {**place, "after_seq": after_seq, "most": MOST_BETWEEN + 1}
    lines = db.execute(SQL["lines_between"], wanted).fetchall()
    hold_ids = list(dict.fromkeys(hold_id for _, hold_id in lines))
    if len(lines) > MOST_BETWEEN:
        return None
    for hold_id in hold_ids:
        attempt = {**place, "hold_id": hold_id, "generation_id": hold_id.rpartition(".")[0]}
        if db.execute(SQL["may_go"], attempt).fetchone() != (True,):
            return None
    return hold_ids


def _in_turn(db: Session, work: Callable[[], object]) -> None:
    """Run it in the writers' turn and commit; again where a table is being read, so that nobody waits for long."""
    for tries_left in reversed(range(TRIES)):
        try:
            db.run_script(_TURN, within_s=15.0)
            work()
            db.run_script("COMMIT")
        except ServerFailed as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE or not tries_left:
                raise
            db.run_script("ROLLBACK TO SAVEPOINT turn")
            time.sleep(_PAUSE_S)
        else:
            return


def _end(db: Session) -> None:
    if db.in_transaction:
        db.run_script("ROLLBACK")
