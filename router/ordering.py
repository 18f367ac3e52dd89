"""Puts a call's candidates in the order that its route asks for. What it remembers is this process's own."""

from collections.abc import Sequence
from random import Random

import msgspec

from router.deployments import Route
from router.habits import Habits
from router.health import Health
from router.plan import Candidate
from router.strategy import by_least, fastest, weighted


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates in the order to try them. pressed_by: the ceiling that moved the cheaper ones to the front."""

    candidates: tuple[Candidate, ...]
    turn: "Turn | None" = None
    pressed_by: str = ""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a weighted route's call took from the others: change[id] was added to what it is owed."""

    route: str
    change: dict[str, float]


class Ordering:
    """Orders candidates by a route's strategy. chance: seeded, it orders the same way again."""

    def __init__(self, health: Health, habits: Habits, chance: Random) -> None:
        self._health = health
        self.habits = habits
        self._chance = chance
        self._owed: dict[str, dict[str, float]] = {}

    def order(
        self, route: Route, candidates: tuple[Candidate, ...], *, is_streamed: bool
    ) -> tuple[tuple[Candidate, ...], Turn | None]:
        """All of them, and the turn that was taken, to be given back by `give_back` if the call does not go out."""
        if len(candidates) < 2 or route.strategy == "ordered":
            return candidates, None
        names = [candidate.deployment.id for candidate in candidates]
        turn: Turn | None = None
        if route.strategy == "weighted":
            names, turn = self._take_turn(route, names)
        elif route.strategy == "fastest":
            speeds = self._health.speeds
            expected_s = {name: speeds.expected_s(name, is_streamed=is_streamed) for name in names}
            names = fastest(names, expected_s, self._chance)
        else:
            names = by_least(names, self.habits.expected_nanousd(candidates))
        return in_order(candidates, names), turn

    def give_back(self, turn: Turn) -> None:
        """The call was answered without going out, or not at all."""
        owed = self._owed[turn.route]
        for name, change in turn.change.items():
            owed[name] -= change

    def _take_turn(self, route: Route, names: list[str]) -> tuple[list[str], Turn]:
        given = dict(zip((target.id for target in route.targets), route.weights, strict=False))
        weights = {name: given.get(name, 1) * self._health.success_share(name) for name in names}
        owed = self._owed.setdefault(route.name, {})
        order, after = weighted(owed, weights)
        change = {name: amount - owed.get(name, 0.0) for name, amount in after.items()}
        owed.update(after)
        return order, Turn(route=route.name, change=change)


def in_order(candidates: Sequence[Candidate], names: Sequence[str]) -> tuple[Candidate, ...]:
    """The candidates in the order of their deployments' names."""
    named = {candidate.deployment.id: candidate for candidate in candidates}
    return tuple(named[name] for name in names)
