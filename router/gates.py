"""Gates: at most so many attempts at one provider at once. Waiting is first come, first served, and never in vain."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from router.deployments import Provider

# Whoever comes when so many wait is turned away, whatever is known of the provider.
WAITING_LIMIT: Final = 1000
# Fewer answers do not say what is usual. Then each new one counts for a tenth.
ANSWERS_THAT_COUNT: Final = 5
NEWEST_WEIGHS: Final = 0.1
RETRY_AFTER_S: Final = 1.0

# Nothing but itself, or, had of a wait in line, what told of it.
Place = object


class NoPlace(Exception):
    """The wait for a place would last too long. Nothing was taken. retry_after_s: when it may be shorter."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class Usual:
    """How long a place is usually taken: a mean that forgets. None until there are enough to say."""

    def __init__(self) -> None:
        self._count = 0
        self._mean_s = 0.0

    @property
    def span_s(self) -> float | None:
        """Seconds."""
        return self._mean_s if self._count >= ANSWERS_THAT_COUNT else None

    def add(self, span_s: float) -> None:
        """One more place was free again after this long."""
        self._count += 1
        self._mean_s += (span_s - self._mean_s) * max(1 / self._count, NEWEST_WEIGHS)


def expected_wait_s(held_for_s: Sequence[float], waiting: int, usual_s: float) -> float:
    """How long a newcomer waits, if every place is taken for as long as is usual. Pure.

    held_for_s: how long each place has been taken, the longest first. waiting: how many come before the newcomer.
    """
    rounds, place = divmod(waiting, len(held_for_s))
    return max(0.0, usual_s - held_for_s[place]) + rounds * usual_s


class Gate:
    """One provider's places. limit None: no bound.

    A place that is given back goes to the first in line there and then, so nobody who comes later can take it.
    """

    def __init__(self, limit: int | None, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.usual = Usual()
        self._now_s = now_s
        # {place: since when it is taken}, in that order.
        self._taken: dict[Place, float] = {}
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def in_use(self) -> int:
        """How many places are taken."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def pass_through(self, *, within_s: float = math.inf, waited: Callable[[float], None] | None = None) -> "Pass":
        """A place for the length of an `async with`. The wait for it is ended by the caller's own limit.

        within_s: how long that limit is. Raises NoPlace at once where no place would be free by then, as things are.
        waited: told how long the wait was, in seconds, however it ended, if there was one.
        """
        return Pass(self, within_s, waited)

    @asynccontextmanager
    async def pass_if_free(self) -> AsyncIterator[None]:
        """Have a place for the length of the block, if one is free now. How long it is taken says nothing of answers.

        Raises NoPlace.
        """
        place = self.take()
        if place is None:
            raise NoPlace(RETRY_AFTER_S)
        try:
            yield
        finally:
            self._pass_on(place)

    def take(self) -> Place | None:
        """A place, to be given back by `leave`, if one is free now."""
        if self.limit is not None and self.in_use >= self.limit:
            return None
        place = object()
        self._taken[place] = self._now_s()
        return place

    async def stand_in_line(self, within_s: float) -> Place:
        """Wait for a place, to be given back by `leave`. See `pass_through`."""
        wait_s = self._expected_wait_s()
        if wait_s > within_s or self.waiting >= WAITING_LIMIT:
            raise NoPlace(max(RETRY_AFTER_S, wait_s))
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place in self._taken:
                # It was given just before: the next one in line has it.
                self._pass_on(place)
            with suppress(ValueError):
                self._line.remove(place)
            raise
        return place

    def _expected_wait_s(self) -> float:
        usual_s = self.usual.span_s
        if usual_s is None:
            return 0.0
        now_s = self._now_s()
        return expected_wait_s([now_s - since_s for since_s in self._taken.values()], self.waiting, usual_s)

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self.usual.add(self._now_s() - self._taken[place])
        self._pass_on(place)

    def _pass_on(self, place: Place) -> None:
        del self._taken[place]
        while self._line:
            first = self._line.popleft()
            # Whoever gave up is passed over; it may not know yet.
            if not first.done():
                self._taken[first] = self._now_s()
                first.set_result(None)
                return


class Pass:
    """One place at a gate, while the block runs. A class, for a generator's context costs a call ten times as much."""

    __slots__ = ("_gate", "_place", "_waited", "_within_s")

    def __init__(self, gate: Gate, within_s: float, waited: Callable[[float], None] | None) -> None:
        self._gate = gate
        self._within_s = within_s
        self._waited = waited

    async def __aenter__(self) -> None:
        place = self._gate.take()
        if place is None:
            since_s = time.monotonic()
            try:
                place = await self._gate.stand_in_line(self._within_s)
            finally:
                if self._waited is not None:
                    self._waited(time.monotonic() - since_s)
        self._place = place

    async def __aexit__(self, *_: object) -> None:
        self._gate.leave(self._place)


class Gates:
    """{provider name: its gate}."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._gates = {provider.name: Gate(provider.max_concurrency) for provider in providers}

    def gate(self, provider: Provider) -> Gate:
        """The provider's gate, made on first sight for one that is not in the config."""
        return self._gates.setdefault(provider.name, Gate(provider.max_concurrency))

    def each(self) -> Iterable[tuple[str, Gate]]:
        """Every provider's name and gate."""
        return self._gates.items()
