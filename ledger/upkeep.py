"""Looking after a ledger: copies of it, and folding away what is old. Engine apart."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from ledger.errors import BackupFailed
from ledger.url import is_on_server, server_of
from ledger.verify import Findings


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was folded, or would be: counts of rows. before_ms: detail before this whole hour is gone.

    events: that are over and were forgotten; nobody says beforehand how many.
    """

    before_ms: int
    through_seq: int
    postings: int
    holds: int
    generations: int
    responses: int
    events: int = 0


def backup_ledger(url: str, target: Path, *, on_step: Callable[[str], None]) -> Findings:
    """A durable, compact copy of a ledger at one moment, with the findings of its audit. A service may go on writing.

    on_step is told how far it is, on any thread. Raises Unreadable and BackupFailed; then there is no copy.
    """
    if is_on_server(url):
        raise BackupFailed("a ledger on PostgreSQL is copied by the server's own tools: pg_dump, or a base backup")
    from ledger.sqlite.backup import backup_file

    return backup_file(Path(url.partition(":")[2]), target, on_step=on_step)


def prune_ledger(
    url: str, before_ms: int, *, now_ms: int, dry_run: bool = False, on_step: Callable[[str], None]
) -> Pruned:
    """Fold detail from before a moment into closing balances; sums, reports by the hour and the chain stay whole.

    In small transactions: a service may go on writing, and what was cut off is done by doing it again. Raises
    NotALedger, and TooRecent for a moment less than a day ago.
    """
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.prune import prune_database

        return prune_database(address, before_ms, now_ms=now_ms, dry_run=dry_run, on_step=on_step)
    from ledger.sqlite.prune import prune_file

    path = Path(url.partition(":")[2])
    return prune_file(path, before_ms, now_ms=now_ms, dry_run=dry_run, on_step=on_step)
