"""In which order a route's deployments are tried. Pure: what was learned, time and chance come in.

Each rule gives back every id that it was given, so that the others follow when the first one fails.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Literal

# A call is owed in fractions: less than this is none of it.
EXACT: Final = 1e-9

Strategy = Literal["ordered", "weighted", "fastest", "cheapest"]


def weighted(owed: Mapping[str, float], weights: Mapping[str, float]) -> tuple[list[str], dict[str, float]]:
    """The ids in order, and what each is owed after this call. owed: in calls; missing: none.

    Of those who are owed something, the one that would first fall a whole call behind is next: so nobody is ever a
    whole call away from its share, while the greedy choice of nginx is with five and more. Source: earliest deadline
    first, optimal for one machine (Liu and Layland 1973).
    """
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    due = {name: owed.get(name, 0.0) + share for name, share in shares.items()}
    # Rounded, for sums of thirds are not exact: what is the same takes turns in the order given.
    order = sorted(shares, key=lambda name: (due[name] <= EXACT, round((1 - due[name]) / shares[name], 6)))
    due[order[0]] -= 1
    return order, due


def fastest(names: Sequence[str], expected_s: Mapping[str, float], chance: Random) -> list[str]:
    """The faster of two at random, the other of them, then the rest by speed. expected_s: missing is not known, tried.

    Two random choices spread the calls where always taking the fastest would send all of them to one at once.
    """
    two = chance.sample(list(names), min(2, len(names)))
    rest = [name for name in names if name not in two]
    return [*by_least(two, expected_s), *by_least(rest, expected_s)]


def by_least(names: Sequence[str], amounts: Mapping[str, float]) -> list[str]:
    """Ascending; of equals, the earlier one first."""
    return sorted(names, key=lambda name: amounts.get(name, 0))


def cheaper_first(names: Sequence[str], held_nanousd: Mapping[str, int]) -> list[str]:
    """Those that cost less than the first, by price; then the first and the others as they are."""
    cheaper = [name for name in names if held_nanousd[name] < held_nanousd[names[0]]]
    return [*by_least(cheaper, held_nanousd), *(name for name in names if name not in cheaper)]
