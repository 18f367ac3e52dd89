"""One upstream answer in the making, and everyone who listens to it.

A flight keeps every event from the first on, so that whoever joins late hears all of it. It knows nothing of providers
or money: `dispatch` feeds it, callers read it, and the last listener's leaving ends it.
"""

import asyncio
from collections.abc import Callable

import msgspec

from ledger.errors import LedgerError
from router.answer import Answer, Delta
from router.call import EventFormat
from router.errors import RouterError
from router.receipt import AttemptReport, RouterFacts, Timing


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """How a flight ended well: the answer, and the account of it that every listener's receipt is made from."""

    answer: Answer
    provider: str
    model: str
    cost_nanousd: int
    answer_cost_nanousd: int
    cost_basis: str
    estimated_prompt_tokens: int
    attempts: tuple[AttemptReport, ...]
    dropped_params: tuple[str, ...]
    clamped: dict[str, int]
    timing: Timing
    router: RouterFacts


class LeadPassed(Exception):
    """The leader ended for a reason of its own before any output: a listener may take the lead."""

    def __init__(self, reason: LedgerError | RouterError) -> None:
        super().__init__(reason)
        self.reason = reason


class Flight:
    """The shared stream of one generation's answer. event_format: of the provider's own events in it, if any."""

    def __init__(self, generation_id: str, deployment_id: str, *, event_format: EventFormat = "") -> None:
        self.generation_id = generation_id
        self.event_format = event_format
        self.deployment_id = deployment_id
        self.dropped_params: tuple[str, ...] = ()
        self.clamped: dict[str, int] = {}
        self.deltas: list[Delta] = []
        self.landing: Landing | None = None
        self.error: Exception | None = None
        self.waited_for = "its turn"
        self.watchers: set[Callable[[], None]] = set()
        self.stopped_by: RouterError | None = None
        self.is_abandoned = False
        self._ended = asyncio.Event()
        self._listeners: set[Listener] = set()

    def join(self, *, deadline_s: float) -> "Listener":
        """Listen from the first event on. An abandoned flight is not joined: its answer will never be whole."""
        assert not self.is_abandoned
        listener = Listener(self, deadline_s)
        self._listeners.add(listener)
        self._changed()
        return listener

    def leave(self, listener: "Listener") -> None:
        """Stop listening. Leaving twice is leaving once; the last one's leaving abandons the flight for good."""
        if listener in self._listeners:
            self._listeners.discard(listener)
            self.is_abandoned = not self._listeners
            self._changed()

    def stop(self, reason: RouterError) -> None:
        """Have the attempt end now, for everyone: this is what they are told."""
        self.stopped_by = reason
        self._changed()

    @property
    def must_stop(self) -> bool:
        """Whether its attempt has to end: nobody waits for it any more, or it was told to."""
        return self.is_abandoned or self.is_over or self.stopped_by is not None

    @property
    def deadline_s(self) -> float:
        """The latest moment at which some listener still waits for a first output, or a whole answer."""
        return max((listener.deadline_s for listener in self._listeners), default=0.0)

    @property
    def has_output(self) -> bool:
        """Whether listeners have been told anything that cannot be taken back."""
        return bool(self.deltas)

    def add(self, delta: Delta) -> None:
        """Tell everyone the next event."""
        self.deltas.append(delta)
        self._wake()

    def land(self, landing: Landing) -> None:
        """End well. For everyone, once."""
        assert not self.is_over
        self.landing = landing
        self._end()

    def fail(self, error: Exception) -> None:
        """End badly. For everyone, once."""
        assert not self.is_over
        self.error = error
        self._end()

    @property
    def is_over(self) -> bool:
        """Whether it landed or failed."""
        return self.landing is not None or self.error is not None

    async def ended(self) -> None:
        """Wait until it is over, without listening."""
        await self._ended.wait()

    def _end(self) -> None:
        self._ended.set()
        self._wake()

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.wake()

    def _changed(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()


class Listener:
    """One caller's place in a flight."""

    def __init__(self, flight: Flight, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._flight = flight
        self._heard = 0
        self._waiting: asyncio.Future[None] | None = None

    async def next(self) -> Delta | Landing:
        """The next event, or how it all ended. Raises the flight's error once every event was heard."""
        flight = self._flight
        while True:
            if self._heard < len(flight.deltas):
                self._heard += 1
                return flight.deltas[self._heard - 1]
            if flight.is_over:
                return self._end()
            await self._change()

    async def landing(self) -> Landing:
        """How it all ended, without the events. Raises the flight's error."""
        while not self._flight.is_over:
            await self._change()
        return self._end()

    def _end(self) -> Landing:
        if self._flight.error is not None:
            raise self._flight.error
        assert self._flight.landing is not None
        return self._flight.landing

    def wake(self) -> None:
        """Something happened in the flight."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _change(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
