"""Room under ceilings: where a hold would take it, and if there is none, what stands in its way and until when."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import msgspec

from ledger.ceilings import HOUR_MS, NEVER_MS, Ceiling, Span, Unit, pressed_until_ms, strictest, window_span
from ledger.database import Database
from ledger.errors import Tight
from ledger.operations.crossings import first_line, shares_text, warn_anew
from ledger.operations.folded import folded_in
from ledger.operations.slices import recall_slices, sliced
from ledger.sql import statements
from ledger.values import Bid, Pressure, Refused

SQL: Final = statements("sqlite", "room")
# Nobody is told to come back sooner than this.
SOONEST_MS: Final = 1000


class Room(msgspec.Struct, frozen=True):
    """A place under one ceiling, in the window that the hold is taken in. pressure: with that hold, if it has any.

    amount: what the hold takes of it, in what the ceiling counts.
    """

    ceiling_id: str
    starts_at_ms: int
    amount: int
    pressure: Pressure | None


class CeilingNow(msgspec.Struct, frozen=True):
    """One ceiling in its window, as it stands. asked: what a hold would take of it."""

    ceiling: Ceiling
    span: Span
    limit: int
    held: int
    spent: int
    asked: int

    @property
    def place(self) -> tuple[str, int]:
        """Its row: the ceiling, and when the window begins."""
        return self.ceiling.id, self.span.starts_at_ms

    @property
    def room(self) -> int:
        """What is left. Below 0 after an overrun, a correction, or a limit that was lowered."""
        return self.limit - self.held - self.spent

    @property
    def is_tight(self) -> bool:
        return 0 < self.asked > self.room

    @property
    def fits_once_settled(self) -> bool:
        """A call that is under way stays one: settling it gives nothing back."""
        return self.ceiling.unit != "calls" and self.spent + self.asked <= self.limit

    @property
    def hopelessness(self) -> tuple[int, int]:
        """Of several that are tight, the greatest is the one to tell of: what it takes longest to have room again."""
        ends_at_ms = NEVER_MS if self.span.ends_at_ms is None else self.span.ends_at_ms
        if self.ceiling.unit == "usd":
            return (0, 0) if self.fits_once_settled else (2, ends_at_ms)
        return 1, NEVER_MS if self.asked > self.limit else ends_at_ms

    def taken(self, now_ms: int) -> Room:
        """The place that the hold takes, if there is room for it."""
        return Room(self.ceiling.id, self.span.starts_at_ms, self.asked, self.pressure(self.asked, now_ms))

    def pressure(self, more_held: int, now_ms: int) -> Pressure | None:
        """None: nobody asked what it would be."""
        ceiling, held = self.ceiling, self.held + more_held
        if ceiling.downgrade_at is None:
            return None
        until_ms = pressed_until_ms(ceiling, self.span, held=held, spent=self.spent, now_ms=now_ms)
        return Pressure(ceiling_id=ceiling.id, limit=ceiling.limit, until_ms=until_ms)


def find_room(
    db: Database, bid: Bid, ceilings: Sequence[Ceiling], now_ms: int, *, attempt: int = 1, opens: bool = True
) -> list[Room] | Refused:
    """A place under each of its ceilings; or the ceilings that have none. What asks for nothing always fits.

    Whoever bid may not have known of a ceiling yet, so a bid that is no bound is told from others here.
    opens False: it is only looked for, and nothing is written.
    """
    windows = _windows(db, bid, ceilings, now_ms, attempt=attempt, opens=opens)
    if unbounded := [window for window in windows if window.ceiling.unit in bid.unbounded_in]:
        pressures = _pressures(windows, now_ms)
        return Refused(_tight(unbounded[0], None), held=False, pressures=pressures, unbounded_by=bid.unbounded_by)
    tight = [window for window in windows if window.is_tight]
    if tight and (freed := _freed(db, tight, opens=opens)):
        windows = [msgspec.structs.replace(it, held=it.held - freed.get(it.ceiling.id, 0)) for it in windows]
        tight = [window for window in windows if window.is_tight]
    if not tight:
        return [window.taken(now_ms) for window in windows]
    worst = max(tight, key=lambda window: window.hopelessness)
    held = all(window.fits_once_settled for window in tight)
    return Refused(
        _tight(worst, _release_at_ms(db, worst, now_ms) if held else None),
        held=held,
        when_tight=strictest(window.ceiling.when_tight for window in tight),
        room_nanousd=_least_room(tight, "usd"),
        room_tokens=_least_room(tight, "tokens"),
        pressures=_pressures(windows, now_ms),
    )


def tightest(db: Database, bid: Bid, ceilings: Sequence[Ceiling], now_ms: int) -> Tight | None:
    """The ceiling that would be the first without room, were this bid made again and again. None: none minds it.

    Writes nothing.
    """
    windows = [window for window in _windows(db, bid, ceilings, now_ms, opens=False) if window.asked]
    binding = min(windows, key=lambda window: window.room // window.asked, default=None)
    return None if binding is None else _tight(binding, None)


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


def _windows(
    db: Database, bid: Bid, ceilings: Sequence[Ceiling], now_ms: int, *, attempt: int = 1, opens: bool
) -> list[CeilingNow]:
    """Each of these ceilings in its window, found in one look however many they are."""
    if not ceilings:
        return []
    places = [(ceiling.id, window_span(ceiling.window, now_ms)) for ceiling in ceilings]
    asked = [value for ceiling_id, span in places for value in (ceiling_id, span.starts_at_ms)]
    found = {row[0]: row[1:] for row in db.execute(_find_windows(len(places)), asked)}
    windows = []
    for ceiling, (ceiling_id, span) in zip(ceilings, places, strict=True):
        if ceiling_id not in found:
            found[ceiling_id] = (ceiling.limit, 0, folded_in(db, ceiling, span))
            if opens:
                _open_window(db, ceiling, span, now_ms, folded=found[ceiling_id][-1])
        limit_now, held, spent = found[ceiling_id]
        windows.append(CeilingNow(ceiling, span, limit_now, held, spent, bid.asks(ceiling.counts, attempt)))
    return windows


def _pressures(windows: Iterable[CeilingNow], now_ms: int) -> tuple[Pressure, ...]:
    return tuple(found for window in windows if (found := window.pressure(0, now_ms)) is not None)


@cache
def _find_windows(count: int) -> str:
    return "\n UNION ALL\n".join([SQL["find_window"]] * count)


def _freed(db: Database, windows: list[CeilingNow], *, opens: bool) -> dict[str, int]:
    """{ceiling: what its slices had left, and is given back}. opens False: what they have left, and nothing is done."""
    amount_of = recall_slices if opens else sliced
    freed = {window.ceiling.id: amount_of(db, window.ceiling.id, window.span.starts_at_ms) for window in windows}
    return {ceiling_id: amount for ceiling_id, amount in freed.items() if amount}


def _open_window(db: Database, ceiling: Ceiling, span: Span, now_ms: int, *, folded: int) -> None:
    limit = {"ceiling_id": ceiling.id, "counts": ceiling.counts, "limit_amount": ceiling.limit}
    named = {"scope": ceiling.scope, "window": ceiling.window, "when_tight": ceiling.when_tight}
    db.execute(SQL["name_ceiling"], {**limit, **named, "now_ms": now_ms, "warn_at": shares_text(ceiling)})
    window = {"starts_at_ms": span.starts_at_ms, "ends_at_ms": span.ends_at_ms, "warn_amount": first_line(ceiling)}
    spent = {"folded_amount": folded, "excused_amount": max(ceiling.limit, folded)}
    db.execute(SQL["open_window"], {**limit, **window, **spent})
    if folded:
        warn_anew(db, ceiling, {}, now_ms=now_ms)


def _least_room(tight: list[CeilingNow], unit: Unit) -> int | None:
    rooms = [window.room for window in tight if window.ceiling.unit == unit]
    return max(0, min(rooms)) if rooms else None


def _release_at_ms(db: Database, window: CeilingNow, now_ms: int) -> int:
    ceiling = window.ceiling
    place = {"ceiling_id": ceiling.id, "starts_at_ms": window.span.starts_at_ms, "counts": ceiling.counts}
    since_ms = now_ms - now_ms % HOUR_MS - HOUR_MS

    @cache
    def usual_ms(deployment: str) -> int | None:
        found: tuple[int | None] = db.execute(
            SQL["usual_latency"], {"deployment": deployment, "since_ms": since_ms}
        ).fetchone()
        return found[0]

    open_holds = db.execute(SQL["open_holds_under"], place)
    holds = ((held, taken_at_ms, usual_ms(deployment)) for held, taken_at_ms, deployment in open_holds)
    short = window.asked - window.room
    ends_at_ms = window.span.ends_at_ms
    return earliest_release_ms(
        holds, short, now_ms=now_ms, ends_at_ms=now_ms + HOUR_MS if ends_at_ms is None else ends_at_ms
    )


def _tight(window: CeilingNow, release_at_ms: int | None) -> Tight:
    return Tight(
        scope=window.ceiling.scope,
        window=window.ceiling.window,
        unit=window.ceiling.unit,
        limit=window.limit,
        spent=window.spent,
        held=window.held,
        asked=window.asked,
        window_ends_at_ms=window.span.ends_at_ms,
        earliest_release_at_ms=release_at_ms,
    )
