"""Shares of a ceiling that people are told of once they are spent. Pure."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

WHOLE: Final = 1.0


def line_of(limit: int, share: float) -> int:
    """The least amount that is this share of a limit, exactly as people write it: 0.8 is four fifths."""
    # Nothing spent is no line that anything crosses, also where nothing may be spent.
    return max(1, -(-limit * Fraction(str(share)) // 1))


def crossed(shares: Iterable[float], limit: int, *, before: int, after: int) -> tuple[float, ...]:
    """The shares whose lines lie between these amounts of spend: not reached before, and reached after."""
    return tuple(share for share in sorted(set(shares)) if before < line_of(limit, share) <= after)


def next_line(shares: Iterable[float], limit: int, spent: int) -> int | None:
    """The next amount of spend to look out for. None: there is none above this."""
    return min((line for share in shares if (line := line_of(limit, share)) > spent), default=None)
