"""Puts a call to the ledger, again where its word was lost; and gives back what nobody waits for any more."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ledger.errors import LedgerError, LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import Admission, AdmitRequest, Lead
from router.asked import Asked, journey_of
from router.dispatch import Dispatcher
from router.flights import Flight, Listener
from router.kept import freeing
from router.keys import Keys
from router.until import Deadlines

ADMIT_TRIES: Final = 3
GIVE_BACK_TRIES: Final = 600
GIVE_BACK_RETRY_S: Final = 1.0

log = logging.getLogger(__name__)


class Admitter:
    """Admits all calls of a process. flights: {generation: its flight} of those that lead here, or may."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        keys: Keys,
        deadlines: Deadlines,
        own: Callable[[Coroutine[Any, Any, None]], object],
        *,
        flights: dict[str, Flight],
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._keys = keys
        self._deadlines = deadlines
        self._own = own
        self._flights = flights
        self._clock_ms = clock_ms
        self._is_stopped = False

    def stop(self) -> None:
        """Give back only what can be given back at once: the end of the lease does the rest."""
        self._is_stopped = True

    async def admit(self, asked: Asked, flight: Flight, listener: Listener) -> Admission:
        """What the ledger says to this call. A lead's flight stays among them until it is over.

        Raises DeadlineExceeded, and what `Ledger.admit` does. What may have been taken by then is given back.
        """
        request = AdmitRequest(
            facts=asked.facts,
            lookup=asked.lookup,
            bids=() if asked.behind else tuple(candidate.bid for candidate in asked.candidates),
            now_ms=self._clock_ms(),
            idempotency=asked.call.idempotency,
            api_key=asked.call.attribution.key_id,
        )
        # Before the ledger is asked: whoever it sends to follow this generation must find its flight.
        self._flights[flight.generation_id] = flight
        admission: Admission | None = None
        may_lead = False
        try:
            with self._deadlines.until(asked.deadline_s):
                admission = await self._repeat_admit(request)
            may_lead = isinstance(admission, Lead)
        except TimeoutError:
            may_lead = self._return_later(asked, flight, listener, request)
            raise asked.too_late("the ledger") from None
        except asyncio.CancelledError:
            may_lead = self._return_later(asked, flight, listener, request)
            raise
        except LedgerUnavailable as error:
            may_lead = error.unknown and self._return_later(asked, flight, listener, request)
            raise
        finally:
            if not may_lead:
                self._flights.pop(flight.generation_id, None)
        return admission

    async def _repeat_admit(self, request: AdmitRequest) -> Admission:
        is_unknown = False
        for tries_left in reversed(range(ADMIT_TRIES)):
            try:
                return await self._ledger.admit(request)
            except LedgerUnavailable as error:
                is_unknown = is_unknown or error.unknown
                if not error.unknown or not tries_left:
                    raise LedgerUnavailable(unknown=is_unknown) from error
        raise AssertionError("the last try returns or raises")

    def _return_later(self, asked: Asked, flight: Flight, listener: Listener, request: AdmitRequest) -> bool:
        """Nobody waits for the admission any more, and it may lead: its flight ends once that is known."""
        flight.leave(listener)
        self._own(self._give_back(asked, flight, request))
        return True

    async def _give_back(self, asked: Asked, flight: Flight, request: AdmitRequest) -> None:
        """Learn what was admitted and return what was taken: an abandoned flight sends nothing."""
        try:
            lead = await self._learn_lead(request)
            if lead is not None:
                await self._dispatcher.run(journey_of(asked, flight, ledger_s=0.0), lead)
            else:
                # It may follow another call; what it was answered already stays.
                self._keys.keep_soon(freeing(asked.call))
                await self._count_unheard(asked)
        finally:
            self._flights.pop(flight.generation_id, None)
            if not flight.is_over:
                flight.fail(LedgerUnavailable())

    async def _count_unheard(self, asked: Asked) -> None:
        """A stored answer that nobody waited for was given all the same: the ledger has the call."""
        try:
            story = await self._ledger.generation(asked.call.generation_id)
        except LedgerError:
            return  # It is one in the ledger alone.
        if story is not None and story["cache"] == "hit":
            self._dispatcher.books.count_hit(asked.route.name, story["deployment"], story["saved_nanousd"])

    async def _learn_lead(self, request: AdmitRequest) -> Lead | None:
        """The lead that an earlier try took. None: none, or it cannot be learned."""
        for _ in range(GIVE_BACK_TRIES):
            try:
                return await self._ledger.lead_of(request)
            except LedgerUnavailable:
                if self._is_stopped:
                    break
            await asyncio.sleep(GIVE_BACK_RETRY_S)
        log.warning("an admission nobody waited for was never learned of: the end of our lease closes its hold")
        return None
