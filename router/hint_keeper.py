"""Keeps what was learned of deployments (`router.hints`), the same in all processes and over restarts."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from ledger.errors import LedgerError
from router.hints import (
    BlockState,
    Evidence,
    Hint,
    after,
    after_neutral,
    after_successes,
    claimed,
    returns_at_ms,
)
from router.lessons import Adaptation
from router.memory import Memory, SharedValues

HINT: Final = "hint"
# What a caller is told to wait for a block that only an operator lifts.
UNTIL_LIFTED_S: Final = 3600.0
PROBE_S: Final = 1.0
# Successes of deployments without trouble can wait to be counted.
COUNT_EVERY_MS: Final = 5_000


class Hints:
    """{deployment id: its hint}. Without a memory it is for one process alone."""

    def __init__(self, *, now_ms: Callable[[], int], memory: Memory | None = None, process: str = "") -> None:
        self._now_ms = now_ms
        self._process = process
        self._values = SharedValues(HINT, Hint(), memory)
        # Successes by deployment, workflow and endpoint.
        self._uncounted: Counter[tuple[str, str, str]] = Counter()
        self._counted_at_ms = 0

    def get(self, deployment_id: str) -> Hint:
        """What is known of it, without the successes that are still to be counted."""
        return self._values.get(deployment_id)

    def asked_as(self, deployment_id: str) -> Adaptation:
        """How it wants to be asked."""
        return self._values.get(deployment_id).asked_as

    def returns_in_s(self, deployment_id: str) -> float:
        """0 where a call may go now, else how long until one may. A probe under way counts as a moment."""
        hint = self._values.get(deployment_id)
        if hint.block is None:
            return 0.0
        now_ms = self._now_ms()
        at_ms = returns_at_ms(hint, now_ms)
        if at_ms is None:
            return UNTIL_LIFTED_S
        left_s = max(0.0, (at_ms - now_ms) / 1000)
        return min(PROBE_S, left_s) if hint.state == BlockState.PROBING else left_s

    async def admit(self, deployment_id: str) -> bool:
        """Take the right to try it; True must be followed by one `succeeded`, `failed` or `give_back`."""
        if self._values.get(deployment_id).block is None:
            return True
        if self.returns_in_s(deployment_id):
            return False
        rule = partial(claimed, process=self._process or "this one", now_ms=self._now_ms())
        with suppress(LedgerError):
            return await self._values.decide(deployment_id, rule)
        # The ledger is in trouble: this process judges by itself.
        hint, may_go = rule(self._values.get(deployment_id))
        self._values.change(deployment_id, lambda _: hint)
        return may_go

    def give_back(self, deployment_id: str) -> None:
        """It was not tried after all."""
        self._values.change(deployment_id, after_neutral)

    def succeeded(self, deployment_id: str, *, workflow: str, endpoint: str) -> None:
        """It answered."""
        if self._values.get(deployment_id).is_sound:
            self._uncounted[deployment_id, workflow, endpoint] += 1
        else:
            rule = partial(after_successes, count=1, workflow=workflow, endpoint=endpoint)
            self._values.change(deployment_id, rule)

    def failed(self, deployment_id: str, evidence: Evidence) -> None:
        """It gave no answer."""
        self._count_successes(deployment_id)
        self._values.change(deployment_id, partial(after, evidence=evidence))

    async def change(self, deployment_id: str, rule: Callable[[Hint], Hint]) -> None:
        """Have an operator's word take effect, for all processes, and on what was learned here. Raises LedgerError."""
        self._count_successes(deployment_id)
        await self._values.share()
        await self._values.decide(deployment_id, lambda hint: (rule(hint), None))

    async def share(self) -> None:
        """Tell the other processes. Raises LedgerError: then what is left is told the next time."""
        if self._now_ms() - self._counted_at_ms >= COUNT_EVERY_MS:
            self._count_successes()
        await self._values.share()

    async def share_all(self) -> None:
        """Tell the other processes, the counts too. Raises LedgerError."""
        self._count_successes()
        await self._values.share()

    def report(self, deployment_id: str) -> dict[str, Any]:
        """What is known of it, for people."""
        self._count_successes(deployment_id)
        return report_of(self._values.get(deployment_id))

    def known(self) -> list[str]:
        """Of which deployments something is known."""
        self._count_successes()
        return self._values.names

    def _count_successes(self, only: str | None = None) -> None:
        if only is None:
            self._counted_at_ms = self._now_ms()
        for key in [key for key in self._uncounted if only in {None, key[0]}]:
            deployment_id, workflow, endpoint = key
            counted = partial(after_successes, count=self._uncounted.pop(key), ends_trouble=False)
            self._values.change(deployment_id, partial(counted, workflow=workflow, endpoint=endpoint))


def report_of(hint: Hint) -> dict[str, Any]:
    """A hint as `/router/hints` and `farthing hints` show it. Moments in milliseconds UTC."""
    block = hint.block
    return {
        "successes": hint.successes,
        "errors": dict(hint.errors),
        "workflows": {name: msgspec.structs.asdict(tried) for name, tried in hint.workflows.items()},
        "last_error": None if hint.last_error is None else msgspec.structs.asdict(hint.last_error),
        "endpoints": dict(hint.endpoints),
        "preferred_endpoint": hint.asked_as.endpoint or None,
        "renamed_params": dict(hint.adaptation.renamed),
        "refused_params": sorted(hint.adaptation.dropped),
        "block": None
        if block is None
        else {
            "cause": block.cause.value,
            "since_ms": block.since_ms,
            "probe_at_ms": returns_at_ms(hint, block.since_ms),
            "reason": block.reason,
            "is_probing": hint.state == BlockState.PROBING,
        },
    }
