"""Folds old detail on PostgreSQL: months that are over whole, the rest by the same small transactions as in a file."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from ledger.database import Database
from ledger.errors import NotALedger
from ledger.postgres.address import Address
from ledger.postgres.connection import Connection, Session, open_connection, run_to_end
from ledger.postgres.failures import ServerFailed
from ledger.postgres.fold import Folded, drop_empty_parts, fold_parts
from ledger.postgres.migrate import check_current
from ledger.postgres.snapshot import begin_snapshot
from ledger.postgres.store import in_turn
from ledger.sqlite.prune import ROWS_AT_ONCE, Repeating, Work, bounds_of, count_rows, prune_rows
from ledger.store.works import BatchLost
from ledger.upkeep import Pruned

# How long the server may take to add up a month.
READING_S: Final = 4 * 3600.0


def prune_database(
    address: Address, before_ms: int, *, now_ms: int, dry_run: bool, on_step: Callable[[str], None]
) -> Pruned:
    """Fold what is before this moment, back to a whole hour. Raises NotALedger and TooRecent."""
    bounds = bounds_of(before_ms, now_ms)

    async def run() -> Pruned:
        async with open_connection(address) as connection, open_connection(address, silence_s=READING_S) as patient:
            await connection.run(check_current)
            if dry_run:
                return await connection.run(lambda db: _count(db, bounds))
            whole = await patient.run(lambda db: fold_parts(db, bounds, on_step))
            rows = await asyncio.to_thread(prune_rows, _InTurns(connection), bounds, ROWS_AT_ONCE, on_step)
            await patient.run(lambda db: drop_empty_parts(db, on_step))
            return _together(whole, rows)

    try:
        return run_to_end(run())
    except (ServerFailed, BatchLost) as error:
        cause = error.__cause__ or error
        raise NotALedger(f"it could not be pruned further ({cause}): nothing is half done; try it again") from error


class _InTurns(Repeating):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    def write(self, work: Work) -> int:
        written = self._connection.run(partial(in_turn, work=partial(_planned, work=work)))
        return asyncio.run_coroutine_threadsafe(written, self._loop).result()


def _planned(db: Database, work: Work) -> int:
    """With plans for what is looked for: here it is not a row by its key."""
    db.execute("SET LOCAL plan_cache_mode = auto")
    return work(db)


def _together(whole: Folded, rows: Pruned) -> Pruned:
    return msgspec.structs.replace(
        rows,
        postings=rows.postings + whole.postings,
        holds=rows.holds + whole.holds,
        generations=rows.generations + whole.generations,
    )


def _count(db: Session, bounds: dict[str, int]) -> Pruned:
    begin_snapshot(db)
    try:
        return count_rows(db, bounds)
    finally:
        db.run_script("ROLLBACK")
