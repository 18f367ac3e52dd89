"""Hits served again by a process that has their answers at hand. The ledger still says whether, and counts each one."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.values import GenerationFacts, HitAgain
from router.books import Books
from router.cachekey import shown
from router.call import Trace
from router.deployments import Route
from router.errors import DeadlineExceeded, UnknownModel
from router.journey import Facts
from router.planning import Routes
from router.until import Deadlines
from telemetry import ChatFacts, names

TRIES: Final = 3


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call that was a hit, for those that ask for the same, in the same words and by the same key.

    route: what its model was resolved to, and its key may ask for. facts, chat: its own; those of others differ from
    them in names and moments. answer_of: the generation that its answer was stored by, at this deployment;
    stored_bytes: how long it is there.
    """

    model: str | None
    route: Route
    facts: GenerationFacts
    chat: ChatFacts
    cache_key: bytes
    answer_of: str
    deployment: str
    saved_nanousd: int
    stored_bytes: int
    api_key: str
    deadline_s: float


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One more hit, on record."""

    of: Again
    generation_id: str
    span_id: str
    began_at_ns: int
    latency_ms: float

    def chat_facts(self) -> ChatFacts:
        """What its span says of it."""
        admitted_at_ns = self.began_at_ns + round(self.latency_ms * 1e6)
        admitted: Facts = {names.DURATION_MS: self.latency_ms, names.ADMISSION: "hit"}
        return msgspec.structs.replace(
            self.of.chat,
            generation_id=self.generation_id,
            span_id=self.span_id,
            started_at_ns=self.began_at_ns,
            ended_at_ns=admitted_at_ns,
            events=((names.ADMIT, admitted_at_ns, admitted),),
        )


class HitsAgain:
    """Asks the ledger, and nobody else."""

    def __init__(
        self, routes: Routes, ledger: Ledger, books: Books, deadlines: Deadlines, *, clock_ms: Callable[[], int]
    ) -> None:
        self._routes = routes
        self._ledger = ledger
        self._books = books
        self._clock_ms = clock_ms
        self._deadlines = deadlines

    async def serve(self, again: Again, *, generation_id: str, trace: Trace, received_at_ms: int) -> Served | None:
        """Put one more such hit on record. None: that is not what an equal call would be answered now, so make it one.

        Raises DeadlineExceeded, ApiKeyOver and LedgerUnavailable.
        """
        if not self._still_leads_there(again):
            return None
        began_at_ns, began_s = time.time_ns(), time.monotonic()
        asked = HitAgain(
            facts=msgspec.structs.replace(
                again.facts, generation_id=generation_id, created_at_ms=received_at_ms, trace_id=trace.trace_id
            ),
            cache_key=again.cache_key,
            answer_of=again.answer_of,
            deployment=again.deployment,
            saved_nanousd=again.saved_nanousd,
            now_ms=self._clock_ms(),
            api_key=again.api_key,
        )
        try:
            with self._deadlines.within(again.deadline_s):
                try:
                    is_served = await self._ledger.hit_again(asked)
                except LedgerUnavailable as error:
                    is_served = await self._ask_again(asked, error)
        except TimeoutError:
            elapsed_s = time.monotonic() - began_s
            raise DeadlineExceeded(elapsed_s=elapsed_s, waited_for="the ledger", key=shown(again.cache_key)) from None
        if not is_served:
            return None
        self._books.count_hit(again.facts.route, again.deployment, again.saved_nanousd)
        return Served(
            of=again,
            generation_id=generation_id,
            span_id=trace.chat_span_id,
            began_at_ns=began_at_ns,
            latency_ms=round((time.monotonic() - began_s) * 1000, 3),
        )

    def _still_leads_there(self, again: Again) -> bool:
        """Whether the config has not made something else of its model since."""
        try:
            route = self._routes.resolve(again.model)
        except UnknownModel:
            return False
        return route is again.route or route == again.route

    async def _ask_again(self, asked: HitAgain, error: LedgerUnavailable) -> bool:
        """It may be on record: only a repeat can tell, for another call would be one more."""
        for _ in range(TRIES - 1):
            if not error.unknown:
                break
            try:
                return await self._ledger.hit_again(asked)
            except LedgerUnavailable as unavailable:
                error = unavailable
        raise error
