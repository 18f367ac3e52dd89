"""Corrects what attempts cost, by compensating lines in the windows and the hour that their holds were taken in."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from ledger.chain import Line
from ledger.corrections import Charged, Correction, NotCorrectable
from ledger.holds import HoldState
from ledger.sql import statements
from ledger.sqlite.postings import post
from ledger.sqlite.settle import SQL as SETTLE
from ledger.usage import Usage

SQL: Final = statements("sqlite", "corrections")


def charged_attempts(
    db: sqlite3.Connection, *, since_ms: int, until_ms: int, after: tuple[int, str], most: int
) -> list[Charged]:
    """Charged attempts whose holds were taken in this span, after (moment, id) in that order, at most so many."""
    place = {"since_ms": since_ms, "until_ms": until_ms, "after_ms": after[0], "after_id": after[1], "most": most}
    return [_charged(row) for row in db.execute(SQL["charged"], place)]


def attempts_of(db: sqlite3.Connection, generation_id: str) -> list[tuple[str, str, str, str | None]]:
    """(hold id, deployment, state, outcome) of each attempt of a call, in order."""
    return db.execute(SQL["holds_of"], {"generation_id": generation_id}).fetchall()


def find_charged(db: sqlite3.Connection, hold_id: str) -> Charged:
    """One attempt as its lines have it. Raises NotCorrectable for one that is not there or not over."""
    row = db.execute(SQL["charged_one"], {"hold_id": hold_id}).fetchone()
    if row is None:
        raise NotCorrectable(f"there is no attempt {hold_id!r}")
    if row[-1] == HoldState.HELD:
        raise NotCorrectable(f"the attempt {hold_id!r} is not over: what it costs is still to be settled")
    return _charged(row[:-1])


def correct(db: sqlite3.Connection, corrections: Sequence[Correction], *, now_ms: int) -> list[int]:
    """Write what is missing of each; the numbers of the new lines. What is so already is left: repeats change nothing.

    Raises NotCorrectable, and then none of them is written.
    """
    numbers = [_correct(db, correction, now_ms=now_ms) for correction in corrections]
    return [number for number in numbers if number is not None]


def _correct(db: sqlite3.Connection, correction: Correction, *, now_ms: int) -> int | None:
    before = find_charged(db, correction.hold_id)
    if correction.usage is not None and before.usage is not None:
        raise NotCorrectable(f"the tokens of {correction.hold_id!r} are known: only its cost can be corrected")
    difference = correction.cost_nanousd - before.cost_nanousd
    if difference == 0 and correction.usage is None and correction.basis == before.basis:
        return None
    room = {"hold_id": correction.hold_id, "held_nanousd": 0, "cost_nanousd": difference}
    db.execute(SETTLE["move_room"], room)
    line = Line(
        hold_id=correction.hold_id,
        kind="correction",
        cost_nanousd=difference,
        cost_basis=correction.basis,
        usage=correction.usage,
        price_version=correction.price_version,
        posted_at_ms=now_ms,
        reason=correction.reason,
    )
    return post(db, line)


def _charged(row: tuple[Any, ...]) -> Charged:
    hold_id, deployment, taken_at_ms, held, cost, basis, price_version, *tokens = row
    counts = dict(zip(Usage.__struct_fields__, tokens, strict=True))
    return Charged(
        hold_id=hold_id,
        deployment=deployment,
        taken_at_ms=taken_at_ms,
        held_nanousd=held,
        cost_nanousd=cost,
        basis=basis,
        price_version=price_version,
        usage=None if tokens[0] is None else Usage(**counts),
    )
