"""How fast deployments have answered lately, in one process: what to expect of them, and the least they ever took.

A caller of a stream waits until its first output, another one until the answer is whole: the two are kept apart.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

# How much of what is expected the newest answer decides.
NEWEST: Final = 0.3
# What is known of one that is not asked is worth half as much after this: a slow one is tried again.
HALF_LIFE_S: Final = 30.0
# What to expect of one that was asked for the first time and has not answered yet.
GUESS_S: Final = 10.0
# Fewer answers are not enough to say how fast one can be, nor are older ones.
ANSWERS_THAT_COUNT: Final = 20
SPAN_S: Final = 600.0
UNLIMITED: Final = 64
STEP_S: Final = 60.0


class Expected(msgspec.Struct, frozen=True):
    """What was last expected, and since when nothing changed it. is_guess: nothing was heard yet."""

    took_s: float
    at_s: float
    is_guess: bool = False


def heard(expected: Expected | None, took_s: float, now_s: float) -> Expected:
    """What to expect after this answer: weighed exponentially, the older what was known, the less it counts."""
    if expected is None or expected.is_guess:
        return Expected(took_s, now_s)
    share = max(NEWEST, 1 - _worth(expected, now_s))
    return Expected(expected.took_s + share * (took_s - expected.took_s), now_s)


def asked(expected: Expected | None, now_s: float) -> Expected:
    """It is being tried again now: the others need not, until it answers."""
    if expected is None:
        return Expected(GUESS_S, now_s, is_guess=True)
    return Expected(expected.took_s, now_s, expected.is_guess)


def expected_s(expected: Expected | None, now_s: float) -> float:
    """How long an answer will take; 0 where nobody knows, and nearer to it the longer nobody asked."""
    return 0.0 if expected is None else expected.took_s * _worth(expected, now_s)


def _worth(expected: Expected, now_s: float) -> float:
    return float(0.5 ** (max(0.0, now_s - expected.at_s) / HALF_LIFE_S))


class _Step(msgspec.Struct):
    """What was seen from a moment on, for STEP_S: {size: (how many answers, the least that any took)}."""

    began_s: float
    seen: dict[int, tuple[int, float]] = {}


class Fastest:
    """The least that answers took within SPAN_S, by step and by size: how long they were allowed to be.

    most_s: no answer ever took longer, so that most calls need not look further.
    """

    def __init__(self) -> None:
        self.most_s = 0.0
        self._steps: deque[_Step] = deque()

    def add(self, took_s: float, now_s: float, *, size: int) -> None:
        """Count one answer."""
        self._forget(now_s)
        self.most_s = max(self.most_s, took_s)
        if not self._steps or now_s >= self._steps[-1].began_s + STEP_S:
            self._steps.append(_Step(now_s))
        seen = self._steps[-1].seen
        count, least_s = seen.get(size, (0, took_s))
        seen[size] = (count + 1, min(least_s, took_s))

    def least_s(self, now_s: float, *, size: int) -> float:
        """Of answers that were allowed no more than this one; 0 where too few say it."""
        self._forget(now_s)
        known = [found for step in self._steps for allowed, found in step.seen.items() if allowed <= size]
        if sum(count for count, _ in known) < ANSWERS_THAT_COUNT:
            return 0.0
        return min(least_s for _, least_s in known)

    def _forget(self, now_s: float) -> None:
        while self._steps and self._steps[0].began_s <= now_s - SPAN_S:
            self._steps.popleft()


class Speeds:
    """{(deployment id, whether until its first output or until it is whole): how fast it is}."""

    def __init__(self, *, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._expected: dict[tuple[str, bool], Expected] = {}
        self._fastest: dict[tuple[str, bool], Fastest] = {}

    def asked(self, deployment_id: str, *, is_streamed: bool) -> None:
        """A request goes out now."""
        place = (deployment_id, is_streamed)
        self._expected[place] = asked(self._expected.get(place), self._now_s())

    def answered(self, deployment_id: str, took_s: float, *, is_streamed: bool, allowed_tokens: int | None) -> None:
        """It answered well after so long. allowed_tokens: how long the answer might be; None: as long as it likes."""
        place, now_s = (deployment_id, is_streamed), self._now_s()
        self._expected[place] = heard(self._expected.get(place), took_s, now_s)
        size = _size(allowed_tokens, is_streamed=is_streamed)
        fastest = self._fastest.get(place)
        if fastest is None:
            fastest = self._fastest[place] = Fastest()
        fastest.add(took_s, now_s, size=size)

    def kept_waiting(self, deployment_id: str, waited_s: float, *, is_streamed: bool) -> None:
        """It was waited for in vain so long: an answer would have taken longer."""
        place, now_s = (deployment_id, is_streamed), self._now_s()
        if waited_s > expected_s(self._expected.get(place), now_s):
            self._expected[place] = heard(self._expected.get(place), waited_s, now_s)

    def expected_s(self, deployment_id: str, *, is_streamed: bool) -> float:
        """How long its next answer will take; 0: nobody knows, or nobody has asked for long."""
        return expected_s(self._expected.get((deployment_id, is_streamed)), self._now_s())

    def is_too_slow(self, deployment_id: str, left_s: float, *, is_streamed: bool, allowed_tokens: int | None) -> bool:
        """Whether none of its many answers of this length was there within so long lately."""
        known = self._fastest.get((deployment_id, is_streamed))
        if known is None or left_s >= known.most_s:
            return False
        return left_s < known.least_s(self._now_s(), size=_size(allowed_tokens, is_streamed=is_streamed))


def _size(allowed_tokens: int | None, *, is_streamed: bool) -> int:
    """Answers of about the same length. A first output does not wait for the rest."""
    if is_streamed:
        return 0
    return UNLIMITED if allowed_tokens is None else allowed_tokens.bit_length()
