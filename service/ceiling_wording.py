"""What callers are told of a ceiling that has no room: which, how it stands, and when to come back."""

from typing import Any, Final

from ledger.errors import CeilingExceeded, CeilingHeld, RateLimited, Tight
from ledger.money import amount_fields
from ledger.reports import iso
from service.wording import Told, dollars, whole_seconds

_AMOUNTS: Final = ("limit", "spent", "held", "asked")
# To SDKs: the same call cannot fare better.
_NO_RETRY: Final = ((b"x-should-retry", "false"),)


def ceiling_exceeded(error: CeilingExceeded, _now_ms: int) -> Told:
    tight = error.tight
    return Told(
        f"{_ceiling(tight)} has {_amount(tight, tight.spent)} spent, and this call could cost "
        f"{_amount(tight, tight.asked)}. Ask for less (max_tokens), {_wait_until(tight)}raise the ceiling.",
        ceiling_fields(tight),
    )


def ceiling_held(error: CeilingHeld, now_ms: int) -> Told:
    tight = error.tight
    release_at_ms = tight.earliest_release_at_ms
    return Told(
        f"{_ceiling(tight)} has {_amount(tight, tight.held)} held for calls in progress; this one asks for "
        f"{_amount(tight, tight.asked)} and may fit once they settle. Try again soon.",
        ceiling_fields(tight),
        1 if release_at_ms is None else whole_seconds((release_at_ms - now_ms) / 1000),
    )


def rate_limited(error: RateLimited, now_ms: int) -> Told:
    tight = error.tight
    returns_at_ms = tight.earliest_release_at_ms if tight.window_ends_at_ms is None else tight.window_ends_at_ms
    less = " (max_tokens)" if tight.unit == "tokens" else ""
    if tight.can_never_fit:
        words = f"{_ceiling(tight)} never has room for this call, which asks for {_amount(tight, tight.asked)}. "
        words += f"Ask for less{less}, or raise the ceiling."
    else:
        words = f"{_ceiling(tight)} has {tight.spent:,} spent and {tight.held:,} held for calls in progress; this one "
        words += f"asks for {tight.asked:,}. "
        words += f"Ask for less{less}, {_wait_until(tight)}raise the ceiling." if less else _come_back(tight)
    return Told(
        words,
        ceiling_fields(tight),
        None if returns_at_ms is None else whole_seconds((returns_at_ms - now_ms) / 1000),
        _NO_RETRY if tight.can_never_fit or returns_at_ms is None else (),
    )


def ceiling_fields(tight: Tight) -> dict[str, Any]:
    """A ceiling as it stood, exactly."""
    stood = {name: getattr(tight, name) for name in _AMOUNTS}
    return {
        "scope": tight.scope,
        "window": tight.window,
        "unit": tight.unit,
        **amount_fields(stood, tight.unit),
        "window_ends_at": iso(tight.window_ends_at_ms),
    }


def _ceiling(tight: Tight) -> str:
    per = "in total" if tight.window == "total" else f"a {tight.window}"
    return f"The ceiling of {_amount(tight, tight.limit)} {per} for {tight.scope}"


def _amount(tight: Tight, amount: int) -> str:
    return dollars(amount) if tight.unit == "usd" else f"{amount:,} {tight.unit}"


def _wait_until(tight: Tight) -> str:
    return "or " if tight.window_ends_at_ms is None else f"wait until {iso(tight.window_ends_at_ms)}, or "


def _come_back(tight: Tight) -> str:
    if tight.window_ends_at_ms is None:
        return "It never returns: raise the ceiling."
    return f"The next {tight.window} begins at {iso(tight.window_ends_at_ms)}."
