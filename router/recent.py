"""How a deployment fared lately, in one process: calls and faults, and how long its answers took to begin."""

from collections import deque
from typing import Final

import msgspec

from ledger.latency import Tally, bucket_of, quantiles_us

SPAN_S: Final = 30.0
STEP_S: Final = 3.0
# Fewer calls say too little.
CALLS_THAT_COUNT: Final = 20
FAULTS_OF_CALLS: Final = 0.5


class Step(msgspec.Struct):
    """What happened from a moment on, for STEP_S."""

    began_s: float
    calls: int = 0
    faults: int = 0


class Recent:
    """Calls and faults by step, the oldest first. Between SPAN_S - STEP_S and SPAN_S are looked back on."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()

    def add(self, now_s: float, *, is_fault: bool) -> None:
        """Count one call that ended now."""
        self._forget(now_s)
        if not self._steps or now_s >= self._steps[-1].began_s + STEP_S:
            self._steps.append(Step(now_s))
        step = self._steps[-1]
        step.calls += 1
        step.faults += is_fault

    def is_failing(self, now_s: float) -> bool:
        """Whether at least half of at least CALLS_THAT_COUNT calls were faults."""
        self._forget(now_s)
        calls, faults = sum(step.calls for step in self._steps), sum(step.faults for step in self._steps)
        return calls >= CALLS_THAT_COUNT and faults >= FAULTS_OF_CALLS * calls

    def success_share(self, now_s: float) -> float:
        """The share of calls that were no faults, as if one more had been none: never 0, and 1 without a fault."""
        self._forget(now_s)
        calls, faults = sum(step.calls for step in self._steps), sum(step.faults for step in self._steps)
        return (calls - faults + 1) / (calls + 1)

    def _forget(self, now_s: float) -> None:
        while self._steps and self._steps[0].began_s <= now_s - SPAN_S:
            self._steps.popleft()


# What is usual is what was so within one to two of these: a deployment that was slow comes back by itself.
USUAL_SPAN_S: Final = 300.0
# Fewer say nothing of what is usual.
SPANS_THAT_COUNT: Final = 20


class Usual:
    """Spans of time, counted in buckets: those since a moment, and those of the USUAL_SPAN_S before it."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._newer, self._older = Tally(), Tally()

    def add(self, us: int, now_s: float) -> None:
        """Count one."""
        self._turn(now_s)
        self._newer.add(bucket_of(us), 1, us, us)

    def quantile_s(self, quantile: float, now_s: float) -> float | None:
        """The span within which this share of them lay. None: there were too few to say."""
        self._turn(now_s)
        if self._newer.count + self._older.count < SPANS_THAT_COUNT:
            return None
        buckets = dict(self._older.buckets)
        for bucket, count in self._newer.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        (us,) = quantiles_us(buckets, (quantile,))
        return None if us is None else us / 1_000_000

    def _turn(self, now_s: float) -> None:
        past = int((now_s - self._began_s) // USUAL_SPAN_S)
        if past > 0:
            self._older = self._newer if past == 1 else Tally()
            self._newer = Tally()
            self._began_s += past * USUAL_SPAN_S
