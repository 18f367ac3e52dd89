"""A discrete-event model of processes that share one ledger. Pure: the same seed gives the same figures.

Each process has a core, and on it two threads that take turns: its event loop, and its ledger's writer. A call is four
pieces of the loop's work with a write after the first (admission), the upstream after the second, and a write after the
third (settlement). A writer takes all that waits as one batch, waits for the ledger's turn (first come, first served),
does the batch's writes on its core, or has a server do them, commits, and gives the turn away. That is all that
processes share. Where admissions take no turn, a second writer of the process commits them beside it.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

PIECES: Final = 4
ADMISSION_AFTER: Final = 0
WRITES_AFTER: Final = frozenset({ADMISSION_AFTER, 2})
UPSTREAM_AFTER: Final = 1
BATCH_LIMIT: Final = 256
# Service times vary, each by up to this share of itself: otherwise processes march in step.
SPREAD: Final = 0.5
WARM_UP_SHARE: Final = 0.2


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds. loop: processor time of a call beside its writes; write: of one write under the turn.

    shared_write: of one where other processes write, too, and the pages that were read before are stale; commit: until
    the disk has a batch; turn: to pass the turn on; upstream: until the provider answers; beside: of each call's work
    that the machine does on the same cores, but not the gateway. away: of one write under the turn that a server does,
    on cores of its own, as many as it needs. batch_limit: writes that share a commit at most. beside_turn: whether
    admissions take none.
    """

    loop: float
    write: float
    shared_write: float
    commit: float
    turn: float
    upstream: float = 0.0
    beside: float = 0.0
    away: float = 0.0
    batch_limit: int = BATCH_LIMIT
    beside_turn: bool = False

    def write_of(self, processes: int) -> float:
        """What a write takes among so many processes."""
        return self.write if processes == 1 else self.shared_write


class Outcome(msgspec.Struct, frozen=True):
    """calls a second; the share of the time in which the file's turn was taken; writes a batch."""

    per_second: float
    turn_share: float
    batch: float


def simulate(times: Times, *, processes: int, connections: int, calls: int, seed: int) -> Outcome:
    """So many calls, each connection of each process sending its next one when the last is answered."""
    return _Machine(times, processes, random.Random(seed)).run(connections, calls)


def limit_per_second(times: Times, processes: int) -> float:
    """What no arrangement could exceed: all cores busy with calls alone, and the turn always taken by writes alone."""
    writes_us = len(WRITES_AFTER) * times.write_of(processes)
    in_turn = len(WRITES_AFTER) - times.beside_turn
    turn_us = in_turn * (times.write_of(processes) + times.away)
    return min(processes * 1e6 / (times.loop + times.beside + writes_us), 1e6 / turn_us if turn_us else float("inf"))


class _Call(msgspec.Struct):
    """One call on its way. piece: which piece of the loop's work comes next."""

    process: "_Process"
    piece: int = 0


class _Machine:
    """The clock, and the turn at the file."""

    def __init__(self, times: Times, processes: int, chance: random.Random) -> None:
        self.times, self._chance = times, chance
        self.write_us = times.write_of(processes)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_taken = False
        self._taken_at_us = 0.0
        self.now_us = self.taken_us = 0.0
        self.answered = self.batches = self.writes = 0
        self._processes = [_Process(self) for _ in range(processes)]

    def run(self, connections: int, calls: int) -> Outcome:
        for process in self._processes:
            for _ in range(connections):
                process.work(_Call(process))
        began = self._mark()
        while self.answered < calls:
            self.now_us, _, event = heapq.heappop(self._events)
            event()
            if began[1] == 0 and self.answered >= calls * WARM_UP_SHARE:
                began = self._mark()
        now_us, answered, taken_us, batches, writes = (
            end - start for end, start in zip(self._mark(), began, strict=True)
        )
        return Outcome(answered / now_us * 1e6, taken_us / now_us, writes / max(1, batches))

    def after(self, us: float, event: Callable[[], None]) -> None:
        """Let this happen so much later."""
        self._serial += 1
        heapq.heappush(self._events, (self.now_us + us, self._serial, event))

    def varied(self, us: float) -> float:
        """About so long."""
        return us * self._chance.uniform(1 - SPREAD, 1 + SPREAD)

    def take_turn(self, taken: Callable[[], None]) -> None:
        """Wait for the file's turn, in order."""
        self._waiting.append(taken)
        if not self._is_taken:
            self._pass_turn()

    def give_turn(self) -> None:
        """Let the next one have it."""
        self.taken_us += self.now_us - self._taken_at_us
        self._is_taken = False
        if self._waiting:
            self._pass_turn()

    def _pass_turn(self) -> None:
        self._is_taken, self._taken_at_us = True, self.now_us
        self.after(self.times.turn, self._waiting.popleft())

    def _mark(self) -> tuple[float, int, float, int, int]:
        taken_us = self.taken_us + (self.now_us - self._taken_at_us if self._is_taken else 0.0)
        return self.now_us, self.answered, taken_us, self.batches, self.writes


class _Process:
    """One worker on a core of its own. Its two threads take turns there, a piece of work each."""

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine
        self._ready: deque[_Call] = deque()
        self._queue: deque[_Call] = deque()
        self._batch: list[_Call] = []
        self._queue_beside: list[_Call] = []
        self._batch_beside: list[_Call] = []
        self._left = 0
        self._is_busy = self._is_loops_turn = False

    def work(self, call: _Call) -> None:
        """The loop has something to do for a call."""
        self._ready.append(call)
        self._go_on()

    def _go_on(self) -> None:
        if self._is_busy or not (self._ready or self._left):
            return
        self._is_busy = True
        times, machine = self._machine.times, self._machine
        if self._ready and (self._is_loops_turn or not self._left):
            self._is_loops_turn = False
            call = self._ready.popleft()
            own_us = times.loop + times.beside + (machine.write_us if times.beside_turn else 0.0)
            machine.after(machine.varied(own_us / PIECES), lambda: self._worked(call))
        else:
            self._is_loops_turn = True
            machine.after(machine.varied(machine.write_us), self._wrote)

    def _worked(self, call: _Call) -> None:
        self._is_busy = False
        piece, call.piece = call.piece, (call.piece + 1) % PIECES
        if piece == ADMISSION_AFTER and self._machine.times.beside_turn:
            self._queue_beside.append(call)
            if not self._batch_beside:
                self._take_batch_beside()
        elif piece in WRITES_AFTER:
            self._queue.append(call)
            if not self._batch:
                self._take_batch()
        elif piece == UPSTREAM_AFTER:
            self._machine.after(self._machine.varied(self._machine.times.upstream), lambda: self.work(call))
        else:  # Answered; its connection sends the next one.
            self._machine.answered += 1
            self._ready.append(call)
        self._go_on()

    def _take_batch_beside(self) -> None:
        self._batch_beside, self._queue_beside = self._queue_beside, []
        times = self._machine.times
        waits_us = times.commit + times.away * len(self._batch_beside)
        self._machine.after(self._machine.varied(waits_us), self._committed_beside)

    def _committed_beside(self) -> None:
        self._ready.extend(self._batch_beside)
        self._batch_beside = []
        if self._queue_beside:
            self._take_batch_beside()
        self._go_on()

    def _take_batch(self) -> None:
        while self._queue and len(self._batch) < self._machine.times.batch_limit:
            self._batch.append(self._queue.popleft())
        self._machine.take_turn(self._begin)

    def _begin(self) -> None:
        self._left = len(self._batch)
        self._go_on()

    def _wrote(self) -> None:
        self._is_busy = False
        self._left -= 1
        if not self._left:
            times = self._machine.times
            waits_us = times.commit + times.away * len(self._batch)
            self._machine.after(self._machine.varied(waits_us), self._committed)
        self._go_on()

    def _committed(self) -> None:
        self._machine.give_turn()
        self._machine.batches += 1
        self._machine.writes += len(self._batch)
        self._ready.extend(self._batch)
        self._batch = []
        if self._queue:
            self._take_batch()
        self._go_on()
