"""How long a batch waits for others to share its commit: not at all, unless the processor has no time to lose.

A commit takes as much processor time as three or four calls' writes. Where calls come as fast as the process can take
them, a batch that begins at once takes that time from those who would have joined it a moment later. So there it waits
for as many works as the last one had, until they are there, or no thread has much else to do, or MOST_S have passed.
Measured in benchmarks/README.md.
"""

import time
from typing import Final

import msgspec

# So long it waits before it looks again, and at most.
LOOK_S: Final = 0.001
MOST_S: Final = 0.008
# For no more works than these.
MOST_WORKS: Final = 32
# A process is busy that used so much of one processor over this span; while it waits, that much of each look.
BUSY: Final = 0.8
SPAN_S: Final = 0.05
BUSY_IN_A_LOOK: Final = 0.5


class Clocks(msgspec.Struct, frozen=True):
    """A moment, in monotonic seconds, and the processor time that the process has used by then."""

    at_s: float
    used_s: float


def read_clocks() -> Clocks:
    """What they show now."""
    return Clocks(time.monotonic(), time.process_time())


class Company:
    """Decides for one batch after the other. wanted: how many works the next one may wait for. Time is passed in."""

    def __init__(self) -> None:
        self.wanted = 1
        self._is_busy = False
        self._since: Clocks | None = None
        self._began: Clocks | None = None
        self._looked: Clocks | None = None

    def waits(self, works: int, now: Clocks) -> bool:
        """Whether the next batch waits, until `wanted` works are there or LOOK_S have passed; then it is asked again.

        works: how many are there.
        """
        if self._began is None or self._looked is None:
            self._began = now
            self._note_load(now)
            is_worth_it = self._is_busy
        else:
            has_waited = now.at_s - self._began.at_s >= MOST_S
            is_worth_it = not has_waited and _is_busy(self._looked, now, BUSY_IN_A_LOOK)
        self._looked = now
        return is_worth_it and works < self.wanted

    def committed(self, works: int) -> None:
        """The batch is over, and had so many."""
        self.wanted = min(works, MOST_WORKS)
        self._began = self._looked = None

    def _note_load(self, now: Clocks) -> None:
        if self._since is None:
            self._since = now
        elif now.at_s - self._since.at_s >= SPAN_S:
            self._is_busy, self._since = _is_busy(self._since, now, BUSY), now


def _is_busy(before: Clocks, now: Clocks, share: float) -> bool:
    return now.used_s - before.used_s >= share * (now.at_s - before.at_s)
