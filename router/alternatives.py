"""Where a call may turn beside an attempt that is slow, or after one that failed. Source: DESIGN §5."""

import asyncio

from router.faults import FAULT_RULES, says_too_large_for_its_limit, says_too_long
from router.health import Health
from router.journey import Attempt, Journey
from router.plan import Candidate, mended


class Alternatives:
    """Who is left of a journey's candidates, as their health is now."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def untried(self, journey: Journey) -> tuple[Candidate, ...]:
        """The candidates that this journey may still turn to."""
        tried = {attempt.deployment.id for attempt in journey.attempts}
        return tuple(
            candidate
            for candidate in journey.candidates
            if candidate.deployment.id not in tried
            and not self._health.returns_in_s(candidate.deployment.id)
            and not self.is_too_slow(journey, candidate)
        )

    def is_too_slow(self, journey: Journey, candidate: Candidate) -> bool:
        """Whether what is left of the deadline is less than its fastest answer takes."""
        return self._health.speeds.is_too_slow(
            candidate.deployment.id,
            journey.flight.deadline_s - asyncio.get_running_loop().time(),
            is_streamed=journey.call.stream,
            allowed_tokens=candidate.allowed_tokens,
        )

    def after(self, journey: Journey, failed: Attempt) -> tuple[Candidate, ...]:
        """Who may answer what this attempt did not, in order: the same deployment first, if it said how to ask it."""
        assert failed.outcome is not None
        mended = self._mended(journey, failed)
        if mended is not None:
            journey.candidates = (*journey.candidates, mended)
            return (mended, *self.untried(journey))
        if FAULT_RULES[failed.outcome].tries_next or not failed.was_let_through:
            return self.untried(journey)
        if failed.fault is not None and says_too_large_for_its_limit(failed.fault):
            return self.untried(journey)
        if failed.fault is not None and says_too_long(failed.fault):
            window = failed.deployment.context_window
            untried = [(candidate, candidate.deployment.context_window) for candidate in self.untried(journey)]
            return tuple(candidate for candidate, other in untried if window and other and other > window)
        return ()

    def returns_in_s(self, journey: Journey) -> float:
        """How long until the first of the journey's deployments lets a call through."""
        return min(self._health.returns_in_s(candidate.deployment.id) for candidate in journey.candidates)

    def _mended(self, journey: Journey, failed: Attempt) -> Candidate | None:
        lesson, limit = failed.lesson(), journey.call.max_cost_nanousd
        if lesson is None:
            return None
        candidate = mended(failed.candidate, lesson)
        if candidate is None or (limit is not None and candidate.held_nanousd > limit):
            return None
        asked = [(attempt.candidate.body, attempt.candidate.endpoint) for attempt in journey.attempts]
        return None if (candidate.body, candidate.endpoint) in asked else candidate
