"""How long an attempt may take, as the one moment at which to stop, and why then."""

import asyncio
from enum import Enum, auto
from typing import Final

import msgspec

from router.deployments import Provider
from router.faults import Fault, Outcome
from router.flights import Flight

# A wait that was cut short for the sake of the next deployment says nothing about this one before so long a silence.
SILENCE_THAT_COUNTS_S: Final = 10.0


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a stream once its first output is there. Seconds."""

    gap_s: float = 120.0
    max_s: float = 3600.0


class Why(Enum):
    """What an attempt is stopped for."""

    ABANDONED = auto()
    SHUTDOWN = auto()
    DEADLINE = auto()
    TIMEOUT = auto()
    TURN = auto()
    GAP = auto()
    LENGTH = auto()


class Stop(msgspec.Struct, frozen=True):
    """The moment, on the loop's clock, at which to stop as things are now."""

    at_s: float
    why: Why


class AttemptLimits:
    """The limits of one attempt, moved as it gets on.

    Before it is sent: the flight's deadline. Until the first output of a streamed answer, or the whole of another: the
    provider's timeout too, and half of what is left while another deployment could still be tried. After a stream's
    first output: its gap and its length. At any time: that nobody listens any more.
    """

    def __init__(
        self, flight: Flight, provider: Provider, stream: StreamLimits, *, is_streamed: bool, has_alternative: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._flight = flight
        self._timeout_s = provider.timeout_s if is_streamed else provider.answer_timeout_s
        self._stream = stream
        self._has_alternative = has_alternative
        self._sent_at_s: float | None = None
        self._first_output: Stop | None = None
        self._is_cut_short = False
        self._silent_since_s: float | None = None
        self._timer: asyncio.Timeout | None = None
        self._stop = self.next_stop()

    def watch(self, timer: asyncio.Timeout) -> None:
        """Move this timer whenever a limit moves: listeners come and go meanwhile."""
        self._timer = timer
        self._flight.on_change = self._move
        self._move()

    def release(self) -> None:
        """The attempt is over: move nothing any more."""
        self._timer = None
        self._flight.on_change = None

    def send(self) -> None:
        """The request goes out now. Raises TimeoutError where it is too late for that: then nothing may be sent."""
        now_s = self._loop.time()
        if self.next_stop().at_s <= now_s:
            self._move()
            raise TimeoutError
        turn_s = (self._flight.deadline_s - now_s) / 2
        self._sent_at_s = now_s
        if self._has_alternative and turn_s < self._timeout_s:
            self._first_output = Stop(now_s + turn_s, Why.TURN)
            self._is_cut_short = turn_s < SILENCE_THAT_COUNTS_S
        else:
            self._first_output = Stop(now_s + self._timeout_s, Why.TIMEOUT)
        self._move()

    def heard(self, *, is_output: bool) -> None:
        """An event of the answer came. Keep-alives are no events."""
        if is_output or self._silent_since_s is not None:
            self._silent_since_s = self._loop.time()
            self._move()

    def next_stop(self) -> Stop:
        """When to stop the attempt as things are now, and why."""
        flight = self._flight
        if flight.must_stop:
            return Stop(self._loop.time(), Why.SHUTDOWN if flight.stopped_by is not None else Why.ABANDONED)
        if self._silent_since_s is not None:
            assert self._sent_at_s is not None
            gap_at_s, length_at_s = self._silent_since_s + self._stream.gap_s, self._sent_at_s + self._stream.max_s
            return Stop(gap_at_s, Why.GAP) if gap_at_s <= length_at_s else Stop(length_at_s, Why.LENGTH)
        if self._first_output is not None and self._first_output.at_s < flight.deadline_s:
            return self._first_output
        return Stop(flight.deadline_s, Why.DEADLINE)

    @property
    def was_cut_short(self) -> bool:
        """Whether it was stopped for the sake of the next deployment, too soon to say anything about this one."""
        return self._stop.why is Why.TURN and self._is_cut_short

    def fault(self, *, waited_s: float) -> Fault:
        """What the attempt ended by, after the timer fired: as things were then, whoever came or left since."""
        is_sent = self._sent_at_s is not None
        match self._stop.why:
            case Why.ABANDONED:
                return Fault(Outcome.ABORTED, "the caller left", sent=is_sent)
            case Why.SHUTDOWN:
                return Fault(Outcome.ABORTED, "the service is shutting down", sent=is_sent)
            case Why.DEADLINE:
                return Fault(Outcome.ABORTED, f"the deadline passed after {waited_s:.1f} s", sent=is_sent)
            case Why.TIMEOUT | Why.TURN:
                return Fault(Outcome.STALLED, f"waiting for an answer, elapsed {waited_s:.1f} s")
            case Why.GAP:
                return Fault(Outcome.CUT, f"no more output for too long, after {waited_s:.1f} s")
            case Why.LENGTH:
                return Fault(Outcome.CUT, f"the stream went on for too long: {waited_s:.1f} s")

    def _move(self) -> None:
        # A timer that has fired stands: its reason is not revised by what happens while the attempt ends.
        if self._timer is not None and not self._timer.expired():
            self._stop = self.next_stop()
            self._timer.reschedule(self._stop.at_s)
