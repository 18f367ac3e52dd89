"""Settlements that share a batch: one statement, or one journey to a server, for each kind of thing.

What each comes to is worked out by the rules of `ledger.operations.settle`. A window that many of them are of is
written once, with all that they come to there. What is unusual, a hold that lapsed, a failure that is shared, an answer
that has to make room for itself, goes the way of a settlement alone, once the others are written.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.database import BatchDatabase
from ledger.operations.closed_holds import SQL as CLOSED_HOLDS
from ledger.operations.closed_holds import ClosedHold, came_to_of, held_of
from ledger.operations.crossings import tell_crossings
from ledger.operations.failed_flights import share_failure
from ledger.operations.generations import ending_row
from ledger.operations.idempotency import keep
from ledger.operations.latencies import count_latencies, latencies_of
from ledger.operations.postings import post_all
from ledger.operations.responses import SQL as RESPONSES
from ledger.operations.responses import store, storing_row
from ledger.operations.settle import (
    SQL,
    closing_row,
    correct_late,
    settle,
    settlement_line,
    tell_overrun,
    used_tokens,
    was_sent,
)
from ledger.values import AttemptResult, CacheBounds, Settlement, Storing


class _Closed(msgspec.Struct, frozen=True):
    """An attempt whose hold was closed just now, and when that was."""

    result: AttemptResult
    hold: ClosedHold
    now_ms: int

    @property
    def tokens(self) -> int:
        return used_tokens(self.result, self.hold.held_tokens)


def settle_together(db: BatchDatabase, settlements: Sequence[Settlement], *, bounds: CacheBounds) -> list[None]:
    """Do what `ledger.operations.settle.settle` does for each. Raises UsageDiffers: then none of it is to stand."""
    if len(settlements) == 1:
        settle(db, settlements[0], bounds=bounds)
        return [None]
    closed, late = _close(db, settlements)
    _move_room(db, closed)
    _post(db, [one for one in closed if one.result.cost_nanousd is not None])
    count_latencies(db, [span for one in closed for span in latencies_of(one.result, one.hold)])
    for result, now_ms in late:
        correct_late(db, result, now_ms=now_ms)
    db.executemany(SQL["end_generation"], [ending_row(settlement.ending) for settlement in settlements])
    led = _end_flights(db, settlements)
    leads = [settlement.flight is None or settlement.ending.generation_id in led for settlement in settlements]
    _store(db, [one for one, is_led in zip(settlements, leads, strict=True) if is_led or _replaces(one)], bounds)
    for settlement, is_led in zip(settlements, leads, strict=True):
        if settlement.failure is not None and is_led:
            share_failure(db, settlement, settlement.failure)
        if settlement.keeping is not None:
            keep(db, settlement.keeping)
    return [None] * len(settlements)


def _close(
    db: BatchDatabase, settlements: Sequence[Settlement]
) -> tuple[list[_Closed], list[tuple[AttemptResult, int]]]:
    """The attempts whose holds were open, and those whose holds had been closed before, each with its moment."""
    ending = [(result, one.ending.finished_at_ms) for one in settlements for result in one.attempts]
    rows = [closing_row(result, now_ms=now_ms) for result, now_ms in ending]
    found = db.change_each(SQL["close_hold"], rows, SQL["open_holds"])
    holds = {hold.hold_id: hold for hold in (ClosedHold(*row) for row in found)}
    closed, late = [], []
    for result, now_ms in ending:
        hold = holds.pop(result.hold_id, None)  # Whoever settles it again in this batch is late.
        if hold is None:
            late.append((result, now_ms))
        else:
            closed.append(_Closed(result, hold, now_ms))
    return closed, late


def _move_room(db: BatchDatabase, closed: list[_Closed]) -> None:
    """Put what the holds came to in the place of what they held, and tell what that crossed."""
    of_holds = defaultdict(list)
    for hold_id, *window in db.find_each(
        CLOSED_HOLDS["windows_of_holds"], [{"hold_id": one.hold.hold_id} for one in closed]
    ):
        of_holds[hold_id].append(window)
    given_back, came_to, warn_at = Counter[tuple[str, int]](), Counter[tuple[str, int]](), {}
    for one in closed:
        held, cost_nanousd = held_of(one.hold), one.result.cost_nanousd or 0
        sent = was_sent(one.result)
        amounts = came_to_of(one.hold, cost_nanousd=cost_nanousd, tokens=one.tokens, is_attempt=sent)
        for ceiling_id, starts_at_ms, counts, spent, warn_amount in of_holds[one.hold.hold_id]:
            place = (ceiling_id, starts_at_ms)
            given_back[place] += held[counts]
            came_to[place] += amounts[counts]
            warn_at[place] = None if warn_amount is None else warn_amount - spent
    moves = [
        {"ceiling_id": place[0], "starts_at_ms": place[1], "given_back": given_back[place], "came_to": came_to[place]}
        for place in warn_at
    ]
    db.executemany(CLOSED_HOLDS["move_room"], moves)
    crossing = [place for place, short in warn_at.items() if short is not None and came_to[place] >= short]
    if crossing:
        tell_crossings(db, crossing, now_ms=max(one.now_ms for one in closed))


def _post(db: BatchDatabase, charged: list[_Closed]) -> None:
    if not charged:
        return
    lines = [settlement_line(one.result, one.hold, one.tokens, now_ms=one.now_ms) for one in charged]
    first_seq = post_all(db, lines)
    for seq, (one, line) in enumerate(zip(charged, lines, strict=True), first_seq):
        tell_overrun(db, line, one.hold, seq=seq)


def _end_flights(db: BatchDatabase, settlements: Sequence[Settlement]) -> set[str]:
    """The generations that led theirs."""
    flights = [
        {"cache_key": settlement.flight, "generation_id": settlement.ending.generation_id}
        for settlement in settlements
        if settlement.flight is not None
    ]
    return {generation_id for (generation_id,) in db.change_each(SQL["end_flight"], flights, SQL["flights_led"])}


def _replaces(settlement: Settlement) -> bool:
    return settlement.storing is not None and settlement.storing.replaces


def _store(db: BatchDatabase, settlements: Sequence[Settlement], bounds: CacheBounds) -> None:
    """Store their answers: together where nothing has to make room for them."""
    storing = [(one.storing, one.ending.finished_at_ms) for one in settlements if one.storing is not None]
    if _fits(db, [answer for answer, _ in storing], bounds):
        rows = [storing_row(answer, now_ms=now_ms) for answer, now_ms in storing]
        db.executemany(RESPONSES["store_response"], rows)
        return
    for answer, now_ms in storing:
        store(db, answer, bounds, now_ms=now_ms)


def _fits(db: BatchDatabase, answers: list[Storing], bounds: CacheBounds) -> bool:
    keys = [{"cache_key": answer.cache_key} for answer in answers]
    totals: list[tuple[Any, ...]] = list(db.find_each(RESPONSES["stored_totals_each"], keys))
    if not totals or any(replaced is not None for _, _, replaced in totals):
        return False
    entries, stored_bytes, _ = totals[0]
    stored_bytes += sum(len(answer.response.body) for answer in answers)
    is_each_new = len({answer.cache_key for answer in answers}) == len(answers)
    return is_each_new and entries + len(answers) <= bounds.max_entries and stored_bytes <= bounds.max_bytes
