"""Delivers what is due at one target: sends it, says how each try went, and leaves a target in trouble alone.

Nothing is lost by dying: what was sent and not yet recorded is sent again under the same id.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ledger.errors import LedgerError
from ledger.events import Delivery, Try
from ledger.faces import Outbox
from service.alerts.answers import TRANSITIONS, Answer, Outcome, outcome_of, wait_s
from service.alerts.message import Message
from service.alerts.pace import Next, Pace, digest_of
from service.alerts.sending import Send
from service.alerts.targets import Target

# Between two looks at what is due. A look that finds nothing reads a row or two.
LOOK_S: Final = 1.0
# Of what is due at a target, how much is taken at once.
MOST_DUE: Final = 1000
# A target in trouble is left alone for no longer unless it asks for it, however long its own messages wait.
TROUBLE_CAP_S: Final = 60.0

log = logging.getLogger(__name__)


class Courier:
    """Delivers to one target, one message at a time, the oldest first."""

    def __init__(
        self,
        target: Target,
        outbox: Outbox,
        send: Send,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.target = target
        self._outbox = outbox
        self._send = send
        self._now_ms = now_ms
        self._now_s = now_s
        self._chance = chance
        self._pace = Pace(burst=target.burst, digest_s=target.digest_s)
        self._stopping = asyncio.Event()
        # Tries in a row that say that the target is in trouble.
        self._troubles = 0

    def stop(self) -> None:
        """Take nothing more; what is under way is finished."""
        self._stopping.set()

    async def run(self) -> None:
        """Deliver until told to stop, or until the target says that it wants nothing more."""
        while not self._stopping.is_set():
            pause_s: float | None = LOOK_S
            try:
                pause_s = await self.look()
            except LedgerError:
                log.debug("alerts wait while the ledger is in trouble")
            except Exception:
                log.exception("alerts to %s wait for a moment", self.target.name)
            if pause_s is None:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def look(self) -> float | None:
        """Deliver what is due. The seconds until the next look; None: there is to be none. Raises LedgerError."""
        while due := await self._due():
            match self._pace.decide(len(due), self._now_s()):
                case Next.WAIT:
                    break
                case Next.FOLD:
                    await self._fold(due)
                case Next.SEND:
                    return await self._send_all(due)
        return LOOK_S

    async def _due(self) -> list[Delivery]:
        wanted = {self.target.name: self.target.events}
        return await self._outbox.due_deliveries(wanted, self._now_ms(), MOST_DUE)

    async def _fold(self, due: list[Delivery]) -> None:
        events = [delivery.event for delivery in due]
        digest = digest_of(events, self.target.name, self._now_ms())
        await self._outbox.fold_deliveries(self.target.name, [event.id for event in events], digest)
        log.info("%d alerts for %s become one", len(events), self.target.name)

    async def _send_all(self, due: list[Delivery]) -> float | None:
        for delivery in due:
            if self._stopping.is_set():
                break
            answer = await self._try(delivery)
            if answer.outcome == Outcome.GONE:
                log.warning("%s answered 410: it gets no alerts until the config is read again", self.target.name)
                return None
            if answer.is_trouble:
                return self._trouble(answer)
            self._recovered()
        return LOOK_S

    async def _try(self, delivery: Delivery) -> Answer:
        event = delivery.event
        message = Message(message_id=event.id, type=event.type, at_ms=event.at_ms, facts=event.facts)
        answer = await self._send(self.target, message)
        self._pace = self._pace.after_a_message(self._now_s())
        tried = tried_of(delivery, answer, now_ms=self._now_ms(), chance=self._chance())
        await self._outbox.record_tries([tried])
        if tried.state == "dead":
            words = "the alert %s (%s) for %s is given up after %d tries: %s"
            log.warning(words, event.id, event.type, self.target.name, delivery.tries + 1, answer.said)
        return answer

    def _trouble(self, answer: Answer) -> float:
        """How long to leave the target alone."""
        self._troubles += 1
        if self._troubles == 1:
            log.warning("%s takes no alerts: %s; they wait", self.target.name, answer.said)
        pause_s = wait_s(self._troubles, chance=self._chance(), cap_s=TROUBLE_CAP_S)
        return max(LOOK_S, pause_s, answer.retry_after_s or 0.0)

    def _recovered(self) -> None:
        if self._troubles:
            log.info("%s takes alerts again", self.target.name)
        self._troubles = 0


def tried_of(delivery: Delivery, answer: Answer, *, now_ms: int, chance: float) -> Try:
    """What to record of a try."""
    tries = delivery.tries + 1
    outcome = outcome_of(answer, tries=tries, age_ms=now_ms - delivery.event.at_ms)
    state = TRANSITIONS["pending", outcome]
    again_s = wait_s(tries, chance=chance, retry_after_s=answer.retry_after_s)
    return Try(
        event_id=delivery.event.id,
        target=delivery.target,
        at_ms=now_ms,
        state=state,
        next_at_ms=now_ms + round(again_s * 1000) if state == "pending" else None,
        status=answer.status,
        error=answer.said or None,
    )
