"""How long attempts took, counted by deployment, hour, kind and bucket."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from ledger.ceilings import HOUR_MS
from ledger.database import Database
from ledger.latency import bucket_of
from ledger.operations.closed_holds import ClosedHold
from ledger.sql import statements
from ledger.values import AttemptResult

SQL: Final = statements("sqlite", "latencies")

# How long something took: its deployment, hour, kind and bucket, and the microseconds.
Span = tuple[tuple[str, int, str, int], int]


def latencies_of(result: AttemptResult, hold: ClosedHold) -> list[Span]:
    """What is counted of how long it took: nothing of an attempt that was given up."""
    hour_ms = hold.taken_at_ms - hold.taken_at_ms % HOUR_MS
    if result.outcome == "aborted":
        return []
    if result.outcome != "ok":
        return [((hold.deployment, hour_ms, "error", 0), 0)]
    took = {"total": result.latency_us} | ({} if result.ttft_us is None else {"ttft": result.ttft_us})
    return [((hold.deployment, hour_ms, kind, bucket_of(us)), us) for kind, us in took.items()]


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
