"""Corrects what attempts cost, by compensating lines in the windows and the hour that their holds were taken in."""

from collections.abc import Sequence
from typing import Any, Final

from ledger.chain import Line
from ledger.corrections import Charged, Correction, NotCorrectable
from ledger.database import Database
from ledger.holds import HoldState
from ledger.operations.closed_holds import add_to_windows
from ledger.operations.postings import post
from ledger.operations.prices import record_prices
from ledger.sql import statements
from ledger.usage import Usage

SQL: Final = statements("sqlite", "corrections")


def charged_attempts(db: Database, *, until_ms: int, after: tuple[int, str], most: int) -> list[Charged]:
    """Charged attempts whose holds were taken before a moment, after (moment, id) in that order, at most so many."""
    place = {"until_ms": until_ms, "after_ms": after[0], "after_id": after[1], "most": most}
    return [_charged(db, hold)[0] for hold in db.execute(SQL["charged_holds"], place).fetchall()]


def attempts_of(db: Database, generation_id: str) -> list[tuple[str, str, str, str | None]]:
    """(hold id, deployment, state, outcome) of each attempt of a call, in order."""
    return db.execute(SQL["holds_of"], {"generation_id": generation_id}).fetchall()


def find_charged(db: Database, hold_id: str) -> Charged:
    """One attempt as its lines have it. Raises NotCorrectable for one that is not there, not over, or not whole."""
    hold = db.execute(SQL["find_hold"], {"hold_id": hold_id}).fetchone()
    if hold is None:
        raise NotCorrectable(f"there is no attempt {hold_id!r}")
    if hold[-1] == HoldState.HELD:
        raise NotCorrectable(f"the attempt {hold_id!r} is not over: what it costs is still to be settled")
    charged, is_closed = _charged(db, hold)
    if hold[-1] != HoldState.RELEASED and not is_closed:
        raise NotCorrectable(f"what the attempt {hold_id!r} cost was folded into a closing balance")
    return charged


def correct(db: Database, corrections: Sequence[Correction], *, now_ms: int) -> list[int]:
    """Write what is missing of each; the numbers of the new lines. What is so already is left: repeats change nothing.

    Raises NotCorrectable, and then none of them is written.
    """
    numbers = [_correct(db, correction, now_ms=now_ms) for correction in corrections]
    return [number for number in numbers if number is not None]


def _correct(db: Database, correction: Correction, *, now_ms: int) -> int | None:
    before = find_charged(db, correction.hold_id)
    if correction.supposes not in {None, before}:
        return None  # Somebody corrected it meanwhile: what was to be written was worked out from something else.
    if correction.usage is not None and before.usage is not None:
        raise NotCorrectable(f"the tokens of {correction.hold_id!r} are known: only its cost can be corrected")
    difference = correction.cost_nanousd - before.cost_nanousd
    if difference == 0 and correction.usage is None and correction.basis == before.basis:
        return None
    if correction.price is not None:
        record_prices(db, {before.deployment: correction.price})
    # Calls stay what they are; tokens change only where they become known.
    tokens = 0 if correction.usage is None else correction.usage.tokens - before.tokens
    add_to_windows(db, correction.hold_id, cost_nanousd=difference, tokens=tokens, now_ms=now_ms)
    line = Line(
        hold_id=correction.hold_id,
        kind="correction",
        cost_nanousd=difference,
        cost_basis=correction.basis,
        usage=correction.usage,
        price_version=correction.price_version,
        posted_at_ms=now_ms,
        tokens=tokens,
        reason=correction.reason,
    )
    return post(db, line)


def _charged(db: Database, hold: tuple[Any, ...]) -> tuple[Charged, bool]:
    """What a hold's lines come to, and whether its closing line is among them."""
    hold_id, deployment, taken_at_ms, held_nanousd, price_version, _ = hold
    lines = db.execute(SQL["lines_of_hold"], {"hold_id": hold_id}).fetchall()
    told = [line[6:] for line in lines if None not in line[6:]]
    charged = Charged(
        hold_id=hold_id,
        deployment=deployment,
        taken_at_ms=taken_at_ms,
        held_nanousd=held_nanousd,
        cost_nanousd=sum(line[2] for line in lines),
        tokens=sum(line[3] for line in lines),
        basis=lines[-1][4] if lines else "free",
        price_version=lines[-1][5] if lines else price_version,
        usage=Usage.of_counts(map(sum, zip(*told, strict=True))) if told else None,
    )
    return charged, any(line[1] != "correction" for line in lines)
