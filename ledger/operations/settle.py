"""Settlement: holds become postings, room goes back, the answer is stored, the flight ends; one transaction.

Source: DESIGN §3 step 5; invariants 2, 3, 6 and 7.
"""

from typing import Any, Final

import msgspec

from ledger.chain import Line
from ledger.database import Database
from ledger.errors import UsageDiffers
from ledger.events import EventRaised
from ledger.holds import TRANSITIONS, HoldEvent, HoldState
from ledger.money import amount_fields
from ledger.operations.closed_holds import ClosedHold, add_to_windows, give_back
from ledger.operations.events import raise_event
from ledger.operations.failed_flights import share_failure
from ledger.operations.generations import ending_row
from ledger.operations.idempotency import keep
from ledger.operations.latencies import count_latencies, latencies_of
from ledger.operations.postings import post
from ledger.operations.responses import store
from ledger.sql import statements
from ledger.usage import Usage
from ledger.values import AttemptResult, CacheBounds, Settlement

SQL: Final = statements("sqlite", "settle")


def settle(db: Database, settlement: Settlement, *, bounds: CacheBounds) -> None:
    """Close the attempts, end the generation, store its answer. Repeating it changes nothing.

    Raises UsageDiffers if an attempt was settled before with another amount.
    """
    ending = settlement.ending
    for result in settlement.attempts:
        close_attempt(db, result, now_ms=ending.finished_at_ms)
    db.execute(SQL["end_generation"], ending_row(ending))
    leads = True
    if settlement.flight is not None:
        flight = {"cache_key": settlement.flight, "generation_id": ending.generation_id}
        leads = bool(db.execute(SQL["end_flight"], flight).fetchall())
    if settlement.failure is not None and leads:
        share_failure(db, settlement, settlement.failure)
    storing = settlement.storing
    if storing is not None and (leads or storing.replaces):
        store(db, storing, bounds, now_ms=ending.finished_at_ms)
    if settlement.keeping is not None:
        keep(db, settlement.keeping)


def close_attempt(db: Database, result: AttemptResult, *, now_ms: int) -> None:
    """Turn one hold into what its attempt cost, or give it back. A hold that lapsed takes a correction instead."""
    closed = db.execute(SQL["close_hold"], closing_row(result, now_ms=now_ms)).fetchall()
    if not closed:
        correct_late(db, result, now_ms=now_ms)
        return
    hold = ClosedHold(*closed[0])
    tokens = used_tokens(result, hold.held_tokens)
    cost = {"cost_nanousd": result.cost_nanousd or 0, "tokens": tokens}
    give_back(db, hold, **cost, is_attempt=was_sent(result), now_ms=now_ms)
    if result.cost_nanousd is not None:
        _post_settlement(db, result, hold, tokens, now_ms=now_ms)
    count_latencies(db, latencies_of(result, hold))


def closing_row(result: AttemptResult, *, now_ms: int) -> dict[str, Any]:
    """What a hold is closed with."""
    event = HoldEvent.RELEASE if result.cost_nanousd is None else HoldEvent.CHARGE
    return {
        "hold_id": result.hold_id,
        "new_state": TRANSITIONS[HoldState.HELD, event],
        "closed_at_ms": now_ms,
        "outcome": result.outcome,
        "status": result.status,
        "latency_us": result.latency_us,
        "ttft_us": result.ttft_us,
        "error": result.error,
        "begun_at_us": result.begun_at_us,
        "hedge": result.hedge,
    }


def was_sent(result: AttemptResult) -> bool:
    """Whether it was, or may have been. What was released without a word from the provider was not."""
    return result.cost_nanousd is not None or result.status is not None


def used_tokens(result: AttemptResult, held_tokens: int) -> int:
    """All that was read and written; the whole hold where nobody knows."""
    if result.cost_nanousd is None:
        return 0
    return held_tokens if result.usage is None else result.usage.tokens


def correct_late(db: Database, result: AttemptResult, *, now_ms: int) -> None:
    """The hold was closed before: by this very settlement, which stands, or by a sweep that took us for dead.

    Raises UsageDiffers.
    """
    row = db.execute(SQL["find_closed_hold"], {"hold_id": result.hold_id}).fetchone()
    assert row is not None, f"there is no hold {result.hold_id}"
    state, outcome, held_tokens, charged_nanousd, corrected = row
    cost_nanousd = result.cost_nanousd or 0
    if state == HoldState.LAPSED:
        if corrected:
            return  # It was learned before, or an operator said what it cost.
        if result.cost_nanousd is None:
            # It was never sent, or refused: that nothing was used is known, so its tokens are given back too.
            result = msgspec.structs.replace(result, usage=Usage(), cost_basis="free")
        difference, tokens = cost_nanousd - (charged_nanousd or 0), used_tokens(result, held_tokens) - held_tokens
        add_to_windows(db, result.hold_id, cost_nanousd=difference, tokens=tokens, now_ms=now_ms)
        reason = f"usage learned after the hold lapsed: {result.outcome}"
        post(db, msgspec.structs.replace(_line(result, "correction", difference, tokens, now_ms), reason=reason))
    elif outcome != result.outcome or (charged_nanousd or 0) != cost_nanousd:
        raise UsageDiffers(result.hold_id)


def _post_settlement(db: Database, result: AttemptResult, hold: ClosedHold, tokens: int, *, now_ms: int) -> None:
    """The closing line, and an event, once, where it cost more than it held: a limit may have been passed."""
    line = settlement_line(result, hold, tokens, now_ms=now_ms)
    tell_overrun(db, line, hold, seq=post(db, line))


def settlement_line(result: AttemptResult, hold: ClosedHold, tokens: int, *, now_ms: int) -> Line:
    """The closing line of an attempt that is charged."""
    cost_nanousd = result.cost_nanousd or 0
    overrun_nanousd = max(0, cost_nanousd - hold.held_nanousd)
    line = _line(result, "settlement", cost_nanousd, tokens, now_ms)
    return msgspec.structs.replace(line, overrun_nanousd=overrun_nanousd)


def tell_overrun(db: Database, line: Line, hold: ClosedHold, *, seq: int) -> None:
    """Raise an event, once, if this line, number `seq`, passed its hold."""
    if not line.overrun_nanousd:
        return
    facts = {"seq": seq, "hold_id": line.hold_id, "deployment": hold.deployment}
    amounts = {"held": hold.held_nanousd, "cost": line.cost_nanousd, "overrun": line.overrun_nanousd}
    raised = EventRaised(
        type="posting.overrun",
        dedup_key=f"posting.overrun {line.hold_id}",
        at_ms=line.posted_at_ms,
        facts=facts | amount_fields(amounts, "usd"),
    )
    raise_event(db, raised)


def _line(result: AttemptResult, kind: str, cost_nanousd: int, tokens: int, now_ms: int) -> Line:
    return Line(
        hold_id=result.hold_id,
        kind=kind,
        cost_nanousd=cost_nanousd,
        cost_basis=result.cost_basis,
        usage=result.usage,
        price_version=result.price_version,
        posted_at_ms=now_ms,
        tokens=tokens,
    )
