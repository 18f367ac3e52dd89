"""One call, from route to answer: plan, admit, and then a stored answer, a shared flight, or a lead of its own."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from ledger.errors import CeilingExceeded, CeilingHeld, LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import Admission, AdmitRequest, Ending, Follow, GenerationFacts, Hit, Lead, Lookup, Missing, Refused
from router.cachekey import cache_key
from router.call import Call
from router.deployments import Route
from router.dispatch import Dispatcher
from router.errors import DeadlineExceeded, NotCached, Overloaded, RouterError
from router.flights import Flight
from router.health import Health
from router.journey import Journey
from router.plan import Candidate, plan
from router.replies import LiveReply, StoredReply
from router.reply import Reply
from router.stored import decode_stored

ADMIT_TRIES: Final = 3
FOLLOW_POLL_S: Final = (0.02, 0.05, 0.1, 0.2)

log = logging.getLogger(__name__)


class Routes(Protocol):
    """Where route names are looked up."""

    def resolve(self, model: str | None) -> Route:
        """The route of this name, or of one `provider:model`. Raises UnknownModel."""


class SharingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What equal calls share unless they ask otherwise."""

    cache_enabled: bool = True
    coalesce: bool = True
    ttl_s: int = 300


class Asked(msgspec.Struct, kw_only=True):
    """One call while it is being admitted. candidates empty: it may not go out, because of `refusal`."""

    call: Call
    route: Route
    facts: GenerationFacts
    lookup: Lookup | None
    storing_ttl_s: int | None
    replaces_stored: bool
    candidates: tuple[Candidate, ...]
    refusal: RouterError
    began_s: float
    began_at_ns: int
    deadline_s: float
    captures_content: bool
    missed: str = ""

    def give_up_stored(self) -> None:
        """What is stored cannot be read by this version: ask for a new answer, to take its place."""
        self.lookup = msgspec.structs.replace(_lookup(self), reads=False)
        self.replaces_stored = True

    def missed_leader(self, leader_id: str) -> None:
        """This process led the flight, but it is gone: once it just landed. Twice, its end was never kept: go alone."""
        if self.missed == leader_id:
            self.lookup = msgspec.structs.replace(_lookup(self), joins=False)
            self.replaces_stored = True
        self.missed = leader_id


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
        clock_ms: Callable[[], int],
        captures_content: bool = False,
    ) -> None:
        self._captures_content = captures_content
        self._routes = routes
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._health = health
        self._sharing = sharing
        self._clock_ms = clock_ms
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def generate(self, call: Call) -> Reply:
        """See `router.reply.Gateway`."""
        return await self.start(self._ask(call))

    async def aclose(self) -> None:
        """Wait until every call is settled. No new one may begin meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def now_ms(self) -> int:
        """Wall time, as the ledger has it."""
        return self._clock_ms()

    async def record_follower(self, asked: Asked, ending: Ending, flight: Flight) -> None:
        """Put a follower on record. It cost nothing, so it is answered even while the ledger takes no writes."""
        try:
            await self._ledger.record_follower(asked.facts, ending, leader_id=flight.generation_id)
        except LedgerUnavailable:
            log.warning("a coalesced call is not on record: the ledger takes no writes")

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that must end whether or not its caller stays; `aclose` waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def stop(self) -> None:
        """End every call that is still in flight, now: each of its callers is told so."""
        for flight in self._flights.values():
            flight.stop(Overloaded())

    async def start(self, asked: Asked) -> Reply:
        """Admit the call, anew after each flight that it waited for in vain."""
        while True:
            flight = Flight(asked.call.generation_id, asked.candidates[0].deployment.id if asked.candidates else "")
            listener = flight.join(deadline_s=asked.deadline_s)
            admitting_since_s = time.monotonic()
            admission = await self._admit(asked, flight)
            ledger_s = time.monotonic() - admitting_since_s
            match admission:
                case Lead() as lead:
                    journey = self._begin(asked, flight, lead, ledger_s)
                    return LiveReply(self, asked, flight, listener, journey=journey)
                case Hit(response):
                    stored = decode_stored(response.body)
                    if stored is not None:
                        return StoredReply(asked, response, stored, ledger_s=ledger_s)
                    asked.give_up_stored()
                case Follow() as follow:
                    led = await self._follow(asked, follow)
                    if led is not None:
                        return LiveReply(self, asked, led, led.join(deadline_s=asked.deadline_s), journey=None)
                case Missing():
                    raise asked.refusal
                case Refused(tight, held=held):
                    raise CeilingHeld(tight) if held else CeilingExceeded(tight)

    async def _follow(self, asked: Asked, follow: Follow) -> Flight | None:
        """The flight to join. None: it is over, ask the ledger again."""
        if follow.owner_id != self._ledger.owner_id:
            await self._wait_elsewhere(asked, follow.leader_id)
            return None
        flight = self._flights.get(follow.leader_id)
        if flight is None:
            asked.missed_leader(follow.leader_id)
        return flight

    def _ask(self, call: Call) -> Asked:
        """What to ask the ledger. A call that may not go out may still be answered from what is stored or in flight."""
        route = self._routes.resolve(call.model)
        lookup, ttl_s, replaces = self._lookup(call, route)
        candidates: tuple[Candidate, ...] = ()
        refusal: RouterError = NotCached()
        if call.cache.mode != "only":
            try:
                candidates = self._plan(call, route)
            except RouterError as error:
                if lookup is None:
                    raise
                refusal = error
        return Asked(
            call=call,
            route=route,
            facts=_facts(call, route),
            lookup=lookup,
            storing_ttl_s=ttl_s,
            replaces_stored=replaces,
            candidates=candidates,
            refusal=refusal,
            began_s=time.monotonic(),
            began_at_ns=time.time_ns(),
            deadline_s=asyncio.get_running_loop().time() + call.deadline_s,
            captures_content=self._captures_content,
        )

    def _lookup(self, call: Call, route: Route) -> tuple[Lookup | None, int | None, bool]:
        """What the call shares, for how long its answer may be stored (None: not at all), and whether over another."""
        mode = call.cache.mode
        enabled = self._sharing.cache_enabled if route.cache is None else route.cache
        joins = self._sharing.coalesce and mode == "use"
        if mode == "bypass" or not (enabled or joins):
            return None, None, False
        key = cache_key(
            scope="",
            route=route.name,
            workflow=call.attribution.workflow,
            body=call.body,
            headers=call.forwarded_headers,
        )
        ttl_s = self._sharing.ttl_s if call.cache.ttl_s is None else call.cache.ttl_s
        lookup = Lookup(cache_key=key, reads=enabled and mode in {"use", "only"}, joins=joins)
        return lookup, (ttl_s if enabled and ttl_s > 0 else None), mode == "refresh"

    def _plan(self, call: Call, route: Route) -> tuple[Candidate, ...]:
        attribution = _attribution(call)
        returns_in_s = {target.id: self._health.returns_in_s(target.id) for target in route.targets}
        return plan(
            call,
            route,
            is_limited=lambda deployment_id: self._ledger.has_ceiling(deployment_id, attribution),
            returns_in_s=returns_in_s,
        )

    async def _admit(self, asked: Asked, flight: Flight) -> Admission:
        request = AdmitRequest(
            facts=asked.facts,
            lookup=asked.lookup,
            bids=tuple(candidate.bid for candidate in asked.candidates),
            now_ms=self._clock_ms(),
        )
        # Before the ledger is asked: whoever it sends to follow this generation must find its flight.
        self._flights[flight.generation_id] = flight
        admission: Admission | None = None
        try:
            admission = await self._repeat_admit(request)
        except asyncio.CancelledError:
            self.own(self._give_back(asked, flight, request))
            raise
        finally:
            if not isinstance(admission, Lead):
                self._flights.pop(flight.generation_id, None)
        return admission

    async def _repeat_admit(self, request: AdmitRequest) -> Admission:
        for _ in range(ADMIT_TRIES - 1):
            try:
                return await self._ledger.admit(request)
            except LedgerUnavailable as error:
                if not error.unknown:
                    raise
        return await self._ledger.admit(request)

    async def _give_back(self, asked: Asked, flight: Flight, request: AdmitRequest) -> None:
        """The caller left while the ledger was asked: ask again, which is harmless, and return what was taken."""
        admission = await self._ledger.admit(msgspec.structs.replace(request, lookup=None))
        if isinstance(admission, Lead):
            await self._dispatcher.run(self._journey(asked, flight, 0.0), admission)

    def _begin(self, asked: Asked, flight: Flight, lead: Lead, ledger_s: float) -> Journey:
        journey = self._journey(asked, flight, ledger_s)
        breaker = self._health.breaker(asked.candidates[lead.bid].deployment.id)
        journey.breaker_status, journey.breaker_open_count = breaker.state.value, breaker.open_count
        held_nanousd = asked.candidates[lead.bid].held_nanousd
        facts: dict[str, int | float | str | bool] = {
            "farthing.duration_ms": round(ledger_s * 1000, 3),
            "farthing.held.nanousd": held_nanousd,
        }
        journey.events.append(("farthing.admit", time.time_ns(), facts))
        self.own(self._drive(journey, lead))
        return journey

    async def _drive(self, journey: Journey, lead: Lead) -> None:
        try:
            await self._dispatcher.run(journey, lead)
        finally:
            self._flights.pop(journey.flight.generation_id, None)

    def _journey(self, asked: Asked, flight: Flight, ledger_s: float) -> Journey:
        return Journey(
            call=asked.call,
            route=asked.route.name,
            facts=asked.facts,
            lookup=asked.lookup,
            storing_ttl_s=asked.storing_ttl_s,
            replaces_stored=asked.replaces_stored,
            candidates=asked.candidates,
            flight=flight,
            began_s=asked.began_s,
            ledger_s=ledger_s,
        )

    async def _wait_elsewhere(self, asked: Asked, leader_id: str) -> None:
        """Wait until another process's flight is over: then its answer is stored, or the lead is free."""
        key = _lookup(asked).cache_key
        loop = asyncio.get_running_loop()
        polls = 0
        while not await self._ledger.flight_is_over(key, leader_id):
            pause_s = FOLLOW_POLL_S[min(polls, len(FOLLOW_POLL_S) - 1)]
            if loop.time() + pause_s > asked.deadline_s:
                elapsed_s = time.monotonic() - asked.began_s
                raise DeadlineExceeded(elapsed_s=elapsed_s, waited_for="an equal call in another process")
            await asyncio.sleep(pause_s)
            polls += 1

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a call ended in a way it never should", exc_info=error)


def _lookup(asked: Asked) -> Lookup:
    assert asked.lookup is not None, "only a call with a lookup is told of flights and stored answers"
    return asked.lookup


def _attribution(call: Call) -> dict[str, str]:
    who = call.attribution
    return {"key": who.key_id, "team": who.team, "user": who.user, "workflow": who.workflow, "run": who.run}


def _facts(call: Call, route: Route) -> GenerationFacts:
    return GenerationFacts(
        generation_id=call.generation_id,
        created_at_ms=call.received_at_ms,
        route=route.name,
        stream=call.stream,
        trace_id=call.trace.trace_id,
        attribution=_attribution(call),
        tags=call.attribution.tags,
    )
