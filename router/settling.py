"""What the ledger is told of a led call: holds for its further attempts, and its end. Source: DESIGN §3 step 5."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from ledger.errors import LedgerError, LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import AttemptResult, Ending, Lead, NextAttempt, Refused, Settlement, StoredResponse, Storing
from router import charge
from router.assemble import is_storable
from router.books import Books
from router.errors import RouterError
from router.failures import failure_to_share
from router.faults import Outcome
from router.flights import Flight
from router.journey import Attempt, Facts, Journey
from router.kept import keeping_of_leader
from router.plan import Candidate
from router.stored import encode_stored
from telemetry import names

WRITE_TRIES: Final = 6
WRITE_RETRY_S: Final = 0.1
LATE_WRITE_RETRY_S: Final = 1.0
WRITE_FOR_S: Final = 600.0

OVERRUN: Final = "posting.overrun"

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Settler:
    """Writes what must not be lost, for all calls of a process. books: what it counts, once the ledger has it."""

    def __init__(self, ledger: Ledger, books: Books, *, clock_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._books = books
        self._clock_ms = clock_ms

    async def hold_next(self, journey: Journey, untried: tuple[Candidate, ...]) -> Lead | Refused:
        """A hold for the next attempt, at one of these, in one transaction with the end of what failed before."""
        closed = journey.unclosed()
        request = self._next_attempt(journey, untried, closed)
        held = await self._write(journey, lambda: self._ledger.hold_next(request), event=names.HOLD)
        self._close(journey, closed)
        return _on_candidates(journey, untried, held)

    async def hold_hedge(self, journey: Journey, untried: tuple[Candidate, ...]) -> Lead | None:
        """A hold that the call can do without. None: there is no room, or the ledger is in trouble and took none."""
        request, is_unknown = self._next_attempt(journey, untried, ()), False
        while True:
            try:
                held = _on_candidates(journey, untried, await self._ledger.hold_next(request))
                return held if isinstance(held, Lead) else None
            except LedgerUnavailable as error:
                is_unknown = is_unknown or error.unknown
                if not is_unknown or journey.flight.stopped_by is not None:
                    return None
            except LedgerError:
                return None
            await asyncio.sleep(WRITE_RETRY_S)

    async def write_off(self, journey: Journey) -> None:
        """A bug ended the call: nobody knows what its open attempts cost, and still no hold must stay open."""
        _write_off(journey)
        if journey.attempts:
            await self.settle(journey, journey.attempts[-1])

    async def settle_late(self, journey: Journey) -> None:
        """Close the attempts that were drained after the call was over."""
        if not journey.late or journey.ending is None:
            return
        for error in await asyncio.gather(*journey.late, return_exceptions=True):
            if error is not None:
                log.error("an attempt ended in a way it never should", exc_info=error)
        _write_off(journey)
        closed = journey.unclosed()
        settlement = Settlement(attempts=_results(closed), ending=journey.ending)
        await self._write(journey, lambda: self._ledger.settle(settlement))
        self._close(journey, closed)

    async def settle(self, journey: Journey, last: Attempt, error: RouterError | LedgerError | None = None) -> None:
        """error: what the call's own caller is told."""
        assert last.result is not None
        now_ms = self._clock_ms()
        ttft_s = last.ttft_s
        journey.ending = Ending(
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
        lookup, closed = journey.lookup, journey.unclosed()
        settlement = Settlement(
            attempts=_results(closed),
            ending=journey.ending,
            flight=lookup.cache_key if lookup is not None and lookup.joins else None,
            storing=_storing(journey, last, now_ms),
            keeping=keeping_of_leader(journey, last, error),
            failure=failure_to_share(journey, last, error),
        )
        await self._write(journey, lambda: self._ledger.settle(settlement))
        self._close(journey, closed)
        self._books.count_lead(journey, last, journey.ending)

    def _close(self, journey: Journey, attempts: tuple[Attempt, ...]) -> None:
        """The ledger has their ends. One that cost more than it held is told of: a limit may have been passed."""
        for attempt in attempts:
            attempt.is_closed = True
            overrun_nanousd = self._books.count_attempt(journey, attempt)
            if overrun_nanousd <= 0:
                continue
            facts: Facts = {
                names.HOLD_ID: attempt.hold_id,
                names.DEPLOYMENT: attempt.deployment.id,
                names.HELD_NANOUSD: attempt.candidate.held_nanousd,
                names.CHARGED_NANOUSD: attempt.candidate.held_nanousd + overrun_nanousd,
                names.OVERRUN_NANOUSD: overrun_nanousd,
            }
            journey.events.append((OVERRUN, time.time_ns(), facts))
            log.warning(OVERRUN, extra=facts)

    def _next_attempt(
        self, journey: Journey, untried: tuple[Candidate, ...], closed: tuple[Attempt, ...]
    ) -> NextAttempt:
        journey.last_number += 1
        return NextAttempt(
            facts=journey.facts,
            closed=_results(closed),
            attempt=journey.last_number,
            bids=tuple(candidate.bid for candidate in untried),
            now_ms=self._clock_ms(),
        )

    async def _write(
        self, journey: Journey, write: Callable[[], Awaitable[Result]], *, event: str = names.SETTLE
    ) -> Result:
        """Write what must not be lost, again if it may not have been kept: repeats are harmless. event: its name.

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
                        fail_flight(flight, error)
                        if flight.stopped_by is not None or time.monotonic() - began_s > WRITE_FOR_S:
                            raise
                await asyncio.sleep(LATE_WRITE_RETRY_S if is_late else WRITE_RETRY_S)
        finally:
            took_s = time.monotonic() - began_s
            journey.ledger_s += took_s
            journey.events.append((event, began_at_ns, {names.DURATION_MS: round(took_s * 1000, 3)}))


def _storing(journey: Journey, last: Attempt, now_ms: int) -> Storing | None:
    """What to keep for equal calls: a complete answer that its provider was, or will be, paid for."""
    lookup, result, answer = journey.lookup, last.result, last.answer
    if lookup is None or journey.storing_ttl_s is None or last.outcome != Outcome.OK:
        return None
    assert result is not None
    assert answer is not None
    if not is_storable(answer):
        return None
    body = encode_stored(
        answer,
        estimated_prompt_tokens=journey.estimated_prompt_tokens,
        dropped_params=last.candidate.dropped_params,
    )
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


def _write_off(journey: Journey) -> None:
    for attempt in journey.attempts:
        attempt.result = attempt.result or charge.write_off(attempt)


def _on_candidates(journey: Journey, untried: tuple[Candidate, ...], held: Lead | Refused) -> Lead | Refused:
    """A hold on one of these, as one on the journey's candidates."""
    if isinstance(held, Refused):
        return held
    return msgspec.structs.replace(held, bid=journey.candidates.index(untried[held.bid]))


def _results(attempts: tuple[Attempt, ...]) -> tuple[AttemptResult, ...]:
    return tuple(attempt.result for attempt in attempts if attempt.result is not None)


def fail_flight(flight: Flight, error: Exception) -> None:
    """Tell whoever still waits: they may have been told before that the ledger does not answer."""
    if not flight.is_over:
        flight.fail(error)
