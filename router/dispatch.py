"""Takes a led call to its end: attempt after attempt, each one settled. Source: DESIGN §3 steps 4 and 5."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from ledger.errors import CeilingExceeded, CeilingHeld, LedgerError, LedgerUnavailable
from ledger.ledger import Ledger
from ledger.usage import Usage
from ledger.values import Ending, Lead, NextAttempt, Refused, Settlement, StoredResponse, Storing
from router import charge
from router.assemble import delivered_text, is_storable
from router.attempt import AttemptRunner
from router.errors import DeadlineExceeded, NoDeploymentAvailable, RouterError, UpstreamFailed, UpstreamRejected
from router.failures import failure_to_share
from router.faults import FAULT_RULES, Outcome
from router.flights import Flight, LeadPassed
from router.journey import Attempt, Journey
from router.kept import keeping_of_leader
from router.receipts import landing_of
from router.stored import encode_stored
from router.tokens import TokenCounter

WRITE_TRIES: Final = 6
WRITE_RETRY_S: Final = 0.1
LATE_WRITE_RETRY_S: Final = 1.0
WRITE_FOR_S: Final = 600.0

Result = TypeVar("Result")


class Dispatcher:
    """Attempts in order until one answers, and their settlement. Shared by all calls of a process."""

    def __init__(
        self, ledger: Ledger, runner: AttemptRunner, counter: TokenCounter, *, clock_ms: Callable[[], int]
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._counter = counter
        self._clock_ms = clock_ms

    async def run(self, journey: Journey, lead: Lead) -> None:
        """End the journey's flight, well or badly, once the ledger has all of it. Only bugs are raised."""
        flight = journey.flight
        try:
            attempt = await self._attempt(journey, lead)
            while attempt.outcome != Outcome.OK:
                following = await self._hold_next(journey, attempt)
                if following is None:
                    await self._give_up(journey, attempt)
                    return
                attempt = await self._attempt(journey, following)
            await self._settle(journey, attempt)
            if not flight.is_over:
                flight.land(landing_of(journey, attempt))
        except (LedgerError, LeadPassed) as error:
            _fail(flight, error)
        except BaseException as error:
            _fail(flight, LedgerUnavailable())
            if isinstance(error, Exception):
                await self._write_off(journey)
            raise

    async def _give_up(self, journey: Journey, last: Attempt) -> None:
        """The last attempt failed and none follows. Trouble that is the leader's own is not shared."""
        flight = journey.flight
        error = self._verdict(journey, last)
        await self._settle(journey, last, journey.told if flight.is_abandoned else error)
        is_own = last.outcome == Outcome.ABORTED and last.was_let_through and flight.stopped_by is None
        _fail(flight, LeadPassed(error) if is_own else error)

    def _verdict(self, journey: Journey, last: Attempt) -> RouterError:
        """What callers are told when the last attempt failed and nothing is left to try."""
        fault, flight, reports = last.fault, journey.flight, journey.reports
        assert fault is not None
        if flight.stopped_by is not None:
            return flight.stopped_by
        if not any(attempt.was_let_through for attempt in journey.attempts):
            return NoDeploymentAvailable(max(1.0, self._runner.returns_in_s(journey)))
        if last.outcome == Outcome.REJECTED:
            assert fault.status is not None
            return UpstreamRejected(fault.status, fault.message, fault.error_body, reports)
        if last.outcome == Outcome.ABORTED and last.was_let_through:
            elapsed_s = time.monotonic() - journey.began_s
            return DeadlineExceeded(elapsed_s=elapsed_s, waited_for=flight.waited_for, attempts=reports)
        return UpstreamFailed(reports)

    async def _attempt(self, journey: Journey, lead: Lead) -> Attempt:
        attempt = await self._runner.run(journey, lead)
        encoding = attempt.deployment.encoding
        journey.estimated_prompt_tokens = await self._counter.count_call(journey.call.body, encoding)
        counted = None
        if charge.needs_count(attempt):
            assert attempt.answer is not None
            written = await self._counter.count_output(delivered_text(attempt.answer), encoding)
            counted = Usage(input_tokens=journey.estimated_prompt_tokens, output_tokens=written)
        attempt.result = charge.close(attempt, counted)
        if attempt.answer is not None:
            # What was counted here stands in for what the provider did not say; the cost basis tells which it is.
            attempt.answer = msgspec.structs.replace(attempt.answer, usage=attempt.result.usage)
        return attempt

    async def _hold_next(self, journey: Journey, failed: Attempt) -> Lead | None:
        """A hold for the next attempt, in one transaction with the failed one's end.

        None: there is none to make. Raises LeadPassed when no ceiling has room for it, after settling what there was.
        """
        assert failed.outcome is not None
        assert failed.result is not None
        flight, tries_next = journey.flight, FAULT_RULES[failed.outcome].tries_next or not failed.was_let_through
        if flight.has_output or flight.must_stop or not tries_next:
            return None
        untried = self._runner.untried(journey)
        if not untried:
            return None
        request = NextAttempt(
            facts=journey.facts,
            closed=failed.result,
            attempt=failed.number + 1,
            bids=tuple(candidate.bid for candidate in untried),
            now_ms=self._clock_ms(),
        )
        held = await self._write(journey, lambda: self._ledger.hold_next(request))
        if isinstance(held, Refused):
            refusal = (CeilingHeld if held.held else CeilingExceeded)(held.tight)
            await self._settle(journey, failed, refusal)
            # The leader's own trouble, not its followers'.
            raise LeadPassed(refusal)
        return Lead(bid=journey.candidates.index(untried[held.bid]), hold_id=held.hold_id, attempt=held.attempt)

    async def _write_off(self, journey: Journey) -> None:
        """A bug ended the call: nobody knows what its last attempt cost, and still its hold must not stay open."""
        if journey.attempts:
            last = journey.attempts[-1]
            last.result = last.result or charge.write_off(last)
            await self._settle(journey, last)

    async def _settle(self, journey: Journey, last: Attempt, error: RouterError | LedgerError | None = None) -> None:
        """error: what the call's own caller is told."""
        assert last.result is not None
        now_ms = self._clock_ms()
        ttft_s = last.ttft_s
        ending = Ending(
            generation_id=journey.call.generation_id,
            outcome=last.result.outcome,
            deployment=last.deployment.id,
            cost_basis=last.result.cost_basis,
            finished_at_ms=now_ms,
            latency_us=round((time.monotonic() - journey.began_s) * 1_000_000),
            ttft_us=None if ttft_s is None else round(ttft_s * 1_000_000),
            estimated_prompt_tokens=journey.estimated_prompt_tokens,
            error_code="" if error is None else error.code,
        )
        lookup = journey.lookup
        settlement = Settlement(
            attempts=(last.result,),
            ending=ending,
            flight=lookup.cache_key if lookup is not None and lookup.joins else None,
            storing=_storing(journey, last, now_ms),
            keeping=keeping_of_leader(journey, last, error),
            failure=failure_to_share(journey, last, error),
        )
        await self._write(journey, lambda: self._ledger.settle(settlement))

    async def _write(self, journey: Journey, write: Callable[[], Awaitable[Result]]) -> Result:
        """Write what must not be lost, again if it may not have been kept: repeats are harmless.

        Callers wait for WRITE_TRIES of them and are then told; the call is written all the same as soon as the ledger
        takes it, or its hold would stay open for as long as this process lives.
        """
        began_s, began_at_ns = time.monotonic(), time.time_ns()
        flight, tries = journey.flight, 0
        try:
            while True:
                try:
                    return await write()
                except LedgerUnavailable as error:
                    tries += 1
                    is_late = tries >= WRITE_TRIES
                    if is_late:
                        _fail(flight, error)
                        if flight.stopped_by is not None or time.monotonic() - began_s > WRITE_FOR_S:
                            raise
                await asyncio.sleep(LATE_WRITE_RETRY_S if is_late else WRITE_RETRY_S)
        finally:
            took_s = time.monotonic() - began_s
            journey.ledger_s += took_s
            journey.events.append(("farthing.settle", began_at_ns, {"farthing.duration_ms": round(took_s * 1000, 3)}))


def _storing(journey: Journey, last: Attempt, now_ms: int) -> Storing | None:
    """What to keep for equal calls: a complete answer that its provider was, or will be, paid for."""
    lookup, result, answer = journey.lookup, last.result, last.answer
    if lookup is None or journey.storing_ttl_s is None or last.outcome != Outcome.OK:
        return None
    assert result is not None
    assert answer is not None
    if not is_storable(answer):
        return None
    body = encode_stored(answer, estimated_prompt_tokens=journey.estimated_prompt_tokens)
    if body is None:
        return None
    response = StoredResponse(
        body=body,
        deployment=last.deployment.id,
        cost_basis=result.cost_basis,
        cost_nanousd=result.cost_nanousd or 0,
        generation_id=journey.call.generation_id,
    )
    return Storing(
        cache_key=lookup.cache_key,
        response=response,
        expires_at_ms=now_ms + journey.storing_ttl_s * 1000,
        replaces=journey.replaces_stored,
    )


def _fail(flight: Flight, error: Exception) -> None:
    """Tell whoever still waits: they may have been told before that the ledger does not answer."""
    if not flight.is_over:
        flight.fail(error)
