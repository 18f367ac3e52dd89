"""What may be asked of the reports. Moments are milliseconds UTC; since is included, until is not; None: no bound."""

import datetime
from typing import Final, overload

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS, MINUTE_MS

SPEND_DIMENSIONS: Final = (
    "model",
    "provider",
    "key",
    "team",
    "user",
    "workflow",
    "run",
    "route",
    "hour",
    "day",
    "month",
    "basis",
    "outcome",
)
LATENCY_DIMENSIONS: Final = ("model", "provider", "hour", "day", "month")
# {dimension of time: how much of an ISO moment says it}.
MOMENT_LENGTHS: Final = {"hour": 13, "day": 10, "month": 7}
_UNITS_MS: Final = {"s": 1000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
# The moments that ISO 8601 has words for: 0001-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z.
FIRST_MS: Final = -62_135_596_800_000
LAST_MS: Final = 253_402_300_799_999
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class SpendQuery(msgspec.Struct, frozen=True, kw_only=True):
    """group_by and filters use the names in SPEND_DIMENSIONS; every row matches all filters exactly.

    top: keep apart only so many of what it is grouped by, moments aside, those of the highest cost; 0: all.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    group_by: tuple[str, ...] = ()
    filters: dict[str, str] = {}
    top: int = 0


class LatencyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """group_by and filters use the names in LATENCY_DIMENSIONS."""

    since_ms: int | None = None
    until_ms: int | None = None
    group_by: tuple[str, ...] = ()
    filters: dict[str, str] = {}


class GenerationsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Calls, newest first, by when they began. filters as a SpendQuery's; a call's model is the one that answered.

    before: the `next` of the page before this one. None: from the newest on.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    filters: dict[str, str] = {}
    limit: int = 100
    before: str | None = None


class Spans(msgspec.Struct, frozen=True, kw_only=True):
    """Spans of time in milliseconds; None where nothing was measured. Quantiles are within 2 %.

    errors: attempts that failed, which have no part in it.
    """

    count: int
    errors: int
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers took. count: attempts that answered; errors: attempts that failed, which have no part in it.

    ttft: the same to first output, of attempts whose upstream call was streamed.
    """

    count: int
    errors: int
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    ttft: Spans


class Spend(msgspec.Struct):
    """What was spent, and on what. The fields of CONTRACT §5; prompt_tokens include cached ones, completion reasoning.

    wasted_nanousd: of attempts whose output nobody used. estimated_nanousd: of attempts whose newest line is of basis
    `estimated` or `unknown`.
    """

    cost_nanousd: int = 0
    estimated_nanousd: int = 0
    held_nanousd: int = 0
    saved_nanousd: int = 0
    wasted_nanousd: int = 0
    generations: int = 0
    attempts: int = 0
    cache_hits: int = 0
    coalesced: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, other: "Spend", *, sign: int = 1) -> None:
        """Add another group in, or take it out again."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))


class UnknownPage(ValueError):
    """`before` is not the `next` of any page."""


class OutOfTime(ValueError):
    """A moment in no year from 1 to 9999, or a span that is longer than those: no report can write it."""


class UnknownDimension(ValueError):
    """A report was asked for by something that it does not keep apart."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"{name!r} is not one of {', '.join(known)}")
        self.name = name
        self.known = known


def check_query(query: SpendQuery | LatencyQuery) -> None:
    """Raise ValueError for what no report can be of: a name that is not known, a window that ends before it begins."""
    if ends_first(query.since_ms, query.until_ms):
        raise ValueError(f"the window ends at {iso(query.until_ms)}, before it begins at {iso(query.since_ms)}")
    known = SPEND_DIMENSIONS if isinstance(query, SpendQuery) else LATENCY_DIMENSIONS
    for name in (*query.group_by, *query.filters):
        if name not in known:
            raise UnknownDimension(name, known)


def ends_first(since_ms: int | None, until_ms: int | None) -> bool:
    """Whether a window has its ends the wrong way round."""
    return since_ms is not None and until_ms is not None and until_ms < since_ms


def page_name(created_at_ms: int, generation_id: str) -> str:
    """What `before` must be for the page that follows this call."""
    return f"{created_at_ms}-{generation_id}"


def page_place(before: str) -> tuple[int, str]:
    """(created_at_ms, generation_id) of the last call of the page before. Raises UnknownPage."""
    created_at_ms, dash, generation_id = before.partition("-")
    if not (created_at_ms.isascii() and created_at_ms.isdigit() and len(created_at_ms) < 16 and dash):
        raise UnknownPage(before)
    return int(created_at_ms), generation_id


@overload
def iso(moment_ms: int) -> str: ...


@overload
def iso(moment_ms: None) -> None: ...


@overload
def iso(moment_ms: int | None) -> str | None: ...


def iso(moment_ms: int | None) -> str | None:
    """A moment as ISO 8601 in UTC, to the millisecond; None stays None.

    One that it has no words for is the first or the last that it has: a report that holds such a one is still read.
    """
    if moment_ms is None:
        return None
    moment = _EPOCH + datetime.timedelta(milliseconds=min(max(moment_ms, FIRST_MS), LAST_MS))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(dimension: str, at_ms: int) -> str:
    """The hour, day or month that this moment is in, as reports write it."""
    moment = iso(at_ms)[: MOMENT_LENGTHS[dimension]]
    return moment + ":00:00Z" if dimension == "hour" else moment


def is_moment_of(dimension: str, text: str) -> bool:
    """Whether reports would write any hour, day or month so."""
    try:
        return moment_of(dimension, parse_moment(text + "-01" if dimension == "month" else text, 0)) == text
    except (ValueError, OverflowError):
        return False


def ms_of_us(us: int | None) -> float | None:
    """Microseconds as the milliseconds that reports tell; None stays None."""
    return None if us is None else round(us / 1000, 3)


def parse_span_ms(text: str) -> int | None:
    """The milliseconds in `90s`, `15m`, `24h`, `30d` or `2w`. None: it is no span.

    Raises OutOfTime for one that is longer than all time between FIRST_MS and LAST_MS.
    """
    count, unit_ms = text[:-1], _UNITS_MS.get(text[-1:])
    if unit_ms is None or not count.isdecimal():
        return None
    # Python reads no more than 4,300 digits.
    if len(count) > len(str(LAST_MS)) or int(count) * unit_ms > LAST_MS - FIRST_MS:
        raise OutOfTime(f"{text!r} is longer than the years 1 to 9999")
    return int(count) * unit_ms


def parse_moment(text: str, now_ms: int) -> int:
    """A moment in milliseconds from an ISO date or time (UTC where it does not say), or a span back from now: `24h`.

    Raises OutOfTime for one in no year from 1 to 9999, and ValueError for anything else.
    """
    span_ms = parse_span_ms(text)
    moment_ms = _iso_ms(text) if span_ms is None else now_ms - span_ms
    if not FIRST_MS <= moment_ms <= LAST_MS:
        raise OutOfTime(f"{text!r} lies in no year from 1 to 9999 (UTC)")
    return moment_ms


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no moment; write 2026-11-21, 2026-11-21T10:00:00Z, 24h or 7d") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
