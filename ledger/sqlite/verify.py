"""Audits a ledger file, read-only, on a snapshot: safe while the service writes."""

import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from ledger.database import Database
from ledger.errors import NotALedger
from ledger.operations.lines import (
    CHAIN,
    HOLD,
    PRICE,
    TOKENS,
    LineAudit,
    Place,
    first_place,
    last_seq,
    places_between,
    pruned_before,
)
from ledger.operations.spend import spend_by
from ledger.reports import SpendQuery
from ledger.sql import statements
from ledger.sqlite.gathered import LINES_AT_ONCE, Gathered, Gathering, plan, prepare
from ledger.sqlite.migrate import check_identity
from ledger.sqlite.moment import Moment, open_moment
from ledger.sqlite.proofs import HOURS, PROVABLE, REFERENCES, proved
from ledger.sqlite.reading import Connection
from ledger.sqlite.weights import Seed, draw_seed
from ledger.verify import Findings, Unreadable, Violation

RULES: Final = statements("sqlite", "verify")
FILE: Final = "the file is sound"
HOUR_DIMENSIONS: Final = ("hour", "model", "route", "key", "team", "basis", "outcome")
LINE_RULES: Final = (CHAIN, HOLD, PRICE, TOKENS)
MOST_ROWS: Final = 20
_SOUND: Final = {"integrity_check": "ok"}

OnRule = Callable[[str], None]


def verify_file(
    path: Path, *, on_rule: OnRule, since: int | None = None, is_still: bool = False, is_unfinished: bool = False
) -> Findings:
    """Check every rule. on_rule is told what is being checked. since: trust lines up to this number.

    The file's own check, the rules, the sums and the lines are looked at side by side, in one moment of the file.
    is_still: nobody else has the file open; nothing is made beside it. is_unfinished: it may be a copy that is not a
    ledger yet. Raises Unreadable, or NoSuchLine.
    """
    if not path.is_file():
        raise Unreadable(f"there is no ledger at {path}")
    try:
        with open_moment(path, is_still=is_still) as moment:
            if moment.submit(partial(check_identity, is_unfinished=is_unfinished)).result() == 0:
                raise Unreadable(f"{path} is empty")
            return _findings(moment, on_rule, since)
    except NotALedger as error:
        raise Unreadable(str(error)) from error
    except sqlite3.DatabaseError as error:
        is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        advice = ": put a backup in its place (`farthing backup` makes them)" if is_damaged else ""
        raise Unreadable(f"{path} cannot be read: {error}{advice}") from error


def _findings(moment: Moment, on_rule: OnRule, since: int | None) -> Findings:
    first = moment.submit(partial(first_place, since=since)).result()
    # What takes longest goes first, and cannot be divided.
    file = _later(moment, FILE, "PRAGMA integrity_check", on_rule)
    gathering = _gather(moment)
    audits = _look(moment, first, on_rule)
    rules = {REFERENCES: "PRAGMA foreign_key_check", **RULES}
    checks = {rule: _later(moment, rule, rules[rule], on_rule) for rule in rules if rule not in PROVABLE}
    found = _joined(gathering)
    certain = frozenset() if found is None else _compared(moment, found, on_rule)
    checks |= {rule: _later(moment, rule, rules[rule], on_rule) for rule in PROVABLE - certain - {HOURS}}
    hours = None if HOURS in certain else moment.submit(check_hours, begun=partial(on_rule, HOURS))
    looks = [audit.result() for audit in audits]
    broken = [file.result(), *(checks[rule].result() for rule in rules if rule in checks)]
    broken.append(None if hours is None else hours.result())
    return Findings(
        rules=len(RULES) + len(LINE_RULES) + len((FILE, REFERENCES, HOURS)),
        postings=sum(look.looked_at for look in looks),
        holds=moment.submit(_count_holds).result(),
        unpriced=sum(look.unpriced for look in looks),
        last_seq=looks[-1].place.seq,
        last_digest=looks[-1].place.chain.hex(),
        violations=(*(it for it in broken if it is not None), *violations_of_lines(looks)),
    )


def _gather(moment: Moment) -> list["Future[Gathered]"] | None:
    """None: what there is to gather cannot be read."""
    try:
        since_ms = moment.submit(pruned_before).result() or 0
        parts = moment.submit(_parts).result()
    except sqlite3.DatabaseError:
        return None
    seed = draw_seed(since_ms)
    return [moment.submit(partial(_gather_part, seed=seed, part=part)) for part in parts]


def _parts(db: Connection) -> list[Gathering]:
    return list(plan(db))


def _gather_part(db: Connection, *, seed: Seed, part: Gathering) -> Gathered:
    prepare(db, seed)
    gathered = Gathered(seed)
    part(gathered, db)
    return gathered


def _joined(gathering: list["Future[Gathered]"] | None) -> Gathered | None:
    """All parts together. None: one of them could not be gathered."""
    if gathering is None:
        return None
    try:
        first, *others = [part.result() for part in gathering]
    except (sqlite3.DatabaseError, TypeError):
        return None  # A page that cannot be read, or a NULL where none can be.
    for other in others:
        first.join(other)
    return first


def _compared(moment: Moment, found: Gathered, on_rule: OnRule) -> frozenset[str]:
    return moment.submit(partial(proved, found=found), begun=partial(on_rule, "sums: compared")).result()


def _look(moment: Moment, first: Place, on_rule: OnRule) -> list["Future[LineAudit]"]:
    """The audits of all lines after the first place, part by part, in their order."""
    try:
        newest = moment.submit(last_seq).result()
        places = moment.submit(partial(places_between, first=first, apart=LINES_AT_ONCE)).result()
    except sqlite3.DatabaseError:
        newest, places = first.seq, [first]
    ends = (*(place.seq for place in places[1:]), None)
    audits = [LineAudit(place, through_seq) for place, through_seq in zip(places, ends, strict=True)]
    return [
        moment.submit(
            partial(_look_at, audit=audit), begun=partial(on_rule, f"lines: {audit.place.seq:,} of {newest:,}")
        )
        for audit in audits
    ]


def _look_at(db: Connection, *, audit: LineAudit) -> LineAudit:
    try:
        audit.prepare(db)
        for _ in audit.look(db):
            pass
    except sqlite3.DatabaseError as error:
        audit.broken.append((CHAIN, {"after_seq": audit.place.seq, "unreadable": str(error)}))
    return audit


def _later(moment: Moment, rule: str, statement: str, on_rule: OnRule) -> "Future[Violation | None]":
    return moment.submit(partial(_check, rule=rule, statement=statement), begun=partial(on_rule, rule))


def _check(db: Connection, *, rule: str, statement: str) -> Violation | None:
    try:
        cursor = db.execute(statement)
        names = [column[0] for column in cursor.description]
        rows = [row for row in (dict(zip(names, values, strict=True)) for values in cursor) if row != _SOUND]
    except sqlite3.DatabaseError as error:
        # A page that cannot be read breaks the rule that needs it: the others may still be told.
        rows = [{"unreadable": str(error)}]
    return Violation(rule=rule, count=len(rows), rows=rows[:MOST_ROWS]) if rows else None


def check_hours(db: Database) -> Violation | None:
    """Reports read sums kept by the hour: they have to be what detail comes to, wherever there is detail."""
    query = SpendQuery(since_ms=pruned_before(db), group_by=HOUR_DIMENSIONS)
    try:
        kept, detail = spend_by(db, query), spend_by(db, query, by_hour=False)
    except sqlite3.DatabaseError as error:
        return Violation(rule=HOURS, count=1, rows=[{"unreadable": str(error)}])
    rows = []
    for key in sorted({*kept, *detail}):
        if kept.get(key) != detail.get(key):
            place = dict(zip(HOUR_DIMENSIONS, key, strict=True))
            rows.append(place | {"kept": kept.get(key), "detail": detail.get(key)})
    return Violation(rule=HOURS, count=len(rows), rows=rows[:MOST_ROWS]) if rows else None


def _count_holds(db: Connection) -> int:
    try:
        (holds,) = db.execute("SELECT COUNT(*) FROM holds").fetchone()
    except sqlite3.DatabaseError:
        return 0  # Some rule has said so.
    return int(holds)


def violations_of_lines(audits: Iterable[LineAudit]) -> list[Violation]:
    """What audits of lines found, by rule."""
    broken = (found for audit in audits for found in audit.broken)
    by_rule = groupby(sorted(broken, key=itemgetter(0)), key=itemgetter(0))
    return [_violation(rule, [row for _, row in broken]) for rule, broken in by_rule]


def _violation(rule: str, rows: list[dict[str, Any]]) -> Violation:
    return Violation(rule=rule, count=len(rows), rows=rows[:MOST_ROWS])
