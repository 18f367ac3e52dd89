"""The reply of a call that is under way: a place in a flight, and in the one after it if its leader gives up."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from ledger.errors import LedgerError
from ledger.values import Ending, Keeping
from router.again import Again
from router.answer import Answer, Delta
from router.asked import Asked
from router.cachekey import shown_key
from router.call import EventFormat
from router.errors import DeadlineExceeded, RouterError
from router.flights import Flight, Listener
from router.journey import Journey
from router.kept import freeing, keeping_of_answer
from router.landing import Landing, LeadPassed
from router.receipt import CacheOutcome, Receipt, Timing
from router.receipts import follower_receipt, leader_receipt
from router.reply import Finished, Origin, Reply
from router.tracing import chat_facts
from telemetry import ChatFacts

if TYPE_CHECKING:
    from router.gateway import LedgerGateway


class LiveReply:
    """A place in a flight: the leader's own (with its journey), or a follower's."""

    origin: Origin | None = None
    again: Again | None = None

    def __init__(
        self,
        gateway: "LedgerGateway",
        asked: Asked,
        flight: Flight,
        listener: Listener,
        *,
        journey: Journey | None,
    ) -> None:
        self._gateway = gateway
        self._asked = asked
        self._flight = flight
        self._listener = listener
        self._journey = journey
        self._receipt: Receipt | None = None
        self._answer: Answer | None = None
        self._outcome = "aborted"
        self._is_recorded = journey is not None
        self._successor: Reply | None = None
        self.cache: CacheOutcome = "coalesced"
        if journey is not None:
            self.cache = "bypass" if asked.lookup is None else "miss"

    @property
    def deployment_id(self) -> str:
        return self._flight.deployment_id if self._successor is None else self._successor.deployment_id

    @property
    def dropped_params(self) -> tuple[str, ...]:
        return self._flight.dropped_params if self._successor is None else self._successor.dropped_params

    @property
    def clamped(self) -> dict[str, int]:
        return self._flight.clamped if self._successor is None else self._successor.clamped

    @property
    def timing(self) -> Timing | None:
        if self._successor is not None:
            return self._successor.timing
        return None if self._journey is None else self._journey.timing_until(time.monotonic())

    @property
    def event_format(self) -> EventFormat:
        return self._flight.event_format if self._successor is None else self._successor.event_format

    @property
    def has_next(self) -> bool:
        return self._listener.has_next if self._successor is None else self._successor.has_next

    async def finished(self) -> Finished:
        try:
            with self._gateway.deadlines.until(self._asked.deadline_s):
                landing = await self._listener.landing()
            return await self._land(landing)
        except LeadPassed as passed:
            return await (await self._succeed(passed)).finished()
        except TimeoutError:
            raise self._too_late() from None
        except (RouterError, LedgerError) as error:
            self._note(error)
            raise

    async def events(self) -> AsyncGenerator[Delta | Finished, None]:
        # In one piece: a generator within another costs each event half as much again.
        has_output = False
        try:
            while True:
                if has_output:
                    event = await self._listener.next()
                else:
                    with self._gateway.deadlines.until(self._asked.deadline_s):
                        event = await self._listener.next()
                if isinstance(event, Landing):
                    yield await self._land(event)
                    return
                has_output = has_output or event.is_output
                yield event
        except LeadPassed as passed:
            async with aclosing((await self._succeed(passed)).events()) as anew:
                async for told in anew:
                    yield told
        except TimeoutError:
            raise self._too_late() from None
        except (RouterError, LedgerError) as error:
            self._note(error)
            raise

    async def aclose(self) -> None:
        self._flight.leave(self._listener)
        if self._successor is not None:
            await self._successor.aclose()
        elif not self._is_recorded:
            self._is_recorded = True
            left = freeing(self._asked.call)
            self._gateway.record_follower(self._asked, self._ending(None), self._flight, left)

    def chat_facts(self) -> ChatFacts:
        if self._successor is not None:
            return self._successor.chat_facts()
        journey = self._journey
        return chat_facts(
            self._asked,
            cache=self.cache,
            outcome=self._outcome,
            receipt=self._receipt,
            answer=self._answer,
            attempts=journey.attempts if journey is not None else [],
            events=(*self._asked.events, *(journey.events if journey is not None else ())),
            answer_of=self._flight.generation_id if journey is None else "",
            ceilings_of=partial(self._gateway.ceilings_of, self._asked),
        )

    async def _land(self, landing: Landing) -> Finished:
        call = self._asked.call
        latency_s = time.monotonic() - self._asked.began_s
        if self._journey is not None:
            self._receipt = self._journey.receipt or leader_receipt(call, landing, self.cache, latency_s=latency_s)
        else:
            self._receipt = follower_receipt(call, landing, latency_s=latency_s)
        self._answer, self._outcome = landing.answer, "ok"
        if not self._is_recorded:
            self._is_recorded = True
            left = self._left(landing, self._receipt)
            await asyncio.shield(self._gateway.record_follower(self._asked, self._ending(landing), self._flight, left))
        return Finished(answer=landing.answer, receipt=self._receipt)

    async def _succeed(self, passed: LeadPassed) -> Reply:
        """The leader's own trouble ends its call alone; a follower asks anew, and may lead."""
        if self._journey is not None:
            self._note(passed.reason)
            raise passed.reason
        self._is_recorded = True
        self._successor = await self._gateway.start(self._asked)
        self.cache = self._successor.cache
        return self._successor

    def _too_late(self) -> DeadlineExceeded:
        self._listener.ran_out = True
        elapsed_s = time.monotonic() - self._asked.began_s
        attempts = self._journey.reports if self._journey is not None else ()
        error = DeadlineExceeded(
            elapsed_s=elapsed_s,
            waited_for=self._flight.waited_for,
            attempts=attempts,
            key=shown_key(self._asked.lookup),
            provider=self._flight.deployment_id.partition(":")[0],
        )
        self._note(error)
        return error

    def _note(self, error: RouterError | LedgerError) -> None:
        attempts = self._journey.reports if self._journey is not None else getattr(error, "attempts", ())
        self._outcome = attempts[-1].outcome if attempts else "aborted"
        if self._journey is not None:
            self._journey.told = error

    def _left(self, landing: Landing, receipt: Receipt) -> Keeping | None:
        """What a follower leaves under its Idempotency-Key."""
        call = self._asked.call
        if call.idempotency is None:
            return None
        return keeping_of_answer(call, landing, receipt, self.cache, flight=self._flight)

    def _ending(self, landing: Landing | None) -> Ending:
        saved = landing.answer_cost_nanousd if landing is not None else 0
        return Ending(
            generation_id=self._asked.call.generation_id,
            outcome=self._outcome,
            deployment=self._flight.deployment_id,
            cost_basis="free",
            finished_at_ms=self._gateway.now_ms(),
            latency_us=round((time.monotonic() - self._asked.began_s) * 1_000_000),
            saved_nanousd=saved,
        )
