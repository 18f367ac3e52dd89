"""Stored answers served again by a process that has them at hand: the ledger says whether, and counts them together."""

from typing import Final

from ledger.apikeys import ApiKeyOver
from ledger.database import Database
from ledger.operations.apikeys import is_in_force
from ledger.operations.generations import RECORD, hit_row
from ledger.sql import statements
from ledger.values import HitAgain

SQL: Final = statements("sqlite", "hits")


def hit_again(db: Database, asked: list[HitAgain]) -> list[bool | ApiKeyOver]:
    """For each, whether it is on record as a hit now; or that its key is over, which is no exception to the others.

    However many ask, each answer and each key is looked at once.
    """
    looks = _Looks(db)
    results = [looks.may_serve(again) for again in asked]
    rows = [
        hit_row(
            again.facts,
            deployment=again.deployment,
            answer_of=again.answer_of,
            saved_nanousd=again.saved_nanousd,
            now_ms=again.now_ms,
        )
        for again, result in zip(asked, results, strict=True)
        if result is True
    ]
    db.executemany(RECORD, rows)
    return results


class _Looks:
    """What was found in one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._expiries_ms: dict[tuple[bytes, str], int] = {}
        self._in_force: dict[tuple[str, int], bool] = {}

    def may_serve(self, again: HitAgain) -> bool | ApiKeyOver:
        """Whether its key is in force, and its answer still the one under its cache key, unexpired."""
        if again.api_key and not self._is_in_force(again.api_key, again.now_ms):
            return ApiKeyOver(again.api_key)
        return again.now_ms < self._expires_at_ms(again.cache_key, again.answer_of)

    def _is_in_force(self, key_id: str, now_ms: int) -> bool:
        found = self._in_force.get((key_id, now_ms))
        if found is None:
            found = self._in_force[key_id, now_ms] = is_in_force(self._db, key_id, now_ms=now_ms)
        return found

    def _expires_at_ms(self, cache_key: bytes, answer_of: str) -> int:
        """0: it is not there any more, or another one is."""
        found = self._expiries_ms.get((cache_key, answer_of))
        if found is None:
            answer = {"cache_key": cache_key, "answer_of": answer_of}
            (found,) = self._db.execute(SQL["expiry"], answer).fetchone() or (0,)
            self._expiries_ms[cache_key, answer_of] = found
        return found
