"""How long an attempt may take, as the one moment at which to stop, and why then."""

import asyncio
import math
from enum import Enum, auto
from typing import Final

import msgspec

from router.deployments import Provider
from router.faults import Fault, Outcome
from router.flights import Flight
from router.until import Until
from telemetry.metrics import Gaps

# An answer that nobody waits for any more is read on for so long, where its provider's charge is to be learned by that.
DRAIN_S: Final = 10.0
# A wait that was cut short for the sake of the next deployment says nothing about this one before so long a silence.
SILENCE_THAT_COUNTS_S: Final = 10.0
# As fine as the loop's clock is.
CLOCK_STEP_S: Final = 0.001


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a stream once its first output is there. Seconds."""

    gap_s: float = 120.0
    max_s: float = 3600.0


class Why(Enum):
    """What an attempt is stopped for."""

    ABANDONED = auto()
    LOST = auto()
    SHUTDOWN = auto()
    DEADLINE = auto()
    QUEUE = auto()
    TOO_LATE = auto()
    TIMEOUT = auto()
    TURN = auto()
    GAP = auto()
    LENGTH = auto()


class Stop(msgspec.Struct, frozen=True):
    """The moment, on the loop's clock, at which to stop as things are now."""

    at_s: float
    why: Why


_WORDS: Final = {
    Why.ABANDONED: (Outcome.ABORTED, "the caller left"),
    Why.LOST: (Outcome.ABORTED, "another attempt was quicker, elapsed {:.1f} s"),
    Why.SHUTDOWN: (Outcome.ABORTED, "the service is shutting down"),
    Why.DEADLINE: (Outcome.ABORTED, "the deadline passed after {:.1f} s"),
    Why.QUEUE: (Outcome.ABORTED, "no free place in {:.1f} s"),
    Why.TOO_LATE: (Outcome.ABORTED, "after {:.1f} s too little time is left for an answer"),
    Why.TIMEOUT: (Outcome.STALLED, "waiting for an answer, elapsed {:.1f} s"),
    Why.TURN: (Outcome.STALLED, "waiting for an answer, elapsed {:.1f} s"),
    Why.GAP: (Outcome.CUT, "no more output for too long, after {:.1f} s"),
    Why.LENGTH: (Outcome.CUT, "the stream went on for too long: {:.1f} s"),
}
# After these the answer is of use to nobody, and still somebody pays for it.
_UNHEARD: Final = frozenset({Why.ABANDONED, Why.LOST, Why.DEADLINE})


class AttemptLimits:
    """The limits of one attempt, moved as it gets on.

    Before it is sent: the flight's deadline, and half of what is left while another deployment could still be tried.
    Until the first output of a streamed answer, or the whole of another: the provider's timeout too, and half of what
    is left while another deployment could still be tried. After a stream's first output: its gap and its length, and
    the deadline where callers wait for the whole. At any time: that nobody listens any more, or that another attempt
    was quicker; then the answer may still be drained for DRAIN_S.
    """

    def __init__(
        self,
        flight: Flight,
        provider: Provider,
        stream: StreamLimits,
        *,
        is_streamed: bool,
        is_heard_whole: bool,
        has_alternative: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._flight = flight
        self._is_heard_whole = is_heard_whole
        self._drains = provider.on_abort == "drain"
        self._unheard_since_s: float | None = None
        self._has_lost = False
        self._timeout_s = provider.timeout_s if is_streamed else provider.answer_timeout_s
        self._stream = stream
        self._has_alternative = has_alternative
        self._queues_since_s = self._loop.time()
        self._sent_at_s: float | None = None
        self._first_output: Stop | None = None
        self._is_cut_short = False
        self._silent_since_s: float | None = None
        # Between what came of the answer, from its first output on, as fine as the loop's clock is.
        self.gaps = Gaps()
        self._is_paused = False
        self._timer: Until | None = None
        self._look: asyncio.TimerHandle | None = None
        self._looks_at_s = math.inf
        # As it is from `watch` on.
        self._stop = Stop(flight.deadline_s, Why.DEADLINE)

    def watch(self, timer: Until) -> None:
        """Have this timer fire at the limit, wherever it moves to: listeners come and go meanwhile."""
        self._timer = timer
        self._flight.watchers.add(self._move)
        self._move()

    def release(self) -> None:
        """The attempt is over: move nothing any more."""
        self._timer = None
        self._stop_looking()
        self._flight.watchers.discard(self._move)

    def lose(self) -> None:
        """Another attempt's output came first."""
        self._has_lost = True
        self._move()

    def send(self, *, is_too_late: bool = False) -> None:
        """The request goes out now. Raises TimeoutError where it is too late for that: then nothing may be sent.

        is_too_late: an answer would not be there before the deadline.
        """
        now_s = self._loop.time()
        if self._stop.at_s <= now_s:
            self._move()
            raise TimeoutError
        if is_too_late:
            self._stop = Stop(now_s, Why.TOO_LATE)
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
        if self._silent_since_s is not None:
            # What ends by silence ends later now, which is seen when it would have ended.
            now_s = self._loop.time()
            self.gaps.add(now_s - self._silent_since_s)
            self._silent_since_s = now_s
        elif is_output:
            self._silent_since_s = self._loop.time()
            self._move()

    def pause(self) -> None:
        """Nothing is read for now: no silence counts."""
        self._is_paused = True
        self._move()

    def resume(self) -> None:
        """It is read on."""
        self._is_paused = False
        self._silent_since_s = self._loop.time()
        self._move()

    def next_stop(self) -> Stop:
        """When to stop the attempt as things are now, and why."""
        stop = self._next_unheard() or self._next_heard()
        is_drained = self._drains and self._sent_at_s is not None and stop.why in _UNHEARD
        return Stop(stop.at_s + DRAIN_S, stop.why) if is_drained else stop

    def _next_unheard(self) -> Stop | None:
        flight = self._flight
        if flight.stopped_by is not None:
            return Stop(self._loop.time(), Why.SHUTDOWN)
        if not self._has_lost and not flight.must_stop:
            return None
        self._unheard_since_s = self._unheard_since_s or self._loop.time()
        abandoned = Why.DEADLINE if flight.ran_out else Why.ABANDONED
        return Stop(self._unheard_since_s, Why.LOST if self._has_lost else abandoned)

    def _next_heard(self) -> Stop:
        deadline = Stop(self._flight.deadline_s, Why.DEADLINE)
        if self._sent_at_s is None and self._has_alternative:
            return Stop((self._queues_since_s + deadline.at_s) / 2, Why.QUEUE)
        if self._silent_since_s is None:
            first = self._first_output
            return first if first is not None and first.at_s < deadline.at_s else deadline
        assert self._sent_at_s is not None
        gap = Stop(math.inf if self._is_paused else self._silent_since_s + self._stream.gap_s, Why.GAP)
        length = Stop(self._sent_at_s + self._stream.max_s, Why.LENGTH)
        return min(gap, length, *([deadline] if self._is_heard_whole else []), key=lambda stop: stop.at_s)

    @property
    def has_lost(self) -> bool:
        """Whether another attempt was first."""
        return self._has_lost

    @property
    def is_draining(self) -> bool:
        """Whether it is read on only to learn what it costs."""
        may_drain = self._drains and self._sent_at_s is not None and self._stop.why in _UNHEARD
        return may_drain and self._loop.time() >= self._stop.at_s - DRAIN_S

    @property
    def queues_for_s(self) -> float:
        """How much longer it may wait to be sent."""
        return max(0.0, self._stop.at_s - self._loop.time())

    @property
    def gave_up_queueing(self) -> bool:
        """Whether it was stopped before it was sent, for the sake of the next deployment."""
        return self._stop.why is Why.QUEUE

    @property
    def was_cut_short(self) -> bool:
        """Whether a limit of ours stopped it that says nothing about the deployment.

        So is a turn that was too short for that, and a stream's greatest length: until then it was told.
        """
        return self._stop.why is Why.LENGTH or (self._stop.why is Why.TURN and self._is_cut_short)

    def fault(self, *, waited_s: float) -> Fault:
        """What the attempt ended by, after the timer fired: as things were then, whoever came or left since."""
        outcome, words = _WORDS[self._stop.why]
        is_sent = outcome != Outcome.ABORTED or self._sent_at_s is not None
        return Fault(outcome, words.format(waited_s), sent=is_sent)

    def _move(self) -> None:
        """Have the timer fire at the moment to stop, as things are now.

        It is seldom reached, and mostly moves on: it is looked at when it would have come, not set anew each time.
        """
        # A timer that has fired stands: its reason is not revised by what happens while the attempt ends.
        if self._timer is None or self._timer.has_struck:
            return
        self._stop = self.next_stop()
        if self._stop.at_s <= self._loop.time() + CLOCK_STEP_S:
            self._timer.move(self._stop.at_s)
            return
        if self._timer.at_s is not None:
            self._timer.move(None)
        if self._stop.at_s < self._looks_at_s:
            self._stop_looking()
            self._looks_at_s = self._stop.at_s
            self._look = self._loop.call_at(self._looks_at_s, self._look_again)

    def _look_again(self) -> None:
        self._looks_at_s = math.inf
        self._move()

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
