"""What this process knows of its deployments: a breaker and a tally of latency for each."""

from collections.abc import Callable
from typing import Any

from ledger.latency import Tally, bucket_of
from router import breaker as rules
from router.breaker import Breaker, BreakerEvent, BreakerRule


class Health:
    """{deployment id: its breaker and latency}, for one process."""

    def __init__(self, rule: BreakerRule, *, now_s: Callable[[], float], now_ms: Callable[[], int]) -> None:
        self._rule = rule
        self._now_s = now_s
        self._now_ms = now_ms
        self._breakers: dict[str, Breaker] = {}
        self._latency: dict[str, Tally] = {}

    def breaker(self, deployment_id: str) -> Breaker:
        """Its breaker as it stands."""
        return self._breakers.get(deployment_id) or Breaker()

    def returns_in_s(self, deployment_id: str) -> float:
        """0 where a call may go now, else how long until one may. A probe under way counts as a moment."""
        breaker = self.breaker(deployment_id)
        now_s = self._now_s()
        return 0.0 if rules.is_usable(breaker, now_s) else max(1.0, breaker.until_s - now_s)

    def admit(self, deployment_id: str) -> bool:
        """Take the right to try it once. True must be followed by one `record`."""
        self._breakers[deployment_id], admitted = rules.admit(self.breaker(deployment_id), self._now_s())
        return admitted

    def record(self, deployment_id: str, event: BreakerEvent, *, latency_us: int | None = None) -> None:
        """Say how the try ended. latency_us: of a success."""
        now_s, now_ms = self._now_s(), self._now_ms()
        before = self.breaker(deployment_id)
        self._breakers[deployment_id] = rules.record(before, event, self._rule, now_s=now_s, now_ms=now_ms)
        if latency_us is not None:
            tally = self._latency.setdefault(deployment_id, Tally())
            tally.add(bucket_of(latency_us), 1, latency_us, latency_us)

    def report(self, deployment_id: str) -> dict[str, Any]:
        """The deployment's part of `/router/status`. success_rate and latency None: not tried by this process."""
        breaker = self.breaker(deployment_id)
        tried = breaker.total_successes + breaker.total_failures
        tally = self._latency.get(deployment_id)
        return {
            "breaker": {
                "state": breaker.state.value,
                "consecutive_failures": breaker.consecutive_failures,
                "total_failures": breaker.total_failures,
                "open_count": breaker.open_count,
                "last_success_at_ms": breaker.last_success_at_ms,
                "last_failure_at_ms": breaker.last_failure_at_ms,
            },
            "success_rate": round(breaker.total_successes / tried, 4) if tried else None,
            "latency": tally.summary() if tally else None,
        }
