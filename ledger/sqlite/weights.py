"""Random weights, by which the sums of many rows are added up to one number: no sorting, and nothing to keep.

Each sum of a row is multiplied with a factor of its own, and all of them with the weights of the row's hour, its place
and its name. Two tables that come to the same number have the same sums; that others do happens at most six times in
PRIME, for nobody knows the weights before: they differ by a polynomial of degree six, which is zero at so few points.
Source: the lemma of Schwartz and Zippel. All weights follow from one secret, so that each connection of an audit, in
whatever process, draws the same ones by itself; a name's weight is its keyed hash.
"""

import secrets
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import Final

import msgspec

from ledger.ceilings import DAY_MS
from ledger.operations.pairs import pairs_kept
from ledger.operations.spend_sources import NAMES
from ledger.sql import statements
from ledger.sqlite.reading import Connection

SQL: Final = statements("sqlite", "weights")
# Written into proofs.sql: remainders of it multiply within 64 bits.
PRIME: Final = 2_147_483_647
# The sums of a row.
FACTORS: Final = (
    "cost_nanousd", "saved_nanousd", "generations", "attempts", "cache_hits", "coalesced", "prompt_tokens",
    "completion_tokens", "cached_tokens", "reasoning_tokens",
)  # fmt: skip
# Ten sums, each below PRIME and times its factor, stay in 64 bits.
MOST_FACTOR: Final = 1 << 28
# names_weight is two weights in one number, for a call of Python's is dear: that of a row's names, and so many bits
# higher that of its user and workflow together. Written into proofs.sql, too.
PAIR_SHIFT: Final = 31
# Whose weights are remembered, on each connection: names come again soon.
NAMES_KEPT: Final = 1 << 14


class Seed(msgspec.Struct, frozen=True):
    """What all weights of one audit follow from. Drawn anew for each. since_ms: from when on all detail is there."""

    secret: bytes
    since_ms: int

    def draws(self, what: str) -> Iterator[int]:
        """Weights for one kind of thing, without end: the same ones whenever it is asked."""
        drawn = Random(self.secret + what.encode())  # noqa: S311  # Nobody sees what is drawn, nor the secret.
        while True:
            yield drawn.randrange(1, PRIME)

    def of_name(self, dimension: str, name: str) -> int:
        """The weight of a name of one dimension."""
        hashed = blake2b(name.encode(), digest_size=8, key=self.secret, person=dimension.encode()).digest()
        return int.from_bytes(hashed) % PRIME


def draw_seed(since_ms: int) -> Seed:
    """A secret that nobody knows."""
    return Seed(secrets.token_bytes(32), since_ms)


def factors(db: Connection, seed: Seed) -> dict[str, int]:
    """What the statements of proofs.sql are given: {a sum: its factor}, and since when what is added up.

    Raises sqlite3.DatabaseError.
    """
    drawn = {name: 1 + weight % MOST_FACTOR for name, weight in zip(FACTORS, seed.draws("factors"), strict=False)}
    paired_since_ms, paired_until_ms = pairs_kept(db)
    spans = {"since_ms": seed.since_ms, "paired_since_ms": paired_since_ms, "paired_until_ms": paired_until_ms}
    return {**drawn, **spans}


def lay_out(db: Connection, seed: Seed) -> None:
    """Have the weights of hours, places and names at hand on this connection. Raises sqlite3.DatabaseError."""
    _lay_out_names(db, seed)
    # Not strict: weights are drawn without end.
    hours = list(zip(db.execute(SQL["hours"]), seed.draws("hours")))  # noqa: B905
    days = dict(zip(sorted({hour_ms - hour_ms % DAY_MS for (hour_ms,), _ in hours}), seed.draws("days")))  # noqa: B905
    places = zip(db.execute(SQL["places"]), seed.draws("places"))  # noqa: B905
    weights: dict[str, list[tuple[str | int | None, ...]]] = {
        # Of an hour before that not all is there: it has no weight, but its day has.
        "hour": [(it, weight if it >= seed.since_ms else None, days[it - it % DAY_MS]) for (it,), weight in hours],
        "day": [*days.items()],
        "place": [(*place, weight) for place, weight in places],
    }
    for name, rows in weights.items():
        db.execute(SQL[f"make_{name}_weights"])
        db.executemany(SQL[f"add_{name}_weight"], rows)


def _lay_out_names(db: Connection, seed: Seed) -> None:
    hashed = lru_cache(NAMES_KEPT)(seed.of_name)

    def of_one(dimension: str, name: str) -> int:
        return hashed(dimension, name) if name else 0

    @lru_cache(NAMES_KEPT)
    def of_pair(user: str, workflow: str) -> int:
        # Of two weights, those of empty names among them: a term of its own for each two names.
        return hashed("user", user) * hashed("workflow", workflow) % PRIME

    @lru_cache(NAMES_KEPT)
    def of_all(*names: str | None) -> int:
        there = [name or "" for name in names]  # NULL: there is no such row, and nothing is proved.
        return sum(map(of_one, NAMES, there)) % PRIME | of_pair(there[0], there[1]) << PAIR_SHIFT

    db.create_function("name_weight", 2, of_one, deterministic=True)
    db.create_function("pair_weight", 2, of_pair, deterministic=True)
    db.create_function("names_weight", len(NAMES), of_all, deterministic=True)
