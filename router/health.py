"""What is known of deployments: a breaker for each, the same in all processes, and a tally of latency."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import msgspec

from ledger.errors import LedgerError
from ledger.latency import Tally, bucket_of
from ledger.loops import running
from router import breaker as rules
from router.breaker import Breaker, BreakerEvent, BreakerRule, BreakerState
from router.deployments import Route
from router.health_memory import Here, recall, remember
from router.hint_keeper import Hints
from router.memory import Memory
from router.pacing import Pacing
from router.recent import Recent, Usual
from router.speed import Speeds
from router.token_estimates import TokenEstimates

SHARE_S: Final = 0.25
BREAKER: Final = "breaker"
# While a provider is down and the ledger too, events are dropped rather than heaped up.
UNTOLD_LIMIT: Final = 10_000

_UNTRIED: Final = Breaker()

log = logging.getLogger(__name__)


class Health:
    """{deployment id: its breaker and latency}. Without a memory it is for one process alone.

    rule: one for all, or by deployment id.

    A fault counts in this process at once, and in the others within SHARE_S or so. Deployments without trouble cost no
    write but their count of successes, one for all each SHARE_S.
    """

    def __init__(
        self,
        rule: BreakerRule | Callable[[str], BreakerRule],
        *,
        now_s: Callable[[], float],
        now_ms: Callable[[], int],
        memory: Memory | None = None,
        process: str = "",
        routes: Callable[[], Iterable[Route]] = tuple,
    ) -> None:
        self._rule_of = (lambda _: rule) if isinstance(rule, BreakerRule) else rule
        self._now_s = now_s
        self._now_ms = now_ms
        self._memory = memory
        self.pacing = Pacing(now_ms=now_ms, memory=memory)
        self.hints = Hints(now_ms=now_ms, memory=memory, process=process)
        self.token_estimates = TokenEstimates(now_ms=now_ms, memory=memory)
        self.speeds = Speeds(now_s=now_s)
        self._process = process
        self._routes = routes
        self._breakers: dict[str, Breaker] = {}
        self._latency: dict[str, Tally] = {}
        self._first_outputs: dict[str, Usual] = {}
        self._recent: dict[str, Recent] = {}
        self._untold: list[tuple[str, BreakerEvent]] = []
        self._untold_successes: Counter[str] = Counter()

    def breaker(self, deployment_id: str) -> Breaker:
        """Its breaker as it stands."""
        return self._breakers.get(deployment_id, _UNTRIED)

    def returns_in_s(self, deployment_id: str) -> float:
        """0 where a call may go now, else how long until one may. A probe under way counts as a moment."""
        away_s = max(self.pacing.returns_in_s(deployment_id), self.hints.returns_in_s(deployment_id))
        breaker = self.breaker(deployment_id)
        now_s = self._now_s()
        return away_s if rules.is_usable(breaker, now_s) else max(1.0, breaker.until_s - now_s, away_s)

    def success_share(self, deployment_id: str) -> float:
        """How well it did in this process lately: above 0, and 1 where nothing speaks against it."""
        recent = self._recent.get(deployment_id)
        return 1.0 if recent is None else recent.success_share(self._now_s())

    def is_only_paced(self, deployment_id: str) -> bool:
        """Whether nothing but its provider's word keeps calls from it, so that waiting is sure to help."""
        is_paced = self.pacing.returns_in_s(deployment_id) > 0 and not self.hints.returns_in_s(deployment_id)
        return is_paced and rules.is_usable(self.breaker(deployment_id), self._now_s())

    async def admit(self, deployment_id: str) -> bool:
        """Take the right to try it once; True must be followed by one `record`. Of all processes' calls one probes."""
        if self.pacing.returns_in_s(deployment_id) or not await self.hints.admit(deployment_id):
            return False
        if await self._admit(deployment_id):
            return True
        self.hints.give_back(deployment_id)
        return False

    async def _admit(self, deployment_id: str) -> bool:
        """By its breaker alone."""
        breaker = self.breaker(deployment_id)
        if breaker.state == BreakerState.CLOSED:
            return True
        if self._memory is not None and rules.is_usable(breaker, self._now_s()):
            with suppress(LedgerError):  # A ledger in trouble: then this process judges by itself.
                return await self._claim(self._memory, deployment_id)
        self._breakers[deployment_id], admitted = rules.admit(self.breaker(deployment_id), self._now_s())
        return admitted

    def record(
        self, deployment_id: str, event: BreakerEvent, *, latency_us: int | None = None, ttft_us: int | None = None
    ) -> None:
        """Say how the try ended. latency_us: of a success; ttft_us: to its first output, if it was streamed."""
        before = self.breaker(deployment_id)
        self._breakers[deployment_id] = after = self._next(deployment_id, before, event)
        if self._memory is not None:
            if event == BreakerEvent.SUCCESS and _is_sound(before):
                self._untold_successes[deployment_id] += 1
            elif after != before and len(self._untold) < UNTOLD_LIMIT:
                self._untold.append((deployment_id, event))
        if event is BreakerEvent.SUCCESS or event is BreakerEvent.FAULT:
            self._watch(deployment_id, is_fault=event is BreakerEvent.FAULT)
        if latency_us is not None:
            tally = self._latency.get(deployment_id)
            if tally is None:
                tally = self._latency[deployment_id] = Tally()
            tally.add(bucket_of(latency_us), 1, latency_us, latency_us)
        if ttft_us is not None:
            now_s = self._now_s()
            self._first_outputs.setdefault(deployment_id, Usual(now_s)).add(ttft_us, now_s)

    def usual_first_output_s(self, deployment_id: str) -> float | None:
        """The time within which 95 % of first outputs came lately, in this process. None: too few came to say."""
        usual = self._first_outputs.get(deployment_id)
        return None if usual is None else usual.quantile_s(0.95, self._now_s())

    def _watch(self, deployment_id: str, *, is_fault: bool) -> None:
        """Open a breaker for many faults among few successes too, but never the last one of a route that is closed."""
        now_s = self._now_s()
        recent = self._recent.get(deployment_id)
        if recent is None:
            recent = self._recent[deployment_id] = Recent()
        recent.add(now_s, is_fault=is_fault)
        if not is_fault or self.breaker(deployment_id).state != BreakerState.CLOSED:
            return
        if recent.is_failing(now_s) and not self._is_last_closed(deployment_id):
            self.record(deployment_id, BreakerEvent.FLOOD)

    def _is_last_closed(self, deployment_id: str) -> bool:
        """Of some route that it belongs to, or of none at all."""
        routes = [[target.id for target in route.targets] for route in self._routes()]
        own = [route for route in routes if deployment_id in route]
        return not own or any(self._are_open(route, but=deployment_id) for route in own)

    def _are_open(self, deployment_ids: list[str], *, but: str) -> bool:
        return all(it == but or self.breaker(it).state != BreakerState.CLOSED for it in deployment_ids)

    async def share(self) -> None:
        """Tell the other processes what this one saw. Raises LedgerError: then what is left is told the next time."""
        memory = self._memory
        if memory is None:
            return
        while self._untold:
            deployment_id, event = self._untold[0]
            await memory.change(BREAKER, deployment_id, partial(self._after_event, deployment_id, event))
            del self._untold[0]
        for deployment_id, count in list(self._untold_successes.items()):
            at_ms = self.breaker(deployment_id).last_success_at_ms or 0
            await memory.change(BREAKER, deployment_id, partial(self._after_successes, count=count, at_ms=at_ms))
            self._untold_successes[deployment_id] -= count
        self._untold_successes = +self._untold_successes
        await self.pacing.share()
        await self.hints.share()
        await self.token_estimates.share()

    def hear(self, deployment_id: str, text: str) -> None:
        """Take over what all processes remember of a breaker, once this one has told its own part."""
        if any(untold == deployment_id for untold, _ in self._untold):
            return
        breaker = recall(text, self._here())
        untold = self._untold_successes[deployment_id]
        self._breakers[deployment_id] = msgspec.structs.replace(
            breaker, total_successes=breaker.total_successes + untold
        )

    def report(self, deployment_id: str) -> dict[str, Any]:
        """The deployment's part of `/router/status`. success_rate None: never tried; latency: of this process."""
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
            "paced_until_ms": self.pacing.until_ms(deployment_id),
            "success_rate": round(breaker.total_successes / tried, 4) if tried else None,
            "latency": tally.summary() if tally else None,
        }

    async def _claim(self, memory: Memory, deployment_id: str) -> bool:
        """Try to be the one that probes, or find that another process has closed it."""
        outcome: list[tuple[Breaker, bool]] = []

        def claim(known: str | None) -> str:
            here = self._here()
            outcome.append(rules.admit(recall(known, here), here.now_s))
            return remember(known, outcome[-1][0], here)

        await memory.change(BREAKER, deployment_id, claim)
        self._breakers[deployment_id], admitted = outcome[-1]
        return admitted

    def _after_event(self, deployment_id: str, event: BreakerEvent, known: str | None) -> str:
        here = self._here()
        return remember(known, self._next(deployment_id, recall(known, here), event), here)

    def _after_successes(self, known: str | None, *, count: int, at_ms: int) -> str:
        """Successes of a deployment that this process had no trouble with; another one may have had some since."""
        here = self._here()
        breaker = recall(known, here)
        ends_a_run = breaker.state == BreakerState.CLOSED and (breaker.last_failure_at_ms or 0) <= at_ms
        counted = msgspec.structs.replace(
            breaker,
            total_successes=breaker.total_successes + count,
            consecutive_failures=0 if ends_a_run else breaker.consecutive_failures,
            last_success_at_ms=max(at_ms, breaker.last_success_at_ms or 0),
        )
        return remember(known, counted, here)

    def _next(self, deployment_id: str, breaker: Breaker, event: BreakerEvent) -> Breaker:
        rule = self._rule_of(deployment_id)
        return rules.record(breaker, event, rule, now_s=self._now_s(), now_ms=self._now_ms())

    def _here(self) -> Here:
        return Here(self._process, self._now_s(), self._now_ms())


def _is_sound(breaker: Breaker) -> bool:
    return breaker.state == BreakerState.CLOSED and breaker.consecutive_failures == 0


@asynccontextmanager
async def open_health(
    rule: BreakerRule | Callable[[str], BreakerRule],
    memory: Memory,
    *,
    now_s: Callable[[], float],
    now_ms: Callable[[], int],
    process: str,
    routes: Callable[[], Iterable[Route]],
) -> AsyncIterator[Health]:
    """Health that all processes on this ledger share, and that outlives them. process: an id of this one's own."""
    health = Health(rule, now_s=now_s, now_ms=now_ms, memory=memory, process=process, routes=routes)
    memory.tell(BREAKER, health.hear)
    await memory.learn()
    try:
        async with running(_keep_sharing(health, memory), name="deployment health"):
            yield health
    finally:
        with suppress(LedgerError):
            await health.share()
            await health.hints.share_all()
            await health.token_estimates.share(is_last=True)


async def _keep_sharing(health: Health, memory: Memory) -> None:
    while True:
        await asyncio.sleep(SHARE_S)
        try:
            await health.share()
            await memory.learn()
        except LedgerError:
            log.debug("what is known of deployments is not shared while the ledger is in trouble")
        except Exception:
            log.exception("what is known of deployments was not shared; it is tried again")
