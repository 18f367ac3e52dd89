"""Whether a ceiling falls before its window ends, if spending goes on as it does. Pure.

The rate is that of the last three whole days, so that nights and days weigh what they do, where a month's window has
seen as much and the ledger keeps its scope by the hour; else that of the window so far. Nothing is said in the first
tenth of a window, nor of a limit that would be passed by less than a tenth.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS, CeilingStatus
from ledger.events import EventRaised
from ledger.money import amount_fields
from ledger.reports import iso

RECENT_MS: Final = 3 * DAY_MS
# One part in so many of a window has to be over, and of a limit has to be passed.
_TENTH: Final = 10


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in what the ceiling counts. projected: at the window's end; falls_at_ms: when the limit is reached."""

    projected: int
    hourly: int
    falls_at_ms: int


def forecasts(statuses: Iterable[CeilingStatus], recent: Mapping[str, int], *, now_ms: int) -> Iterator[EventRaised]:
    """An event for each ceiling that will fall. recent: {scope: nano-dollars} of the last RECENT_MS."""
    for status in statuses:
        # A scope that is not kept by the hour is not there, and neither is one that spent nothing of late.
        is_dollars = status.unit == "usd" and status.window == "month"
        found = forecast(status, recent.get(status.scope) if is_dollars else None, now_ms=now_ms)
        if found is not None:
            yield _event(status, found, now_ms)


def forecast(status: CeilingStatus, recent: int | None, *, now_ms: int) -> Forecast | None:
    """None: it holds, or it is too early, or too late, to say. recent: what was spent in the last RECENT_MS."""
    starts_at_ms, ends_at_ms = status.starts_at_ms, status.ends_at_ms
    if ends_at_ms is None or status.window == "minute" or not 0 < status.spent < status.limit:
        return None
    elapsed_ms, left_ms = now_ms - starts_at_ms, ends_at_ms - now_ms
    if left_ms <= 0 or elapsed_ms * _TENTH < ends_at_ms - starts_at_ms:
        return None
    amount, over_ms = status.spent, elapsed_ms
    if recent and elapsed_ms >= RECENT_MS:
        amount, over_ms = recent, RECENT_MS
    projected = status.spent + amount * left_ms // over_ms
    if projected * _TENTH <= status.limit * (_TENTH + 1):
        return None
    falls_in_ms = -(-(status.limit - status.spent) * over_ms // amount)
    return Forecast(projected=projected, hourly=amount * HOUR_MS // over_ms, falls_at_ms=now_ms + falls_in_ms)


def _event(status: CeilingStatus, found: Forecast, now_ms: int) -> EventRaised:
    amounts = {
        "limit": status.limit,
        "spent": status.spent,
        "held": status.held,
        "projected": found.projected,
        "hourly": found.hourly,
    }
    facts = {
        "scope": status.scope,
        "window": status.window,
        "unit": status.unit,
        **amount_fields(amounts, status.unit),
        "falls_at": iso(found.falls_at_ms),
        "window_starts_at": iso(status.starts_at_ms),
        "window_ends_at": iso(status.ends_at_ms),
    }
    # As for the lines that are crossed: whoever changes the limit wants to know of the new one.
    key = f"ceiling.forecast {status.id} {status.starts_at_ms} {status.limit}"
    return EventRaised(type="ceiling.forecast", dedup_key=key, at_ms=now_ms, facts=facts)
