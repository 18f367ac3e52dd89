"""The service's own audit: every now and then a look at the lines since the last one, by one process of all."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ledger.database import Database, Readings, named
from ledger.errors import LedgerUnavailable
from ledger.events import EventRaised
from ledger.figures import LedgerFigures
from ledger.operations.events import raise_event
from ledger.operations.lines import LineAudit, Place, first_place
from ledger.operations.sums import Followed, SumAudit, follow, followed_until
from ledger.sql import statements
from ledger.sqlite.files import is_damage
from ledger.sqlite.proofs import CALLED
from ledger.sqlite.verify import RULES
from ledger.store.writer import Writer

SQL: Final = statements("sqlite", "audit")
# Rules whose cost does not grow with the ledger.
HELD: Final = "invariant 2: held is the sum of open holds"
STILL_THERE: Final = "invariant 3: what was looked at is still there"
RULES_EACH_LOOK: Final = {
    HELD: RULES[HELD],
    STILL_THERE: RULES[STILL_THERE],
    # Calls are no lines that could be followed: those of windows longer than a minute are for `farthing verify`.
    CALLED: SQL["calls_of_late"],
}
LINES_AT_ONCE: Final = 1000
MOST_LINES: Final = 300_000
QUEUE_NOTED_S: Final = 5.0
# What names the thing that is broken, so that one thing is told once however its figures change.
_NAMES: Final = ("seq", "hold_id", "ceiling_id", "starts_at_ms")

Broken = list[tuple[str, dict[str, Any]]]
log = logging.getLogger(__name__)


class Looks:
    """Looks every `every_s` seconds, until cancelled. owner_id: under which lease this process works now."""

    def __init__(
        self,
        store: Writer,
        readers: Readings,
        *,
        clock_ms: Callable[[], int],
        owner_id: Callable[[], str],
        every_s: float,
    ) -> None:
        self._store = store
        self._readers = readers
        self._clock_ms = clock_ms
        self._owner_id = owner_id
        self._every_s = every_s

    async def run(self) -> None:
        """Look, and say how many writes wait here."""
        while True:
            await asyncio.sleep(min(self._every_s, QUEUE_NOTED_S))
            try:
                await self._note_queue_depth()
                await self.look()
            except LedgerUnavailable:
                log.warning("the ledger could not be looked at: it is not available")
            except Exception:
                log.exception("the ledger could not be looked at")

    async def look(self) -> None:
        """Check what came since the last look, if it is time and nobody else does. Log drift and tell it as events."""
        turn = {"now_ms": self._clock_ms(), "every_ms": round(self._every_s * 1000)}
        claimed = await self._store.write(lambda db: db.execute(SQL["claim_look"], turn).fetchone())
        if claimed is None:
            return
        began_s = time.monotonic()
        before = Place(*claimed)
        audit, sums, broken = await self._check(before)
        took_us = round((time.monotonic() - began_s) * 1_000_000)
        look = {"from_seq": before.seq, "seq": audit.place.seq, "chain": audit.place.chain, "took_us": took_us}
        work = partial(_record, look=look, sums=sums.after, broken=broken, now_ms=self._clock_ms())
        for rule, row in await self._store.write(work):
            log.error("the ledger does not add up: %s: %s (farthing verify tells all)", rule, row)

    async def _check(self, before: Place) -> tuple[LineAudit, SumAudit, Broken]:
        audit, sums, rules = LineAudit(before), SumAudit(Followed()), []
        try:
            audit, sums = await self._readers.read(partial(_begin_after, before=before))
            rules = await self._readers.read(_check_rules)
            while audit.looked_at < MOST_LINES:
                if await self._readers.read(partial(_look_on, audit=audit, sums=sums)) < LINES_AT_ONCE:
                    break
        except LedgerUnavailable as error:
            if not is_damage(error.__cause__):
                raise
            rules = [("the file is sound", {"unreadable": str(error.__cause__)})]
        return audit, sums, [*rules, *audit.broken, *sums.broken]

    async def _note_queue_depth(self) -> None:
        depth = {"owner_id": self._owner_id(), "queue_depth": self._store.queue_depth}
        await self._store.write(lambda db: db.execute(SQL["note_queue_depth"], depth).rowcount)


def read_figures(db: Database, *, owner_id: str, now_ms: int, queue_depth: int, wal_bytes: int) -> LedgerFigures:
    """How the ledger is doing. queue_depth: of this process."""
    row = db.execute(SQL["figures"], {"owner_id": owner_id, "now_ms": now_ms}).fetchone()
    seq, took_us, drift, others, alerts_pending, alerts_dead = row
    return LedgerFigures(
        drift=drift,
        verified_seq=seq,
        verify_s=took_us / 1_000_000,
        wal_bytes=wal_bytes,
        queue_depth=others + queue_depth,
        alerts_pending=alerts_pending,
        alerts_dead=alerts_dead,
    )


def _begin_after(db: Database, *, before: Place) -> tuple[LineAudit, SumAudit]:
    """Lines that were folded since the last look are gone: from their closing balance then."""
    first = first_place(db)
    if first.seq > before.seq:
        return LineAudit(first), SumAudit(Followed())
    return LineAudit(before), SumAudit(followed_until(db, before.seq))


def _check_rules(db: Database) -> Broken:
    broken: Broken = []
    for rule, statement in RULES_EACH_LOOK.items():
        broken += [(rule, row) for row in named(db.execute(statement))]
    return broken


def _look_on(db: Database, *, audit: LineAudit, sums: SumAudit) -> int:
    before, after_seq = audit.looked_at, audit.place.seq
    for _ in audit.look(db, most=LINES_AT_ONCE):
        pass
    sums.add(db, after_seq=after_seq, through_seq=audit.place.seq)
    looked_at = audit.looked_at - before
    if looked_at < LINES_AT_ONCE:  # Up to the newest: only now can sums be compared.
        sums.compare(db)
    return looked_at


def _record(db: Database, *, look: dict[str, Any], sums: Followed, broken: Broken, now_ms: int) -> Broken:
    """Keep how far the look came and tell what is new. Returns what was not told before."""
    if db.execute(SQL["record_look"], {**look, "now_ms": now_ms}).rowcount:
        follow(db, sums, seq=look["seq"])
    told = []
    for rule, row in broken:
        names = " ".join(f"{name}={row[name]}" for name in _NAMES if row.get(name) is not None)
        raised = EventRaised(
            type="ledger.drift",
            dedup_key=f"ledger.drift {rule}: {names}",
            at_ms=now_ms,
            facts={"rule": rule, "row": row},
        )
        if raise_event(db, raised):
            told.append((rule, row))
    return told
