"""Settlement: holds become postings, room goes back, the answer is stored, the flight ends; one transaction.

Source: DESIGN §3 step 5; invariants 2, 3, 6 and 7.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ledger.ceilings import HOUR_MS, Counts
from ledger.chain import Line
from ledger.database import Database
from ledger.errors import UsageDiffers
from ledger.events import EventRaised
from ledger.holds import TRANSITIONS, HoldEvent, HoldState
from ledger.latency import bucket_of
from ledger.money import amount_fields
from ledger.operations.admit import generation_row
from ledger.operations.crossings import tell_crossings
from ledger.operations.events import raise_event
from ledger.operations.idempotency import keep
from ledger.operations.postings import post
from ledger.sql import statements
from ledger.usage import Usage
from ledger.values import AttemptResult, CacheBounds, Ending, GenerationFacts, Keeping, Settlement, Storing

SQL: Final = statements("sqlite", "settle")
RECORD: Final = statements("sqlite", "admit")["record_generation"]
EXPIRED_PER_SWEEP: Final = 500
# Followers elsewhere look five times a second; this much longer, a busy process may still be on its way to look.
FAILURE_SHARED_MS: Final = 15_000
FAILURES_SHARED: Final = 5000


# {what a window counts: so much of it}
Amounts = dict[Counts, int]
# How long something took: its deployment, hour, kind and bucket, and the microseconds.
Span = tuple[tuple[str, int, str, int], int]
NOTHING: Final[Amounts] = {"nanousd": 0, "tokens": 0, "calls": 0, "attempts": 0}


class ClosedHold(msgspec.Struct, frozen=True):
    """What a hold that was just closed had taken, of whom and when."""

    held_nanousd: int
    held_tokens: int
    attempt: int
    deployment: str
    taken_at_ms: int
    hold_id: str


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


def record_follower(
    db: Database, facts: GenerationFacts, ending: Ending, *, leader_id: str, keeping: Keeping | None = None
) -> None:
    """Put a call on record that was answered by another one's flight. It has no hold and cost nothing."""
    row = {
        **generation_row(facts),
        "cache": "coalesced",
        "deployment": ending.deployment,
        "served_by": leader_id,
        "outcome": ending.outcome,
        "cost_basis": ending.cost_basis,
        "saved_nanousd": ending.saved_nanousd,
        "finished_at_ms": ending.finished_at_ms,
        "latency_us": ending.latency_us,
        "ttft_us": ending.ttft_us,
        "error_code": ending.error_code or None,
    }
    db.execute(RECORD, row)
    if keeping is not None:
        keep(db, keeping)


def drop_expired(db: Database, *, now_ms: int) -> int:
    """Drop what is shared and its time is over: failures, and EXPIRED_PER_SWEEP answers at most. Returns how many."""
    forgotten = db.execute(SQL["forget_failures"], {"now_ms": now_ms}).rowcount
    return forgotten + db.execute(SQL["drop_expired"], {"now_ms": now_ms, "most": EXPIRED_PER_SWEEP}).rowcount


def find_failure(db: Database, leader_id: str, *, now_ms: int) -> bytes | None:
    """What the flight that this generation led left for calls in other processes, if it failed just now."""
    row = db.execute(SQL["find_failure"], {"generation_id": leader_id, "now_ms": now_ms}).fetchone()
    return None if row is None else row[0]


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


def give_back(db: Database, hold: ClosedHold, *, cost_nanousd: int, tokens: int, is_attempt: bool, now_ms: int) -> None:
    """Put what a hold came to in the place of what it held, in all its windows. is_attempt: it was, or may be, sent.

    A call counts as one however its first attempt ended: it was admitted.
    """
    came_to = came_to_of(hold, cost_nanousd=cost_nanousd, tokens=tokens, is_attempt=is_attempt)
    _move_room(db, hold.hold_id, held_of(hold), came_to, now_ms=now_ms)


def held_of(hold: ClosedHold) -> Amounts:
    """What it had taken of its windows."""
    is_call = int(hold.attempt == 1)
    return {"nanousd": hold.held_nanousd, "tokens": hold.held_tokens, "calls": is_call, "attempts": 1}


def came_to_of(hold: ClosedHold, *, cost_nanousd: int, tokens: int, is_attempt: bool) -> Amounts:
    """What it leaves there as spent."""
    is_call = int(hold.attempt == 1)
    return {"nanousd": cost_nanousd, "tokens": tokens, "calls": is_call, "attempts": int(is_attempt)}


def add_to_windows(db: Database, hold_id: str, *, cost_nanousd: int, tokens: int, now_ms: int) -> None:
    """Add a correction's differences to all windows of its hold. It stays a call."""
    difference: Amounts = {**NOTHING, "nanousd": cost_nanousd, "tokens": tokens}
    _move_room(db, hold_id, NOTHING, difference, now_ms=now_ms)


def _move_room(db: Database, hold_id: str, given_back: Amounts, came_to: Amounts, *, now_ms: int) -> None:
    """In every window of this hold, in what the window counts; and tell what that crossed.

    Each window is written by its key: one statement for all of them has SQLite build three tables to find them.
    """
    windows = db.execute(SQL["windows_of_hold"], {"hold_id": hold_id}).fetchall()
    moves = [
        {
            "ceiling_id": ceiling_id,
            "starts_at_ms": starts_at_ms,
            "given_back": given_back[counts],
            "came_to": came_to[counts],
        }
        for ceiling_id, starts_at_ms, counts, _, _ in windows
    ]
    db.executemany(SQL["move_room"], moves)
    crossing = [
        (ceiling_id, starts_at_ms)
        for ceiling_id, starts_at_ms, counts, spent, warn_amount in windows
        if warn_amount is not None and spent + came_to[counts] >= warn_amount
    ]
    tell_crossings(db, crossing, now_ms=now_ms)


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


def used_tokens(result: AttemptResult, held_tokens: int) -> int:
    """All that was read and written; the whole hold where nobody knows."""
    if result.cost_nanousd is None:
        return 0
    return held_tokens if result.usage is None else result.usage.tokens


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


def count_latencies(db: Database, spans: Iterable[Span]) -> None:
    """Add up how long things took."""
    counted: dict[tuple[str, int, str, int], list[int]] = defaultdict(list)
    for place, us in spans:
        counted[place].append(us)
    rows = [
        {
            **dict(zip(("deployment", "hour_ms", "kind", "bucket"), place, strict=True)),
            "count": len(us),
            "sum_us": sum(us),
            "max_us": max(us),
        }
        for place, us in counted.items()
    ]
    db.executemany(SQL["count_latency"], rows)


def latencies_of(result: AttemptResult, hold: ClosedHold) -> list[Span]:
    """What is counted of how long it took: nothing of an attempt that was given up."""
    hour_ms = hold.taken_at_ms - hold.taken_at_ms % HOUR_MS
    if result.outcome == "aborted":
        return []
    if result.outcome != "ok":
        return [((hold.deployment, hour_ms, "error", 0), 0)]
    took = {"total": result.latency_us} | ({} if result.ttft_us is None else {"ttft": result.ttft_us})
    return [((hold.deployment, hour_ms, kind, bucket_of(us)), us) for kind, us in took.items()]


def share_failure(db: Database, settlement: Settlement, failure: bytes) -> None:
    """Leave how this flight failed for calls elsewhere that waited for it."""
    now_ms = settlement.ending.finished_at_ms
    row = {
        "generation_id": settlement.ending.generation_id,
        "failure": failure,
        "now_ms": now_ms,
        "until_ms": now_ms + FAILURE_SHARED_MS,
    }
    shared = db.execute(SQL["share_failure"], row).fetchone()
    if shared is not None:
        db.execute(SQL["forget_failures_before"], {"failure_id": shared[0] - FAILURES_SHARED})


def ending_row(ending: Ending) -> dict[str, Any]:
    """How a generation ended, in columns."""
    return {
        "generation_id": ending.generation_id,
        "outcome": ending.outcome,
        "deployment": ending.deployment,
        "cost_basis": ending.cost_basis,
        "finished_at_ms": ending.finished_at_ms,
        "latency_us": ending.latency_us,
        "ttft_us": ending.ttft_us,
        "estimated_prompt_tokens": ending.estimated_prompt_tokens,
        "error_code": ending.error_code or None,
    }


def store(db: Database, storing: Storing, bounds: CacheBounds, *, now_ms: int) -> None:
    """Put an answer in the place of what is under its key, within bounds."""
    response = storing.response
    entries, stored_bytes, replaced_bytes = db.execute(
        SQL["stored_totals"], {"cache_key": storing.cache_key}
    ).fetchone()
    if replaced_bytes is not None:
        db.execute(SQL["drop_response"], {"cache_key": storing.cache_key})
        entries, stored_bytes = entries - 1, stored_bytes - replaced_bytes
    if len(response.body) > bounds.max_bytes or bounds.max_entries < 1:
        return
    # What would expire soonest makes room, until one more entry of this size fits the bounds.
    while entries >= bounds.max_entries or stored_bytes + len(response.body) > bounds.max_bytes:
        cache_key, size = db.execute(SQL["soonest_to_expire"]).fetchone()
        db.execute(SQL["drop_response"], {"cache_key": cache_key})
        entries, stored_bytes = entries - 1, stored_bytes - size
    db.execute(SQL["store_response"], storing_row(storing, now_ms=now_ms))


def storing_row(storing: Storing, *, now_ms: int) -> dict[str, Any]:
    """The columns of a stored answer."""
    response, is_elsewhere = storing.response, storing.checksum is not None
    return {
        "cache_key": storing.cache_key,
        "generation_id": response.generation_id,
        "deployment": response.deployment,
        "cost_nanousd": response.cost_nanousd,
        "cost_basis": response.cost_basis,
        "stored_at_ms": now_ms,
        "expires_at_ms": storing.expires_at_ms,
        "body": b"" if is_elsewhere else response.body,
        "checksum": storing.checksum,
        "elsewhere_bytes": len(response.body) if is_elsewhere else 0,
    }
