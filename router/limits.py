"""How long an attempt may take, as the one moment at which to stop and ask why."""

import asyncio

import msgspec

from router.deployments import Provider
from router.faults import Fault, Outcome
from router.flights import Flight


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a stream once its first output is there. Seconds."""

    gap_s: float = 120.0
    max_s: float = 3600.0


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
        self._patience_s = provider.timeout_s if is_streamed else provider.answer_timeout_s
        self._stream = stream
        self._has_alternative = has_alternative
        self._sent_at_s: float | None = None
        self._first_output_by_s: float | None = None
        self._silent_since_s: float | None = None
        self._timer: asyncio.Timeout | None = None

    def watch(self, timer: asyncio.Timeout) -> None:
        """Move this timer whenever a limit moves: listeners come and go meanwhile."""
        self._timer = timer
        self._flight.on_change = self._move

    def release(self) -> None:
        """The attempt is over: move nothing any more."""
        self._timer = None
        self._flight.on_change = None

    def sent(self) -> None:
        """The request goes out now."""
        now_s = self._loop.time()
        left_s = self._flight.deadline_s - now_s
        patience_s = min(self._patience_s, left_s / 2) if self._has_alternative else self._patience_s
        self._sent_at_s = now_s
        self._first_output_by_s = now_s + patience_s
        self._move()

    def heard(self, *, is_output: bool) -> None:
        """An event of the answer came. Keep-alives are no events."""
        if is_output or self._silent_since_s is not None:
            self._silent_since_s = self._loop.time()
            self._move()

    def stop_at_s(self) -> float:
        """The moment, on the loop's clock, at which to stop the attempt as things are now."""
        if self._flight.must_stop:
            return self._loop.time()
        if self._silent_since_s is not None:
            assert self._sent_at_s is not None
            return min(self._silent_since_s + self._stream.gap_s, self._sent_at_s + self._stream.max_s)
        if self._first_output_by_s is not None:
            return min(self._first_output_by_s, self._flight.deadline_s)
        return self._flight.deadline_s

    def reason(self, *, waited_s: float) -> Fault:
        """Why it was stopped, after the timer fired."""
        is_sent = self._sent_at_s is not None
        if self._flight.must_stop:
            why = "the caller left" if self._flight.stopped_by is None else "the service is shutting down"
            return Fault(Outcome.ABORTED, why, sent=is_sent)
        if self._silent_since_s is not None:
            return Fault(Outcome.CUT, f"no more output for too long, after {waited_s:.1f} s")
        if self._loop.time() >= self._flight.deadline_s:
            return Fault(Outcome.ABORTED, f"the deadline passed after {waited_s:.1f} s", sent=is_sent)
        return Fault(Outcome.STALLED, f"waiting for an answer, elapsed {waited_s:.1f} s")

    def _move(self) -> None:
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(self.stop_at_s())
