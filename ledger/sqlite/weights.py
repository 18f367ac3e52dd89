"""Random weights, by which the sums of many rows are added up to one number: no sorting, and nothing to keep.

Each sum of a row is multiplied with a factor of its own, and all of them with the weights of the row's hour, its place
and its name. Two tables that come to the same number have the same sums; that others do happens at most five times in
PRIME, for nobody knows the weights before: they differ by a polynomial of degree five, which is zero at so few points.
Source: the lemma of Schwartz and Zippel. A name's weight is its hash, which Python seeds anew in each process.
"""

import secrets
import sqlite3
from functools import lru_cache
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS
from ledger.operations.pairs import pairs_kept
from ledger.operations.spend_sources import NAMES
from ledger.sql import statements

SQL: Final = statements("sqlite", "weights")
# Written into proofs.sql: remainders of it multiply within 64 bits.
PRIME: Final = 2_147_483_647
# The sums of a row; the dimensions that a name may be of; and user and workflow together.
FACTORS: Final = (
    "cost_nanousd", "saved_nanousd", "generations", "attempts", "cache_hits", "coalesced", "prompt_tokens",
    "completion_tokens", "cached_tokens", "reasoning_tokens", *NAMES, "pair",
)  # fmt: skip
# Ten sums, each below PRIME and times its factor, stay in 64 bits.
MOST_FACTOR: Final = 1 << 28
# Whose weights are remembered, on each connection: names come again soon, and a call of Python's is dear.
NAMES_KEPT: Final = 1 << 14


class Weights(msgspec.Struct, frozen=True):
    """Drawn anew for each audit. The same on all of its connections.

    factors: {a sum, or a dimension: its factor}. hours: (an hour, its weight, that of its day); the weight is None
    before since_ms, from when on all detail is there. places: (deployment, route, key, team, basis, outcome, weight).
    paired_since_ms, paired_until_ms: of which calls users and workflows are added up together.
    """

    since_ms: int
    paired_since_ms: int
    paired_until_ms: int
    factors: dict[str, int]
    hours: list[tuple[int, int | None, int]]
    days: list[tuple[int, int]]
    places: list[tuple[str | int, ...]]


def draw_weights(db: sqlite3.Connection, since_ms: int) -> Weights:
    """For all hours and places that anything is kept of. Raises sqlite3.DatabaseError."""
    hours = [hour_ms for (hour_ms,) in db.execute(SQL["hours"])]
    paired_since_ms, paired_until_ms = pairs_kept(db)
    days = {hour_ms - hour_ms % DAY_MS: _any_weight() for hour_ms in hours}
    return Weights(
        since_ms=since_ms,
        paired_since_ms=paired_since_ms,
        paired_until_ms=paired_until_ms,
        factors={name: 1 + secrets.randbelow(MOST_FACTOR - 1) for name in FACTORS},
        hours=[(it, _any_weight() if it >= since_ms else None, days[it - it % DAY_MS]) for it in hours],
        days=list(days.items()),
        places=[(*place, _any_weight()) for place in db.execute(SQL["places"])],
    )


def lay_out(db: sqlite3.Connection, weights: Weights) -> None:
    """Have the weights at hand on this connection, for the statements of proofs.sql. Raises sqlite3.DatabaseError."""

    @lru_cache(NAMES_KEPT)
    def of_one(dimension: str, name: str | None) -> int:
        return hash(name) * weights.factors[dimension] % PRIME if name else 0

    @lru_cache(NAMES_KEPT)
    def of_all(*names: str | None) -> int:
        return sum(map(of_one, NAMES, names)) % PRIME

    @lru_cache(NAMES_KEPT)
    def of_pair(user: str | None, workflow: str | None) -> int:
        return hash((user, workflow)) * weights.factors["pair"] % PRIME

    db.create_function("pair_weight", 2, of_pair, deterministic=True)
    db.create_function("name_weight", 2, of_one, deterministic=True)
    db.create_function("names_weight", len(NAMES), of_all, deterministic=True)
    for name, rows in (("hour", weights.hours), ("day", weights.days), ("place", weights.places)):
        db.execute(SQL[f"make_{name}_weights"])
        db.executemany(SQL[f"add_{name}_weight"], rows)


def _any_weight() -> int:
    return 1 + secrets.randbelow(PRIME - 1)
