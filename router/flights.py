"""One upstream answer in the making, and everyone who listens to it.

A flight keeps every event from the first on, so that whoever joins late hears all of it. It knows nothing of providers
or money: `attempt` feeds it, `dispatch` lands it, callers read it, and the last listener's leaving ends it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from router.answer import Answer, Delta, size_of
from router.assemble import replay
from router.call import EventFormat
from router.errors import RouterError, SlowReader
from router.landing import Landing, LeadPassed

# Whoever is further behind the newest event than this, and than it was when it joined, is dropped …
BEHIND_BYTES: Final = 2**20
# … while the first of all listeners sets the pace: no more is read than it takes, but for this much.
AHEAD_BYTES: Final = 2**18


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
        # Whether the last listener left because its deadline had passed.
        self.ran_out = False
        self.is_private = False
        # How much it has told, in bytes, about.
        self.size = 0
        # The latest moment at which some listener still waits for a first output, or a whole answer.
        self.deadline_s = 0.0
        self._ends: list[int] = []
        # An answer that came in one piece, and that nobody has asked for as events.
        self._whole: Answer | None = None
        self._ended: asyncio.Event | None = None
        # Who listens. A listener knows its flight, so that one that has left must not be known here: what goes in
        # circles stays until the collector of them comes by, which costs a call more than most of its steps.
        self._listeners: set[Listener] = set()
        self._has_own = False
        self._slack: asyncio.Future[None] | None = None

    def join(self, *, deadline_s: float) -> "Listener":
        """Listen from the first event on. The first who does is the caller whose call it is."""
        assert self.may_be_joined
        listener = Listener(self, deadline_s, is_own=not self._has_own)
        self._has_own = True
        self._listeners.add(listener)
        self.deadline_s = max(self.deadline_s, deadline_s)
        self._changed()
        return listener

    def leave(self, listener: "Listener") -> None:
        """Stop listening. Leaving twice is leaving once; the last one's leaving abandons the flight for good."""
        if listener in self._listeners:
            self._listeners.discard(listener)
            self.is_abandoned = not self._listeners
            self.ran_out = self.is_abandoned and listener.ran_out
            self.deadline_s = max((it.deadline_s for it in self._listeners), default=0.0)
            self._changed()

    @property
    def may_be_joined(self) -> bool:
        """An abandoned flight's answer will never be whole; a private one's is shorter than others asked for."""
        return not self.is_abandoned and not self.is_private

    def make_private(self, passed: LeadPassed) -> bool:
        """Go on for its own caller alone: whoever else listens is told this. False: its own caller has left."""
        if not any(listener.is_own for listener in self._listeners):
            return False
        self.is_private = True
        for listener in [it for it in self._listeners if not it.is_own]:
            listener.dismiss(passed)
        return True

    def stop(self, reason: RouterError) -> None:
        """Have the attempt end now, for everyone: this is what they are told."""
        self.stopped_by = reason
        self._changed()

    @property
    def must_stop(self) -> bool:
        """Whether its attempt has to end: nobody waits for it any more, or it was told to."""
        return self.is_abandoned or self.is_over or self.stopped_by is not None

    @property
    def has_output(self) -> bool:
        """Whether listeners have been told anything that cannot be taken back."""
        return bool(self.deltas) or self._whole is not None

    def add_whole(self, answer: Answer) -> None:
        """Tell everyone all of an answer: as events only once somebody listens for events."""
        self._whole = answer
        if any(listener.hears_events for listener in self._listeners):
            self.spell_out()

    def spell_out(self) -> None:
        """Somebody listens for events."""
        if self._whole is not None:
            answer, self._whole = self._whole, None
            self.add(*replay(answer))

    def add(self, *deltas: Delta) -> None:
        """Tell everyone the next events. Whoever was too far behind by then is told no more."""
        if self.size > BEHIND_BYTES:
            for listener in [it for it in self._listeners if it.is_too_slow]:
                listener.drop()
        for delta in deltas:
            self.deltas.append(delta)
            self.size += size_of(delta)
            self._ends.append(self.size)
        for listener in self._listeners:
            listener.wake_for_events()

    def end_of(self, heard: int) -> int:
        """How much its first events are, in bytes, about. heard: how many of them."""
        return self._ends[heard - 1] if heard else 0

    @property
    def outruns_all(self) -> bool:
        """Whether everyone who listens is far behind: there is no hurry to read more."""
        if self.size <= AHEAD_BYTES:
            return False
        return bool(self._listeners) and not self.must_stop and all(it.is_far_behind for it in self._listeners)

    async def outrun_no_more(self) -> None:
        """Wait until somebody has caught up, or nobody is left who could."""
        while self.outruns_all:
            self._slack = asyncio.get_running_loop().create_future()
            try:
                await self._slack
            finally:
                self._slack = None

    def caught_up(self) -> None:
        """Somebody has heard more, or left."""
        if self._slack is not None and not self._slack.done():
            self._slack.set_result(None)

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
        if not self.is_over:
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()

    def _end(self) -> None:
        if self._ended is not None:
            self._ended.set()
        for listener in self._listeners:
            listener.wake()

    def _changed(self) -> None:
        self.caught_up()
        for watcher in tuple(self.watchers):
            watcher()


class Listener:
    """One caller's place in a flight. Who only waits for its end is never slow. is_own: it is its own call's flight."""

    def __init__(self, flight: Flight, deadline_s: float, *, is_own: bool) -> None:
        self.deadline_s = deadline_s
        self.is_own = is_own
        # Whether its deadline passed before it had what it waited for.
        self.ran_out = False
        self._flight = flight
        self._heard = 0
        self._may_lag: int | None = None
        self._was_behind: int | None = None
        self._dismissal: LeadPassed | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def next(self) -> Delta | Landing:
        """The next event, or how it all ended. Raises the flight's error once every event was heard.

        Raises SlowReader when it was dropped.
        """
        flight = self._flight
        if self._may_lag is None:
            flight.spell_out()
            self._may_lag = flight.size + BEHIND_BYTES
        while True:
            if self._was_behind is not None:
                raise SlowReader(self._was_behind)
            if self._heard < len(flight.deltas):
                self._heard += 1
                flight.caught_up()
                return flight.deltas[self._heard - 1]
            if self._is_over:
                return self._end()
            await self._change()

    @property
    def hears_events(self) -> bool:
        """Whether it reads events, rather than wait for the end."""
        return self._may_lag is not None

    @property
    def has_next(self) -> bool:
        """Whether another event is there to hear."""
        return self._heard < len(self._flight.deltas) and self._was_behind is None

    @property
    def is_too_slow(self) -> bool:
        """Whether it reads events, and is further behind than it may be."""
        return self._may_lag is not None and self._lag > self._may_lag

    @property
    def is_far_behind(self) -> bool:
        """Whether it reads events, and has more to hear than need be at hand."""
        return self._may_lag is not None and self._lag > AHEAD_BYTES

    @property
    def _lag(self) -> int:
        return self._flight.size - self._flight.end_of(self._heard)

    def drop(self) -> None:
        """Have it hear no more than that it was too slow."""
        self._was_behind = self._lag
        self._flight.leave(self)

    def dismiss(self, passed: LeadPassed) -> None:
        """Have it hear no more than this. It has heard nothing yet."""
        self._dismissal = passed
        self._flight.leave(self)
        self.wake()

    async def landing(self) -> Landing:
        """How it all ended, without the events. Raises the flight's error."""
        while not self._is_over:
            await self._change()
        return self._end()

    @property
    def _is_over(self) -> bool:
        return self._flight.is_over or self._dismissal is not None

    def _end(self) -> Landing:
        if self._dismissal is not None:
            raise self._dismissal
        if self._flight.error is not None:
            raise self._flight.error
        assert self._flight.landing is not None
        return self._flight.landing

    def wake_for_events(self) -> None:
        """There are more events, for who reads them."""
        if self._may_lag is not None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

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
