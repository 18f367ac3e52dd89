"""Takes a led call to its end: attempt after attempt, each one settled. Source: DESIGN §3 steps 4 and 5."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import msgspec

from ledger.errors import LedgerError, LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import Lead, Refused
from router import charge
from router.assemble import delivered_text
from router.attempt import AttemptRunner
from router.books import Books
from router.cachekey import shown_key
from router.clamp import CLAMP_TRIES, shortened
from router.errors import (
    DeadlineExceeded,
    MaxCostExceeded,
    NoDeploymentAvailable,
    Overloaded,
    RouterError,
    UpstreamFailed,
    UpstreamRejected,
)
from router.faults import Outcome
from router.hedging import HedgeBudget
from router.journey import Attempt, Facts, Journey
from router.landing import LeadPassed
from router.lines import LAST_TRY_S, Lines, next_look_s
from router.plan import Candidate
from router.race import Race
from router.receipts import landing_of
from router.settling import Settler, fail_flight
from router.token_estimates import TokenEstimates
from router.tokens import TokenCounter
from telemetry import names
from telemetry.metrics import Recorder


class Dispatcher:
    """Attempts in order until one answers, and their settlement. Shared by all calls of a process."""

    def __init__(
        self,
        ledger: Ledger,
        runner: AttemptRunner,
        counter: TokenCounter,
        estimates: TokenEstimates,
        *,
        books: Books | None = None,
        clock_ms: Callable[[], int],
    ) -> None:
        self.books = books or Books(Recorder())
        self._ceilings_of = ledger.ceilings_of
        self._settler = Settler(ledger, self.books, clock_ms=clock_ms)
        self._clock_ms = clock_ms
        self._runner = runner
        self._alternatives = runner.alternatives
        self.counter = counter
        self._estimates = estimates
        self._hedges = HedgeBudget()
        self.lines = Lines()

    async def run(self, journey: Journey, lead: Lead) -> None:
        """End the journey's flight, well or badly, once the ledger has all of it. Only bugs are raised."""
        flight = journey.flight
        try:
            attempt = await self._round(journey, lead)
            while attempt.outcome != Outcome.OK:
                following = await self._hold_next(journey, attempt)
                if following is None:
                    await self._give_up(journey, attempt)
                    return
                attempt = await self._round(journey, following)
            await self._settler.settle(journey, attempt)
            if not flight.is_over:
                flight.land(landing_of(journey, attempt))
        except (LedgerError, LeadPassed) as error:
            fail_flight(flight, error)
        except BaseException as error:
            fail_flight(flight, LedgerUnavailable())
            if isinstance(error, Exception):
                await self._settler.write_off(journey)
            raise
        finally:
            await self._settler.settle_late(journey)

    async def _round(self, journey: Journey, lead: Lead) -> Attempt:
        """The attempt that this hold is for, or the hedge that was quicker; over, with its charge."""
        journey.winner = None
        first, rule = self._runner.begin(journey, lead), journey.hedge
        if rule is None:
            await self._attempt(journey, first)
            return first
        if len(journey.attempts) == 1:
            self._hedges.count_call(asyncio.get_running_loop().time())
        run, hedge = partial(self._attempt, journey), partial(self._hedge, journey)
        race = Race(journey, rule, self._hedges, run=run, hedge=hedge)
        return await race.decide(first, first_after_s=self._runner.hedge_after_s(first, rule))

    async def _hedge(self, journey: Journey, first: Attempt) -> Attempt | None:
        """A further attempt beside this one. None: no deployment is left, or no ceiling has room."""
        untried = journey.within_max_cost(self._alternatives.untried(journey))
        if not untried:
            return None
        held = await self._settler.hold_hedge(journey, untried)
        if held is None:
            return None
        hedge = self._runner.begin(journey, held, hedges=first.span_id)
        facts: Facts = {names.ATTEMPT: hedge.number, names.DEPLOYMENT: hedge.deployment.id}
        journey.events.append((names.HEDGE, time.time_ns(), facts))
        return hedge

    async def _give_up(self, journey: Journey, last: Attempt) -> None:
        """The last attempt failed and none follows. Trouble that is the leader's own is not shared."""
        flight = journey.flight
        error = self._verdict(journey, last)
        await self._settler.settle(journey, last, journey.told if flight.is_abandoned else error)
        is_own = last.outcome == Outcome.ABORTED and last.was_let_through and flight.stopped_by is None
        fail_flight(flight, LeadPassed(error) if is_own else error)

    def _verdict(self, journey: Journey, last: Attempt) -> RouterError:
        """What callers are told when the last attempt failed and nothing is left to try."""
        fault, flight, reports = last.fault, journey.flight, journey.reports
        assert fault is not None
        if flight.stopped_by is not None:
            return flight.stopped_by
        if not any(attempt.was_let_through for attempt in journey.attempts):
            full = [attempt.full_for_s for attempt in journey.attempts if attempt.full_for_s is not None]
            if full:
                return Overloaded(min(full), waited_for=flight.waited_for)
            return NoDeploymentAvailable(max(1.0, self._alternatives.returns_in_s(journey)))
        if last.outcome == Outcome.REJECTED:
            assert fault.status is not None
            # What is wrong is the call, whatever its provider calls it.
            status = fault.status if fault.status < 500 else 400
            return UpstreamRejected(status, fault.message, fault.error_body, reports)
        if last.outcome == Outcome.ABORTED and last.was_let_through:
            elapsed_s = time.monotonic() - journey.began_s
            key = shown_key(journey.lookup)
            return DeadlineExceeded(elapsed_s=elapsed_s, waited_for=flight.waited_for, attempts=reports, key=key)
        return UpstreamFailed(reports)

    async def _attempt(self, journey: Journey, attempt: Attempt) -> None:
        """To its end, with its charge."""
        await self._runner.run(journey, attempt)
        deployment_id, encoding = attempt.deployment.id, attempt.deployment.encoding
        prompt = await self.counter.count_prompt(journey.call, encoding)
        estimated = self._estimates.estimated_tokens(deployment_id, prompt)
        journey.estimated_prompt_tokens = estimated
        counted = None
        if charge.needs_count(attempt):
            assert attempt.answer is not None
            written = await self.counter.count_output(delivered_text(attempt.answer), encoding)
            written_tokens = self._estimates.written_tokens(deployment_id, written)
            thought_aloud = any(choice.reasoning for choice in attempt.answer.choices)
            counted = charge.count(
                attempt.usage_so_far, read=estimated, written=written_tokens, thought_aloud=thought_aloud
            )
        attempt.reading = None
        attempt.result = charge.close(attempt, counted)
        reported = charge.reported_usage(attempt)
        if reported is not None and not attempt.candidate.reads_more:
            self._estimates.learn(deployment_id, prompt, estimated=estimated, reported=reported.prompt_tokens)
        if attempt.answer is not None and attempt.answer.usage is not attempt.result.usage:
            # What was counted here stands in for what the provider did not say; the cost basis tells which it is.
            attempt.answer = msgspec.structs.replace(attempt.answer, usage=attempt.result.usage)

    async def _hold_next(self, journey: Journey, failed: Attempt) -> Lead | None:
        """A hold for the next attempt, in one transaction with the failed one's end.

        None: there is none to make. Raises LeadPassed when no ceiling has room for it, after settling what there was.
        """
        assert failed.result is not None
        flight = journey.flight
        if flight.has_output or flight.must_stop:
            return None
        left = self._alternatives.after(journey, failed)
        if not left:
            return None
        untried = journey.within_max_cost(left)
        if not untried:
            too_dear = _too_dear(journey, left)
            await self._settler.settle(journey, failed, too_dear)
            # Its caller's own limit, not its followers'.
            raise LeadPassed(too_dear)
        held, clamps_left = await self._settler.hold_next(journey, untried), CLAMP_TRIES
        while isinstance(held, Refused):
            if clamps_left and (shorter := self._shortened(journey, untried, held)):
                untried, clamps_left = shorter, clamps_left - 1
            elif not await self._room_may_come(journey, held):
                break
            held = await self._settler.hold_next(journey, untried)
        if isinstance(held, Refused):
            await self._settler.settle(journey, failed, held.error)
            # The leader's own trouble, not its followers'.
            raise LeadPassed(held.error)
        return held

    def _shortened(self, journey: Journey, untried: tuple[Candidate, ...], refused: Refused) -> tuple[Candidate, ...]:
        """Those of them that fit with a shorter answer, if that is wished.

        Then it is its own caller's alone and is not stored; equal calls ask anew when it is over.
        """
        if not refused.may_clamp:
            return ()
        who = journey.facts.attribution
        shorter = shortened(untried, refused, ceilings_of=lambda name: self._ceilings_of(name, who))
        if not shorter or not journey.flight.make_private(LeadPassed(refused.error)):
            return ()
        journey.storing_ttl_s = None
        journey.candidates = (*(it for it in journey.candidates if it not in untried), *shorter)
        return shorter

    async def _room_may_come(self, journey: Journey, refused: Refused) -> bool:
        """Wait for room, where the ceilings wish it. Whoever stands in line came later, and lets it pass."""
        flight = journey.flight
        left_s = flight.deadline_s - asyncio.get_running_loop().time()
        wait_s = next_look_s(refused, now_ms=self._clock_ms(), left_s=left_s)
        if wait_s is None:
            return False
        flight.waited_for = f"room under the ceiling {refused.tight.ceiling_id}"
        began_s = time.monotonic()
        await self.lines.room_may_be_there(flight.deadline_s, within_s=wait_s)
        journey.queued_s += time.monotonic() - began_s
        return not flight.must_stop and asyncio.get_running_loop().time() < flight.deadline_s - LAST_TRY_S


def _too_dear(journey: Journey, left: tuple[Candidate, ...]) -> MaxCostExceeded:
    """The refusal of all further attempts by the caller's own limit."""
    limit_nanousd = journey.call.max_cost_nanousd
    assert limit_nanousd is not None
    least_nanousd = min(candidate.held_nanousd for candidate in left)
    return MaxCostExceeded(limit_nanousd=limit_nanousd, asked_nanousd=journey.taken_nanousd + least_nanousd)
