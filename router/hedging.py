"""When a slow attempt may have another one beside it, and how often. Rules over values, with time passed in."""

from collections import deque
from typing import Any, Final

from router.bounds import unbounded_field
from router.deployments import HedgeRule

SPAN_S: Final = 10.0
STEP_S: Final = 1.0
# Before the deployment's own times say anything.
AFTER_UNKNOWN_S: Final = 1.2
# Whoever sends one of these twice has done two things at the provider.
_STATEFUL: Final = ("store", "background", "conversation", "previous_response_id")


class HedgeBudget:
    """Hedges and calls of the last SPAN_S, in one process: no more of the former than a share of the latter.

    One hedge per SPAN_S is always allowed. Calls are counted in steps, so that up to a step fewer than there were.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[float, int]] = deque()
        self._hedges: deque[float] = deque()

    def count_call(self, now_s: float) -> None:
        """A call began that may be hedged."""
        self._forget(now_s)
        if self._calls and now_s < self._calls[-1][0] + STEP_S:
            began_s, count = self._calls.pop()
            self._calls.append((began_s, count + 1))
        else:
            self._calls.append((now_s, 1))

    def take(self, max_ratio: float, now_s: float) -> bool:
        """Whether one more hedge may be started now; it then counts."""
        self._forget(now_s)
        calls = sum(count for _, count in self._calls)
        if self._hedges and len(self._hedges) + 1 > max_ratio * calls:
            return False
        self._hedges.append(now_s)
        return True

    def give_back(self) -> None:
        """The last one that was allowed was not started after all."""
        if self._hedges:
            self._hedges.pop()

    def _forget(self, now_s: float) -> None:
        while self._calls and self._calls[0][0] <= now_s - SPAN_S:
            self._calls.popleft()
        while self._hedges and self._hedges[0] <= now_s - SPAN_S:
            self._hedges.popleft()


def first_after_s(rule: HedgeRule, usual_s: float | None) -> float:
    """How long to wait for a first output before the first hedge. usual_s: what 95 % took; None: nobody knows yet."""
    if rule.after_s == "p95":
        return AFTER_UNKNOWN_S if usual_s is None else usual_s
    return rule.after_s


def is_repeatable(body: dict[str, Any]) -> bool:
    """Whether it does no harm to send the call to two providers: it leaves nothing behind, and its cost is bounded."""
    return unbounded_field(body) is None and not any(body.get(name) for name in _STATEFUL)
