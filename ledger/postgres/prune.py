"""Folds old detail on PostgreSQL, by the same small transactions, each in its turn."""

import asyncio
from collections.abc import Callable
from functools import partial

from ledger.errors import NotALedger
from ledger.postgres.address import Address
from ledger.postgres.connection import Connection, ServerFailed, Session, open_connection, run_to_end
from ledger.postgres.migrate import check_identity
from ledger.postgres.snapshot import SNAPSHOT
from ledger.postgres.store import in_turn
from ledger.sql import migrations
from ledger.sqlite.prune import ROWS_AT_ONCE, Repeating, Work, bounds_of, count_rows, prune_rows
from ledger.store.works import BatchLost
from ledger.upkeep import Pruned


def prune_database(
    address: Address, before_ms: int, *, now_ms: int, dry_run: bool, on_step: Callable[[str], None]
) -> Pruned:
    """Fold what is before this moment, back to a whole hour. Raises NotALedger and TooRecent."""
    bounds = bounds_of(before_ms, now_ms)

    async def run() -> Pruned:
        async with open_connection(address) as connection:
            await connection.run(_check)
            if dry_run:
                return await connection.run(lambda db: _count(db, bounds))
            return await asyncio.to_thread(prune_rows, _InTurns(connection), bounds, ROWS_AT_ONCE, on_step)

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
        written = self._connection.run(partial(in_turn, work=work))
        return asyncio.run_coroutine_threadsafe(written, self._loop).result()


def _check(db: Session) -> None:
    if check_identity(db) != len(migrations("postgres")):
        raise NotALedger("there is no ledger in the database, or one of an older farthing: start the service once")


def _count(db: Session, bounds: dict[str, int]) -> Pruned:
    db.run_script(SNAPSHOT)
    try:
        return count_rows(db, bounds)
    finally:
        db.run_script("ROLLBACK")
