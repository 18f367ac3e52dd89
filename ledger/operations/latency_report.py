"""How long answers took: whole days and hours from the bucket counts, parts of hours at the edges from the attempts."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ledger.ceilings import DAY_MS, HOUR_MS
from ledger.database import Database
from ledger.latency import Tally, bucket_of
from ledger.reports import Latency, LatencyQuery, Spans, iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "reports")
_FAR_MS: Final = 1 << 48
_NUMBERS: Final = msgspec.json.Decoder(list[int])


class Count(msgspec.Struct, frozen=True):
    """Spans of one kind at one deployment; hour_ms: in the hour or day that begins then."""

    deployment: str
    kind: str
    hour_ms: int
    tally: Tally


class Group(msgspec.Struct):
    """One row in the making."""

    total: Tally = msgspec.field(default_factory=Tally)
    ttft: Tally = msgspec.field(default_factory=Tally)
    errors: int = 0

    def add(self, count: Count) -> None:
        """Take one count in."""
        if count.kind == "error":
            self.errors += count.tally.count
            return
        tally = self.total if count.kind == "total" else self.ttft
        tally.merge(count.tally)

    def merge(self, other: "Group") -> None:
        """Take all of another in."""
        self.errors += other.errors
        self.total.merge(other.total)
        self.ttft.merge(other.ttft)

    def latency(self) -> Latency:
        """The group's figures."""
        ttft = Spans(count=self.ttft.count, errors=self.errors, **self.ttft.summary())
        return Latency(count=self.total.count, errors=self.errors, **self.total.summary(), ttft=ttft)


def latency_report(db: Database, *, query: LatencyQuery) -> dict[str, Any]:
    """The report of CONTRACT §5. Quantiles are within 2 % of the exact order statistic over any window."""
    total, groups = latency_by(db, query)
    rows = [dict(zip(query.group_by, key, strict=True)) | asdict(group) for key, group in sorted(groups.items())]
    return {
        "since": iso(query.since_ms),
        "until": iso(query.until_ms),
        "group_by": list(query.group_by),
        "total": asdict(total),
        "rows": rows if query.group_by else [],
    }


def latency_by(db: Database, query: LatencyQuery) -> tuple[Latency, dict[tuple[str, ...], Latency]]:
    """(all together, {the values of query.group_by: how long answers took})."""
    groups = dict[tuple[str, ...], Group]()
    # A hundred buckets of one deployment and hour have one place between them. None: they are filtered out.
    places = dict[tuple[str, int], Group | None]()
    for count in _counts(db, query):
        place = (count.deployment, count.hour_ms)
        if place not in places:
            key = _key_of(*place, query)
            places[place] = None if key is None else groups.setdefault(key, Group())
        if (group := places[place]) is not None:
            group.add(count)
    total = Group()
    for group in groups.values():
        total.merge(group)
    return total.latency(), {key: group.latency() for key, group in groups.items()}


def asdict(latency: Latency) -> dict[str, Any]:
    """As the report has it."""
    report: dict[str, Any] = msgspec.to_builtins(latency)
    return report


def _counts(db: Database, query: LatencyQuery) -> Iterator[Count]:
    """Whole days, the whole hours at their ends, and the single attempts at the ends of those."""
    since_ms = 0 if query.since_ms is None else query.since_ms
    until_ms = _FAR_MS if query.until_ms is None else query.until_ms
    named = {*query.group_by, *query.filters}
    unit_ms = HOUR_MS if "hour" in named else DAY_MS if named & {"day", "month"} else _FAR_MS
    hours = _whole(since_ms, until_ms, HOUR_MS)
    days = hours if "hour" in named else _whole(*hours, DAY_MS)
    apart = {HOUR_MS: "each_hour", DAY_MS: "each_day"}.get(unit_ms)
    yield from _single(db, since_ms, hours[0])
    yield from _added_up(db, "whole_hours", (hours[0], days[0]), unit_ms)
    if apart is None:
        yield from _added_up(db, "whole_days", days, unit_ms)
    elif days[0] < days[1]:
        yield from _apart(db, apart, days)
    yield from _added_up(db, "whole_hours", (days[1], hours[1]), unit_ms)
    yield from _single(db, hours[1], until_ms)


def _added_up(db: Database, statement: str, span: tuple[int, int], unit_ms: int) -> Iterator[Count]:
    if span[0] < span[1]:
        values = {"since_ms": span[0], "until_ms": span[1], "unit_ms": unit_ms}
        for deployment, kind, at_ms, bucket, count, sum_us, max_us in db.execute(SQL[statement], values):
            yield Count(deployment, kind, at_ms, Tally(count, sum_us, max_us, {bucket: count}))


def _apart(db: Database, statement: str, span: tuple[int, int]) -> Iterator[Count]:
    """A row holds all buckets of a deployment, kind and hour or day: there are a hundred of them."""
    for row in db.execute(SQL[statement], {"since_ms": span[0], "until_ms": span[1]}):
        deployment, kind, at_ms, count, sum_us, max_us, buckets, counts = row
        told = dict(zip(_NUMBERS.decode(buckets), _NUMBERS.decode(counts), strict=True))
        yield Count(deployment, kind, at_ms, Tally(count, sum_us, max_us, told))


def _whole(since_ms: int, until_ms: int, unit_ms: int) -> tuple[int, int]:
    """The whole units in a window; where there is none, an empty span at its end."""
    first_ms, last_ms = -(-since_ms // unit_ms) * unit_ms, until_ms // unit_ms * unit_ms
    return (first_ms, last_ms) if first_ms < last_ms else (until_ms, until_ms)


def _single(db: Database, since_ms: int, until_ms: int) -> Iterator[Count]:
    if since_ms >= until_ms:
        return
    span = {"since_ms": since_ms, "until_ms": until_ms}
    for deployment, taken_at_ms, outcome, latency_us, ttft_us in db.execute(SQL["single_attempts"], span):
        hour_ms = taken_at_ms - taken_at_ms % HOUR_MS
        if outcome != "ok":
            yield Count(deployment, "error", hour_ms, Tally(1))
            continue
        yield Count(deployment, "total", hour_ms, _one(latency_us))
        if ttft_us is not None:
            yield Count(deployment, "ttft", hour_ms, _one(ttft_us))


def _one(us: int) -> Tally:
    return Tally(1, us, us, {bucket_of(us): 1})


def _key_of(deployment: str, hour_ms: int, query: LatencyQuery) -> tuple[str, ...] | None:
    """The group that counts of this deployment and hour belong to. None: the filters leave them out."""
    hour = iso(hour_ms)
    values = {
        "model": deployment,
        "provider": deployment.partition(":")[0],
        "hour": hour[:13] + ":00:00Z",
        "day": hour[:10],
        "month": hour[:7],
    }
    if any(values[name] != wanted for name, wanted in query.filters.items()):
        return None
    return tuple(values[name] for name in query.group_by)
