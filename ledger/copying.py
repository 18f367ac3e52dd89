"""Moving house: a whole ledger to another place, on any engine, row for row as it was.

A copy takes one moment of a ledger that nobody uses, and is a ledger only once it is whole: until then a table of its
own stands in it (`operations.unfinished`), for which every farthing refuses it. Rows go over in order of their keys,
many in a transaction, so that the last one that is there says how far a copy came that was cut off. The rules of the
schema that add up sums or want lines one by one sleep meanwhile, for those sums are rows as well. That nothing was lost
or changed is not taken on trust: at the end both ledgers are read again, row beside row, and each is audited.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import zip_longest
from typing import Final, Protocol, TypeVar

import msgspec

from ledger.database import Database, RuleBroken
from ledger.errors import LedgerError
from ledger.operations.rows import Row, Table, count_rows, last_key, next_rows, rows_after
from ledger.sqlite.tables import tables
from ledger.url import is_on_server, path_of, server_of
from ledger.verify import Findings, verify_ledger

Result = TypeVar("Result")

# What a stored answer is kept in, and how many there are.
ANSWERS: Final = frozenset({"responses", "response_totals"})
LINES: Final = "postings"
CALLS: Final = "generations"


class CopyRefused(LedgerError):
    """The ledger cannot be copied there, or not now. The text says what to do; the source is as it was."""

    code = "copy_refused"


class SourceBroken(LedgerError):
    """The ledger to be copied breaks rules. Nothing was copied."""

    code = "source_broken"

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self.findings = findings


class Step(msgspec.Struct, frozen=True):
    """How far a copy is. done and total: rows; total 0: nobody can say."""

    what: str
    done: int = 0
    total: int = 0


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied. went_on: a copy that was cut off; then rows and calls are what was left to do.

    copying_s: without the audits and the comparison. keys: API keys among it. findings: of the new ledger's audit.
    """

    rows: int
    calls: int
    copying_s: float
    keys: int
    went_on: bool
    findings: Findings


class Source(Protocol):
    """A ledger at one moment."""

    def read(self, work: Callable[[Database], Result]) -> Result:
        """Run `work` on that moment."""


class Target(Protocol):
    """A place for a copy."""

    def read(self, work: Callable[[Database], Result]) -> Result:
        """Run `work` on what is there."""

    def begun(self) -> str | None:
        """Which copy was begun here, by its mark. None: nothing is here. Raises NotALedger for anything else."""

    def begin(self, mark: str, copied: tuple[Table, ...], *, now_ms: int) -> None:
        """Make the tables, those that are copied empty, and go on as `take_over`."""

    def take_over(self) -> None:
        """From now on only this one adds to it: another one that is at it is refused."""

    def storable(self, rows: list[Row]) -> list[Row]:
        """The rows as this engine holds them."""

    def add(self, table: Table, rows: list[Row]) -> None:
        """Add rows, durably, all or none. Raises CopyRefused once another copy has taken over."""

    def add_no_more(self) -> None:
        """All rows are there: from now on they are read."""

    def finish(self) -> None:
        """Put all rules in force and make it a ledger, all at once."""


def copy_ledger(
    source_url: str, target_url: str, *, now_ms: int, with_answers: bool = True, on_step: Callable[[Step], None]
) -> Copied:
    """Copy a ledger to an empty place, or go on with a copy of it that was cut off.

    with_answers: stored ones are copied as well. on_step is told how far it is. Raises Unreadable, SourceBroken, and
    NotALedger or CopyRefused, which say what to do; then no ledger is at the target, and the source is as it was.
    """
    copied = tuple(table for table in tables() if with_answers or table.name not in ANSWERS)
    try:
        with _source(source_url) as source, _target(target_url) as target:
            begun = target.begun()
            mark = _checked_mark(source, copied, now_ms)
            if begun is not None and begun != mark:
                raise CopyRefused(
                    "there is an unfinished copy in it, of another ledger, with other options, or of this one before "
                    "it was used again: empty the place (remove the file, or drop and create the database), begin anew"
                )
            findings = _verify(source_url, "the old ledger", on_step)
            if findings.violations:
                raise SourceBroken(findings)
            if begun is None:
                target.begin(mark, copied, now_ms=now_ms)
            else:
                target.take_over()
            began_s = time.monotonic()
            rows, calls = _copy(source, target, copied, on_step)
            copying_s = time.monotonic() - began_s
            target.add_no_more()
            keys = _compare(source, target, copied, on_step)
            _prove(target_url, findings, on_step)
            with _source(source_url) as again:
                if _checked_mark(again, copied, now_ms + int((time.monotonic() - began_s) * 1000)) != mark:
                    raise CopyRefused(
                        "the old ledger was used meanwhile: stop what uses it, empty the new place, begin anew"
                    )
            target.finish()
    except (sqlite3.Error, RuleBroken, OSError) as error:
        raise CopyRefused(f"the copy was cut off ({error}): do it again, and it goes on from there") from error
    return Copied(rows=rows, calls=calls, copying_s=copying_s, keys=keys, went_on=begun is not None, findings=findings)


def ranges(source: Source, table: Table, after: Row | None = None) -> Iterator[list[Row]]:
    """Its rows after this key, in order, so many at a time as may be held at once."""
    while rows := source.read(partial(rows_after, table=table, after=after)):
        yield rows
        after = table.key_of(rows[-1])


def _copy(
    source: Source, target: Target, copied: tuple[Table, ...], on_step: Callable[[Step], None]
) -> tuple[int, int]:
    """Copy what is not there yet. Returns (rows, calls)."""
    total = sum(source.read(partial(count_rows, table=table)) for table in copied)
    there = done = sum(target.read(partial(count_rows, table=table)) for table in copied)
    calls = 0
    for table in copied:
        for rows in ranges(source, table, target.read(partial(last_key, table=table))):
            stored = target.storable(rows)
            if table.name == LINES and stored != rows:
                raise CopyRefused("a line of money holds a text that PostgreSQL cannot (the NUL character)")
            target.add(table, stored)
            done += len(rows)
            calls += len(rows) if table.name == CALLS else 0
            on_step(Step(f"copying {table.name}", done, total))
    return done - there, calls


def _compare(source: Source, target: Target, copied: tuple[Table, ...], on_step: Callable[[Step], None]) -> int:
    """Read both, row beside row. Returns how many API keys there are. Raises CopyRefused where they differ."""
    total = sum(source.read(partial(count_rows, table=table)) for table in copied)
    done = keys = 0
    for table in copied:
        after: Row | None = None
        for rows in ranges(source, table):
            there = target.read(partial(next_rows, table=table, after=after, most=len(rows)))
            _check_equal(table, target.storable(rows), there)
            after = table.key_of(rows[-1])
            done += len(rows)
            keys += len(rows) if table.name == "api_keys" else 0
            on_step(Step(f"comparing {table.name}", done, total))
        _check_equal(table, [], target.read(partial(next_rows, table=table, after=after, most=1)))
    return keys


def _check_equal(table: Table, rows: list[Row], there: list[Row]) -> None:
    if rows == there:
        return
    here, other = next((here, other) for here, other in zip_longest(rows, there) if here != other)
    differs = table.key_of(here or other)
    raise CopyRefused(
        f"the copy is not what it is a copy of: {table.name} {differs} differs. The old ledger was used meanwhile, or "
        "the new one meddled with: empty the new place and begin anew"
    )


def _prove(target_url: str, findings: Findings, on_step: Callable[[Step], None]) -> None:
    """Audit the copy: as clean as the source, and of the same lines."""
    found = _verify(target_url, "the new ledger", on_step, is_unfinished=True)
    # How many rules there are depends on the engine, and what a line's price is on the lines alone.
    same = msgspec.structs.replace(found, rules=findings.rules)
    if same != findings:
        broken = ", ".join(violation.rule for violation in found.violations) or "other lines than the old one has"
        raise CopyRefused(f"the audit of the copy found {broken}: empty the new place and begin anew")


def _verify(url: str, whose: str, on_step: Callable[[Step], None], *, is_unfinished: bool = False) -> Findings:
    return verify_ledger(
        url, on_rule=lambda rule: on_step(Step(f"auditing {whose}: {rule}")), is_unfinished=is_unfinished
    )


def _checked_mark(source: Source, copied: tuple[Table, ...], now_ms: int) -> str:
    """What tells this ledger, as it is now, from others and from itself at another time.

    Raises CopyRefused if it is in use.
    """
    living = source.read(
        lambda db: db.execute(
            "SELECT process, lease_until_ms FROM owners WHERE lease_until_ms >= ? ORDER BY lease_until_ms DESC",
            (now_ms,),
        ).fetchall()
    )
    if living:
        process, until_ms = living[0]
        raise CopyRefused(
            f"the old ledger is in use by {process}: stop every service on it first. (If that one was killed, its "
            f"lease is over in {(until_ms - now_ms) // 1000 + 1} s.)"
        )
    return source.read(partial(_mark, copied=copied))


def _mark(db: Database, *, copied: tuple[Table, ...]) -> str:
    counts = [(table.name, count_rows(db, table)) for table in copied]
    line = db.execute("SELECT seq, chain FROM postings ORDER BY seq DESC LIMIT 1").fetchone() or (0, b"")
    moments = db.execute(
        "SELECT (SELECT epoch FROM ceilings_epoch), (SELECT COALESCE(MAX(version), 0) FROM memory), "
        "(SELECT COALESCE(MAX(seq), 0) FROM events), (SELECT looked_at_ms FROM audit)"
    ).fetchone()
    facts = [counts, line[0], line[1].hex(), *moments]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()


def _source(url: str) -> AbstractContextManager[Source]:
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.copying import open_source as open_server_source

        return open_server_source(address)
    from ledger.sqlite.copying import open_source

    return open_source(path_of(url))


def _target(url: str) -> AbstractContextManager[Target]:
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.copying import open_target as open_server_target

        return open_server_target(address)
    from ledger.sqlite.copying import open_target

    return open_target(path_of(url))
