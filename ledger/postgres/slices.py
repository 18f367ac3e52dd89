"""Which ceilings a replica keeps slices of, and how much: as many calls a second as are worth one, and no more."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from ledger.ceilings import Ceiling, window_span
from ledger.operations.admissions import Place
from ledger.operations.admit import SQL as ADMIT
from ledger.operations.slices import give_back_free
from ledger.postgres.connection import Session
from ledger.sql import statements
from ledger.values import Bid

SQL: Final = statements("postgres", "slices")
# A slice is a hundredth of the limit at most, and what is asked for in this many seconds.
MOST_SHARE: Final = 100
SECONDS_KEPT: Final = 2
# With less than a tenth of the limit left, there are single holds alone.
NEAR_SHARE: Final = 10
# So long after there was no room for a slice it is asked for again.
AGAIN_MS: Final = 1000
RATES_KEPT: Final = 1024


class _Rate(msgspec.Struct):
    """What is asked for under one ceiling: calls and amount in this second, and in the one before it.

    again_ms: a slice is not asked for before.
    """

    ceiling: Ceiling
    second: int
    calls: int = 0
    amount: int = 0
    calls_before: int = 0
    amount_before: int = 0
    again_ms: int = 0

    def turn_to(self, second: int) -> None:
        if second > self.second:
            is_next = second == self.second + 1
            self.calls_before, self.amount_before = (self.calls, self.amount) if is_next else (0, 0)
            self.second, self.calls, self.amount = second, 0, 0


class Slices:
    """A replica's slices, as it last saw them. The rows in the database are what counts.

    above_per_s: calls a second under one ceiling from which on there is a slice of it.
    """

    def __init__(self, above_per_s: int) -> None:
        self._above_per_s = above_per_s
        self._rates: dict[str, _Rate] = {}
        self._left: Mapping[Place, int] = {}

    def count(self, bid: Bid, ceilings: Iterable[Ceiling], now_ms: int) -> None:
        """A call asks for room under these."""
        if len(self._rates) > RATES_KEPT:
            self._rates = {name: rate for name, rate in self._rates.items() if rate.second >= now_ms // 1000 - 1}
        for ceiling in ceilings:
            rate = self._rates.get(ceiling.id)
            if rate is None:
                rate = self._rates[ceiling.id] = _Rate(ceiling, now_ms // 1000)
            rate.turn_to(now_ms // 1000)
            rate.ceiling = ceiling
            rate.calls += 1
            rate.amount += bid.asks(ceiling.counts)

    def cover(self, ceilings: Iterable[Ceiling], now_ms: int) -> bool:
        """Whether there is a slice of each of them."""
        places = [(ceiling.id, window_span(ceiling.window, now_ms).starts_at_ms) for ceiling in ceilings]
        return bool(places) and all(place in self._left for place in places)

    def see(self, left: Mapping[Place, int]) -> None:
        """What they have left, as it was found just now."""
        self._left = left

    def need_tending(self, now_ms: int) -> bool:
        """Whether one is to be taken, filled or given back."""
        hot = self._hot(now_ms)
        wanting = (place for place, rate in hot.items() if rate.again_ms <= now_ms and self._is_low(place, rate))
        return any(place not in hot for place in self._left) or any(wanting)

    def tend(self, db: Session, owner_id: str, now_ms: int) -> None:
        """In turn: take, fill and give back. Of a window that is nearly used up there is none."""
        hot = self._hot(now_ms)
        mine = {"owner_id": owner_id}
        left = {(ceiling, at_ms): free for ceiling, at_ms, free in db.execute(SQL["slices_of_owner"], mine)}
        for ceiling_id, starts_at_ms in [place for place in left if place not in hot]:
            place = {"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms}
            db.execute(SQL["end_slice"], {**place, **mine}).fetchall()
            give_back_free(db, ceiling_id, starts_at_ms, left.pop((ceiling_id, starts_at_ms)))
        places = [{"ceiling_id": ceiling_id, "starts_at_ms": at_ms} for ceiling_id, at_ms in sorted(hot)]
        for ceiling_id, starts_at_ms, limit, held, spent in db.find_each(ADMIT["windows_now"], places):
            rate, there = hot[ceiling_id, starts_at_ms], left.get((ceiling_id, starts_at_ms), 0)
            amount = more_for(rate.amount_before or rate.amount, there, limit=limit, room=limit - held - spent)
            if amount is None:
                rate.again_ms = now_ms + AGAIN_MS
            if not amount:
                continue
            row = {"ceiling_id": ceiling_id, "starts_at_ms": starts_at_ms, "amount": amount}
            db.execute(ADMIT["hold_in_window"], row)
            db.execute(SQL["take_slice"], {**row, **mine})
            left[ceiling_id, starts_at_ms] = there + amount
        self.see(left)

    def _hot(self, now_ms: int) -> dict[Place, _Rate]:
        found = {}
        for rate in list(self._rates.values()):
            rate.turn_to(now_ms // 1000)
            if max(rate.calls, rate.calls_before) > self._above_per_s:
                found[rate.ceiling.id, window_span(rate.ceiling.window, now_ms).starts_at_ms] = rate
        return found

    def _is_low(self, place: Place, rate: _Rate) -> bool:
        return self._left.get(place, 0) * 2 < size_of(rate.amount_before or rate.amount, limit=rate.ceiling.limit)


def size_of(amount_per_s: int, *, limit: int) -> int:
    """How large a slice is when it is full. Pure."""
    return min(limit // MOST_SHARE, amount_per_s * SECONDS_KEPT)


def more_for(amount_per_s: int, there: int, *, limit: int, room: int) -> int | None:
    """How much more a slice takes of its window; None: that is nearly used up, or too small for any. Pure."""
    size = size_of(amount_per_s, limit=limit)
    amount = max(0, size - there)
    return amount if size and (room - amount) * NEAR_SHARE >= limit else None
