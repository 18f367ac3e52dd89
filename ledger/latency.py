"""Latency as counts in log-spaced buckets: quantiles of any window, merged from any hours and processes.

Bucket b holds the microseconds in (RATIO**(b-1), RATIO**b]; its middle is within 1 % of everything in it.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from operator import itemgetter
from typing import Final

import msgspec

RATIO: Final = 1.02
_LOG_RATIO: Final = math.log(RATIO)


def bucket_of(us: int) -> int:
    """The bucket of a span of time in microseconds; 0 for a microsecond or less."""
    return 0 if us <= 1 else math.ceil(math.log(us) / _LOG_RATIO)


def middle_us(bucket: int) -> float:
    """The geometric middle of a bucket."""
    return math.exp((bucket - 0.5) * _LOG_RATIO) if bucket > 0 else 1.0


class Tally(msgspec.Struct):
    """Counts of one kind of span, being added up."""

    count: int = 0
    sum_us: int = 0
    max_us: int = 0
    buckets: dict[int, int] = {}

    def add(self, bucket: int, count: int, sum_us: int, max_us: int) -> None:
        """Add what one row of the table, or one attempt, counted."""
        self.count += count
        self.sum_us += sum_us
        self.max_us = max(self.max_us, max_us)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def merge(self, other: "Tally") -> None:
        """Add all that another one counted."""
        self.count += other.count
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        if not self.buckets:
            self.buckets = dict(other.buckets)
            return
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def summary(self) -> dict[str, float | None]:
        """Mean, quantiles and maximum in milliseconds; None where nothing was counted."""
        quantiles = quantiles_us(self.buckets, (0.5, 0.9, 0.95, 0.99))
        names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
        report: dict[str, float | None] = {"mean_ms": _ms(self.sum_us / self.count) if self.count else None}
        for name, us in zip(names, quantiles, strict=True):
            report[name] = None if us is None else _ms(min(us, self.max_us))
        report["max_ms"] = _ms(self.max_us) if self.count else None
        return report


def quantiles_us(buckets: Mapping[int, int], quantiles: Iterable[float]) -> list[float | None]:
    """Each quantile's bucket middle: within 2 % of the order statistic ⌈q·n⌉ of what was counted."""
    ordered = sorted(buckets.items())
    upto = list(accumulate(map(itemgetter(1), ordered)))
    if not upto:
        return [None for _ in quantiles]
    ranks = [max(1, math.ceil(quantile * upto[-1])) for quantile in quantiles]
    return [middle_us(ordered[bisect_left(upto, rank)][0]) for rank in ranks]


def _ms(us: float) -> float:
    return round(us / 1000, 3)
