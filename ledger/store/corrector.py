"""A writer that only corrects: no lease, no holds, in turn with whoever serves from the same ledger."""

from collections.abc import Callable, Sequence
from functools import partial

from ledger.corrections import BATCH, Charged, Correction
from ledger.operations.corrections import attempts_of, charged_attempts, correct, find_charged
from ledger.store.writer import Writer


class StoreCorrector:
    """See `ledger.corrections.Corrector`, which it implements."""

    def __init__(self, store: Writer, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def attempts_of(self, generation_id: str) -> list[tuple[str, str, str, str | None]]:
        return await self._store.write(partial(attempts_of, generation_id=generation_id))

    async def find(self, hold_id: str) -> Charged:
        return await self._store.write(partial(find_charged, hold_id=hold_id))

    async def charged(
        self, *, since_ms: int, until_ms: int, after: Charged | None = None, most: int = BATCH
    ) -> list[Charged]:
        place = (since_ms, "") if after is None else (after.taken_at_ms, after.hold_id)
        work = partial(charged_attempts, until_ms=until_ms, after=place, most=most)
        return await self._store.write(work)

    async def correct(self, corrections: Sequence[Correction]) -> list[int]:
        return await self._store.write(partial(correct, corrections=corrections, now_ms=self._clock_ms()))
