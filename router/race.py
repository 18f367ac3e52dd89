"""One round of a call's attempts: the first one, and hedges beside it while it is slow. Source: DESIGN §5, Hedging."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from router.deployments import HedgeRule
from router.hedging import HedgeBudget
from router.journey import Attempt, Journey


class Racer:
    """One attempt's task. attempt None: its hold is being taken."""

    def __init__(self, attempt: Attempt | None) -> None:
        self.attempt = attempt
        self.task: asyncio.Task[None] | None = None

    @property
    def is_draining(self) -> bool:
        """Whether it is read on only to learn what it costs."""
        limits = self.attempt.limits if self.attempt is not None else None
        return limits is not None and limits.is_draining


class Race:
    """The first attempt that has output wins; the others are told so and stop by themselves: nobody cancels them."""

    def __init__(
        self,
        journey: Journey,
        rule: HedgeRule,
        budget: HedgeBudget,
        *,
        run: Callable[[Attempt], Coroutine[Any, Any, None]],
        hedge: Callable[[Attempt], Awaitable[Attempt | None]],
    ) -> None:
        """run: takes an attempt to its end. hedge: begins one beside this one, with a hold of its own; None: cannot."""
        self._journey = journey
        self._rule = rule
        self._budget = budget
        self._run = run
        self._hedge = hedge
        self._racers: list[Racer] = []
        self._has_more = True
        self._last: Attempt | None = None

    async def decide(self, first: Attempt, *, first_after_s: float) -> Attempt:
        """The attempt that won, over, else the one that failed last. Losers that drain go on in `journey.late`.

        first_after_s: how long to wait for the first one's output before the first hedge. Only bugs are raised.
        """
        now_s = asyncio.get_running_loop().time
        hedge_at_s = now_s() + first_after_s
        self._start(Racer(first), self._run(first))
        try:
            while tasks := [
                racer.task for racer in self._racers if racer.task is not None and not self._is_late(racer)
            ]:
                timeout_s = max(0.0, hedge_at_s - now_s()) if self._may_hedge() else None
                done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                self._take_out(done)
                if not done and self._may_hedge():
                    hedge_at_s = now_s() + self._rule.stagger_s
                    self._try_hedge(first, now_s())
        except BaseException:
            await self._stop_all()
            raise
        self._journey.late += [racer.task for racer in self._racers if racer.task is not None]
        decided = self._journey.winner or self._last
        assert decided is not None
        return decided

    def _may_hedge(self) -> bool:
        return self._has_more and self._journey.winner is None and not self._journey.flight.must_stop

    def _try_hedge(self, first: Attempt, now_s: float) -> None:
        """Start one more, unless one is being started, or there were enough lately."""
        is_starting = any(racer.attempt is None for racer in self._racers)
        if not is_starting and self._budget.take(self._rule.max_ratio, now_s):
            racer = Racer(None)
            self._start(racer, self._run_hedge(racer, first))

    def _is_late(self, racer: Racer) -> bool:
        """Whether the call need not wait for it: it drains, or its hold is still being taken though all is over."""
        winner = self._journey.winner
        if racer.attempt is None:
            return winner is not None and winner.ended_s is not None
        return racer.is_draining and winner is not None and winner is not racer.attempt

    def _start(self, racer: Racer, work: Coroutine[Any, Any, None]) -> None:
        racer.task = asyncio.create_task(work)
        self._racers.append(racer)

    def _take_out(self, done: set[asyncio.Task[None]]) -> None:
        over = [racer for racer in self._racers if racer.task in done]
        self._racers = [racer for racer in self._racers if racer.task not in done]
        for racer in over:
            assert racer.task is not None
            racer.task.result()
            self._last = racer.attempt or self._last

    async def _run_hedge(self, racer: Racer, first: Attempt) -> None:
        attempt = await self._hedge(first)
        if attempt is None:
            self._has_more = False
            self._budget.give_back()
            return
        racer.attempt = attempt
        await self._run(attempt)

    async def _stop_all(self) -> None:
        """After a bug: have every attempt end, so that each can be closed."""
        for racer in self._racers:
            if racer.attempt is not None and racer.attempt.limits is not None:
                racer.attempt.limits.lose()
        if tasks := [racer.task for racer in self._racers if racer.task is not None]:
            await asyncio.wait(tasks)
