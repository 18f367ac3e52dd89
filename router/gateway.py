"""One call, from route to answer: plan, admit, and then a stored answer, a shared flight, or a lead of its own."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import Ending, Follow, Hit, Keeping, Lead, Missing, Refused, Replay, StoredElsewhere
from router.admitting import Admitter
from router.again import HitsAgain
from router.asked import Asked, SharingRules, admitted, journey_of
from router.at_hand import reply_at_hand
from router.call import Call
from router.dispatch import Dispatcher
from router.errors import Overloaded
from router.estimating import Estimator
from router.failures import failed_flight
from router.flights import Flight
from router.health import Health
from router.journey import Journey
from router.keys import Keys
from router.ordering import Ordering
from router.planning import Planner, Routes
from router.replies import LiveReply
from router.reply import Reply
from router.room import RoomMaker
from router.until import Deadlines

FOLLOW_POLL_S: Final = (0.02, 0.05, 0.1, 0.2)

log = logging.getLogger(__name__)


class LedgerGateway:
    """The gateway that people call. Implements `router.reply.Gateway`."""

    def __init__(
        self,
        routes: Routes,
        ledger: Ledger,
        dispatcher: Dispatcher,
        health: Health,
        sharing: SharingRules,
        *,
        ordering: Ordering,
        clock_ms: Callable[[], int],
        captures_content: bool = False,
    ) -> None:
        self._captures_content = captures_content
        self._planner = Planner(
            routes, ledger, health, ordering, sharing, counter=dispatcher.counter, clock_ms=clock_ms
        )
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._books = dispatcher.books
        self._health = health
        self._clock_ms = clock_ms
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.keys = Keys(ledger, self.own)
        self._room = RoomMaker(ledger, dispatcher.lines, clock_ms=clock_ms)
        self._is_stopped = False
        self.deadlines = Deadlines()
        self._admitter = Admitter(
            ledger, dispatcher, self.keys, self.deadlines, self.own, flights=self._flights, clock_ms=clock_ms
        )
        self.hits = HitsAgain(routes, ledger, dispatcher.books, self.deadlines, clock_ms=clock_ms)
        self.estimator = Estimator(
            self._planner, ledger, health, ordering.habits, self._room, counter=dispatcher.counter
        )

    async def generate(self, call: Call) -> Reply:
        """See `router.reply.Gateway`."""
        asked = await self._planner.ask(call, captures_content=self._captures_content)
        try:
            return await self.start(asked)
        finally:
            self._planner.give_turn_back(asked)

    async def aclose(self) -> None:
        """Wait until every call is settled. No new one may begin meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def take_unpriced(self) -> set[str]:
        """The deployments without a price that calls asked for since this was last asked."""
        return self._planner.unpriced.take()

    def now_ms(self) -> int:
        """Wall time, as the ledger has it."""
        return self._clock_ms()

    def ceilings_of(self, asked: Asked, deployment_id: str) -> tuple[str, ...]:
        """The ids of the ceilings that this call counts under at a deployment."""
        return tuple(it.id for it in self._ledger.ceilings_of(deployment_id, asked.facts.attribution))

    def record_follower(
        self, asked: Asked, ending: Ending, flight: Flight, keeping: Keeping | None = None
    ) -> asyncio.Task[None]:
        """Put a follower on record, whether or not its caller stays to see it.

        It cost nothing, so it is answered even while the ledger takes no writes.
        """
        return self.own(self._record_follower(asked, ending, flight, keeping))

    async def _record_follower(self, asked: Asked, ending: Ending, flight: Flight, keeping: Keeping | None) -> None:
        try:
            await self._ledger.record_follower(asked.facts, ending, leader_id=flight.generation_id, keeping=keeping)
            self._books.count_follower(asked, ending)
        except LedgerUnavailable:
            log.warning("a coalesced call is not on record: the ledger takes no writes")
            self.keys.keep_soon(keeping)

    def own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work that must end whether or not its caller stays; `aclose` waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task

    def stop(self) -> None:
        """End every call that is still in flight, now, and admit none any more: each of its callers is told so."""
        self._is_stopped = True
        self.keys.stop()
        self._admitter.stop()
        for flight in self._flights.values():
            flight.stop(Overloaded())

    async def start(self, asked: Asked) -> Reply:
        """Admit the call, anew after each flight, pace or ceiling that it waited for.

        However that ends, nothing of it is left in line, nor under its Idempotency-Key unless it was admitted.
        """
        try:
            with self.keys.let_go_on_failure(asked):
                return await self._start(asked)
        finally:
            self._room.give_up(asked)

    async def _start(self, asked: Asked) -> Reply:
        while True:
            if self._is_stopped:
                raise Overloaded
            self._room.mind_the_line(asked)
            tried = asked.candidates[0].deployment.id if asked.candidates else ""
            flight = Flight(asked.call.generation_id, tried, event_format=asked.call.event_format)
            listener = flight.join(deadline_s=asked.deadline_s)
            admitting_since_s = time.monotonic()
            admission = await self._admitter.admit(asked, flight, listener)
            ledger_s = time.monotonic() - admitting_since_s
            self._planner.note(asked, admission)
            match admission:
                case Lead() as lead:
                    journey = self._begin(asked, flight, lead, ledger_s)
                    return LiveReply(self, asked, flight, listener, journey=journey)
                case Hit() | Replay() as found:
                    reply = reply_at_hand(asked, found, ledger_s=ledger_s)
                    if reply is not None:
                        self._books.count_found(asked, found)
                        return reply
                    asked.give_up_stored()
                case Follow() as follow:
                    asked.has_followed = True
                    asked.events.append(admitted(asked, follow, ledger_s))
                    self._room.give_up(asked)  # Who follows needs no room.
                    led = await self._follow(asked, follow)
                    if led is not None:
                        return LiveReply(self, asked, led, led.join(deadline_s=asked.deadline_s), journey=None)
                case _:
                    await self._get_ready(asked, admission)

    async def _get_ready(self, asked: Asked, admission: StoredElsewhere | Missing | Refused) -> None:
        """Do what it was not admitted for want of, or wait for it. Raises its refusal if there is nothing to."""
        match admission:
            case StoredElsewhere() as elsewhere:
                await self._look_for(asked, elsewhere)
            case Missing():
                await self._wait(asked)
            case Refused() as refused:
                with asked.queueing():
                    await self._room.make(asked, refused)

    async def _look_for(self, asked: Asked, elsewhere: StoredElsewhere) -> None:
        """Have the body of a stored answer at hand for the next admission, or pass that answer over."""
        try:
            with self.deadlines.until(asked.deadline_s):
                body = await self._ledger.find_body(elsewhere)
        except TimeoutError:
            raise asked.too_late("a stored answer") from None
        asked.looked_for(elsewhere, body)

    async def _wait(self, asked: Asked) -> None:
        """For its plan, whoever came before it, or its provider's word. Raises its refusal if it may not go out."""
        if not asked.is_planned:
            await self._planner.plan(asked)
            return
        with asked.queueing():
            if asked.behind:
                await self._room.stand_in_line(asked)
            else:
                await self._planner.wait_out_pacing(asked, is_stopped=lambda: self._is_stopped)

    async def _follow(self, asked: Asked, follow: Follow) -> Flight | None:
        """The flight to join. None: it is over, ask the ledger again."""
        if follow.owner_id != self._ledger.owner_id:
            await self._wait_elsewhere(asked, follow.leader_id)
            failure = await self._ledger.failure_of(follow.leader_id)
            return None if failure is None else failed_flight(follow.leader_id, failure)
        flight = self._flights.get(follow.leader_id)
        if flight is None or flight.is_over:
            asked.missed_leader(follow.leader_id)
            return None
        if flight.may_be_joined:
            return flight
        # It will not be an answer to this call, and its end is being written.
        try:
            with self.deadlines.until(asked.deadline_s):
                await flight.ended()
        except TimeoutError:
            raise asked.too_late("an equal call to end") from None
        return None

    def _begin(self, asked: Asked, flight: Flight, lead: Lead, ledger_s: float) -> Journey:
        journey = journey_of(asked, flight, ledger_s=ledger_s)
        asked.turn = None  # It is used.
        breaker = self._health.breaker(asked.candidates[lead.bid].deployment.id)
        journey.breaker_status, journey.breaker_open_count = breaker.state.value, breaker.open_count
        journey.events.append(admitted(asked, lead, ledger_s))
        self.own(self._drive(journey, lead))
        return journey

    async def _drive(self, journey: Journey, lead: Lead) -> None:
        try:
            await self._dispatcher.run(journey, lead)
        finally:
            self._flights.pop(journey.flight.generation_id, None)
            self._room.may_be_there()

    async def _wait_elsewhere(self, asked: Asked, leader_id: str) -> None:
        """Wait until another process's flight is over: then its answer is stored, it failed, or the lead is free."""
        key = asked.shared.cache_key
        loop = asyncio.get_running_loop()
        polls = 0
        while not await self._ledger.flight_is_over(key, leader_id):
            pause_s = FOLLOW_POLL_S[min(polls, len(FOLLOW_POLL_S) - 1)]
            if self._is_stopped:
                raise Overloaded
            if loop.time() + pause_s > asked.deadline_s:
                raise asked.too_late("an equal call in another process")
            await asyncio.sleep(pause_s)
            polls += 1

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a call ended in a way it never should", exc_info=error)
