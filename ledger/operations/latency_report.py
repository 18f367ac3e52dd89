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


class Count(msgspec.Struct, frozen=True):
    """So many spans of one kind, at one deployment, in one bucket; hour_ms: in the hour or day that begins then."""

    deployment: str
    kind: str
    hour_ms: int
    bucket: int
    count: int
    sum_us: int
    max_us: int


class Group(msgspec.Struct):
    """One row in the making."""

    total: Tally = msgspec.field(default_factory=Tally)
    ttft: Tally = msgspec.field(default_factory=Tally)
    errors: int = 0

    def add(self, count: Count) -> None:
        """Take one count in."""
        if count.kind == "error":
            self.errors += count.count
            return
        tally = self.total if count.kind == "total" else self.ttft
        tally.add(count.bucket, count.count, count.sum_us, count.max_us)

    def merge(self, other: "Group") -> None:
        """Take all of another in."""
        self.errors += other.errors
        self.total.merge(other.total)
        self.ttft.merge(other.ttft)

    def latency(self) -> Latency:
        """The group's figures."""
        ttft = Spans(count=self.ttft.count, **self.ttft.summary())
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
    middle = {HOUR_MS: "each_hour", DAY_MS: "each_day"}.get(unit_ms, "whole_days")
    yield from _single(db, since_ms, hours[0])
    for statement, begins_ms, ends_ms in (
        ("whole_hours", hours[0], days[0]),
        (middle, *days),
        ("whole_hours", days[1], hours[1]),
    ):
        if begins_ms < ends_ms:
            span = {"since_ms": begins_ms, "until_ms": ends_ms, "unit_ms": unit_ms}
            yield from (Count(*row) for row in db.execute(SQL[statement], span))
    yield from _single(db, hours[1], until_ms)


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
            yield Count(deployment, "error", hour_ms, 0, 1, 0, 0)
            continue
        yield Count(deployment, "total", hour_ms, bucket_of(latency_us), 1, latency_us, latency_us)
        if ttft_us is not None:
            yield Count(deployment, "ttft", hour_ms, bucket_of(ttft_us), 1, ttft_us, ttft_us)


def _key_of(deployment: str, hour_ms: int, query: LatencyQuery) -> tuple[str, ...] | None:
    """The group that counts of this deployment and hour belong to. None: the filters leave them out."""
    hour = iso(hour_ms) or ""
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
