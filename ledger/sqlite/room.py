"""Room under ceilings: where a hold would take it, and if there is none, what stands in its way and until when."""

import sqlite3
from collections.abc import Iterable
from functools import cache
from typing import Final

import msgspec

from ledger.ceilings import HOUR_MS, Ceiling, Span, pressed_until_ms, strictest, window_span
from ledger.errors import Tight
from ledger.sql import statements
from ledger.values import Bid, Pressure, Refused

SQL: Final = statements("sqlite", "room")
# Nobody is told to come back sooner than this.
SOONEST_MS: Final = 1000


class Room(msgspec.Struct, frozen=True):
    """A place under one ceiling, in the window that the hold is taken in. pressure: with that hold, if it has any."""

    ceiling_id: str
    starts_at_ms: int
    pressure: Pressure | None


class _Window(msgspec.Struct, frozen=True):
    """One ceiling in its window, as it stands."""

    ceiling: Ceiling
    span: Span
    limit: int
    held: int
    spent: int

    def fits(self, amount: int) -> bool:
        return self.held + self.spent + amount <= self.limit

    def fits_once_settled(self, amount: int) -> bool:
        return self.spent + amount <= self.limit

    def pressure(self, more_held: int, now_ms: int) -> Pressure | None:
        """None: nobody asked what it would be."""
        ceiling, held = self.ceiling, self.held + more_held
        if ceiling.downgrade_at is None:
            return None
        until_ms = pressed_until_ms(ceiling, self.span, held=held, spent=self.spent, now_ms=now_ms)
        return Pressure(ceiling_id=ceiling.id, limit_nanousd=ceiling.limit_nanousd, until_ms=until_ms)


def find_room(
    db: sqlite3.Connection, bid: Bid, ceilings: list[Ceiling], now_ms: int, *, opens: bool = True
) -> list[Room] | Refused:
    """A place under each of its ceilings; or the ceilings that have none. A free attempt always fits.

    opens False: it is only looked for, and nothing is written.
    """
    windows = [_window(db, ceiling, now_ms, opens=opens) for ceiling in ceilings]
    asked = bid.held_nanousd
    tight = [window for window in windows if asked > 0 and not window.fits(asked)]
    if not tight:
        return [Room(window.ceiling.id, window.span.starts_at_ms, window.pressure(asked, now_ms)) for window in windows]
    # Of several, the one that no settling helps is the one to tell of.
    worst = next((window for window in tight if not window.fits_once_settled(asked)), tight[0])
    held = worst.fits_once_settled(asked)
    return Refused(
        _tight(worst, asked, _release_at_ms(db, worst, asked, now_ms) if held else None),
        held=held,
        when_tight=strictest(window.ceiling.when_tight for window in tight),
        room_nanousd=max(0, min(window.limit - window.held - window.spent for window in tight)),
        pressures=tuple(found for window in windows if (found := window.pressure(0, now_ms)) is not None),
    )


def tightest(db: sqlite3.Connection, bid: Bid, ceilings: list[Ceiling], now_ms: int) -> Tight | None:
    """The ceiling that would be the first without room, were this bid made again and again. None: none minds it.

    Writes nothing.
    """
    asked = bid.held_nanousd
    if not asked:
        return None
    windows = [_window(db, ceiling, now_ms, opens=False) for ceiling in ceilings]
    binding = min(windows, key=lambda window: window.limit - window.held - window.spent, default=None)
    return None if binding is None else _tight(binding, asked, None)


def earliest_release_ms(
    holds: Iterable[tuple[int, int, int | None]], short: int, *, now_ms: int, ends_at_ms: int
) -> int:
    """When enough open holds may have settled. Pure.

    holds: (held, taken at, what calls there usually take in milliseconds or None), the oldest first. short: how much
    room is missing. Never before a second from now, never past the window's end.
    """
    moment_ms = now_ms
    for held, taken_at_ms, usual_ms in holds:
        moment_ms = max(moment_ms, taken_at_ms + (usual_ms or 0))
        short -= held
        if short <= 0:
            break
    return min(max(moment_ms, now_ms + SOONEST_MS), max(ends_at_ms, now_ms + SOONEST_MS))


def _window(db: sqlite3.Connection, ceiling: Ceiling, now_ms: int, *, opens: bool) -> _Window:
    span = window_span(ceiling.window, now_ms)
    place = {"ceiling_id": ceiling.id, "starts_at_ms": span.starts_at_ms}
    row = db.execute(SQL["find_window"], place).fetchone()
    limit, held, spent = row or (ceiling.limit_nanousd, 0, 0)
    if row is None and opens:
        named = {"ceiling_id": ceiling.id, "scope": ceiling.scope, "window": ceiling.window, "limit_nanousd": limit}
        db.execute(SQL["name_ceiling"], {**named, "when_tight": ceiling.when_tight, "now_ms": now_ms})
        db.execute(SQL["open_window"], {**place, "ends_at_ms": span.ends_at_ms, "limit_nanousd": limit})
    return _Window(ceiling, span, limit, held, spent)


def _release_at_ms(db: sqlite3.Connection, window: _Window, asked: int, now_ms: int) -> int:
    place = {"ceiling_id": window.ceiling.id, "starts_at_ms": window.span.starts_at_ms}
    since_ms = now_ms - now_ms % HOUR_MS - HOUR_MS

    @cache
    def usual_ms(deployment: str) -> int | None:
        found: tuple[int | None] = db.execute(
            SQL["usual_latency"], {"deployment": deployment, "since_ms": since_ms}
        ).fetchone()
        return found[0]

    open_holds = db.execute(SQL["open_holds_under"], place)
    holds = ((held, taken_at_ms, usual_ms(deployment)) for held, taken_at_ms, deployment in open_holds)
    short = window.held + window.spent + asked - window.limit
    ends_at_ms = window.span.ends_at_ms
    return earliest_release_ms(
        holds, short, now_ms=now_ms, ends_at_ms=now_ms + HOUR_MS if ends_at_ms is None else ends_at_ms
    )


def _tight(window: _Window, asked: int, release_at_ms: int | None) -> Tight:
    return Tight(
        scope=window.ceiling.scope,
        window=window.ceiling.window,
        limit_nanousd=window.limit,
        spent_nanousd=window.spent,
        held_nanousd=window.held,
        asked_nanousd=asked,
        window_ends_at_ms=window.span.ends_at_ms,
        earliest_release_at_ms=release_at_ms,
    )
