"""Ceilings' lines that spending crosses, told by the very transaction that crosses them.

A window keeps the next amount to look out for (`warn_amount`), so that a settlement that crosses nothing compares two
numbers in a row that it writes anyway. A line is told once for its ceiling, window, share and limit: whoever raises a
limit is warned of the new one.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ledger.ceilings import UNIT_OF, Ceiling, Counts, Window, window_span
from ledger.database import Database
from ledger.errors import Tight
from ledger.events import EventRaised
from ledger.money import amount_fields
from ledger.operations.events import raise_event
from ledger.reports import iso
from ledger.sql import statements
from ledger.thresholds import WHOLE, crossed, line_of, next_line

SQL: Final = statements("sqlite", "crossings")


class Standing(msgspec.Struct, frozen=True):
    """A ceiling in one of its windows, as it stands. key_name: of the key that it is of. shares: it warns at these."""

    ceiling_id: str
    starts_at_ms: int
    ends_at_ms: int | None
    limit: int
    spent: int
    held: int
    warn_amount: int | None
    scope: str
    window: Window
    counts: Counts
    key_name: str | None
    shares: tuple[float, ...]
    is_active: bool


def tell_crossings(db: Database, places: Iterable[tuple[str, int]], *, now_ms: int) -> None:
    """Tell what was crossed in these windows, (ceiling, start), and look out for the next line."""
    for name, starts_at_ms in places:
        standing = _standing(db, name, starts_at_ms)
        if standing is None or standing.warn_amount is None:
            continue
        if standing.is_active:
            before = standing.warn_amount - 1
            shares = crossed(standing.shares, standing.limit, before=before, after=standing.spent)
            _tell(db, standing, shares, now_ms=now_ms)
        _look_out(db, standing)


def tell_refusal(db: Database, tight: Tight, *, now_ms: int) -> None:
    """A call that an empty window would have let through was refused for what is spent: the ceiling is exceeded."""
    if tight.can_never_fit or not tight.spent:
        return
    ends_at_ms = tight.window_ends_at_ms
    span = window_span(tight.window, now_ms if ends_at_ms is None else ends_at_ms - 1)
    standing = _standing(db, tight.ceiling_id, span.starts_at_ms)
    if standing is not None and standing.is_active and WHOLE in standing.shares:
        _tell(db, standing, (WHOLE,), now_ms=now_ms)


def open_limits(db: Database, ceiling: Ceiling, *, now_ms: int) -> dict[int, int]:
    """{start: limit} of the ceiling's windows that are not over."""
    return dict(db.execute(SQL["open_limits"], {"ceiling_id": ceiling.id, "now_ms": now_ms}).fetchall())


def warn_anew(db: Database, ceiling: Ceiling, before: Mapping[int, int], *, now_ms: int) -> None:
    """After its limit or its windows' spend was set: tell what that crossed, and look out for what is next.

    before: {start: limit} of those windows that it was in force in, as it was.
    """
    for starts_at_ms in open_limits(db, ceiling, now_ms=now_ms):
        standing = _standing(db, ceiling.id, starts_at_ms)
        assert standing is not None
        lines = crossed(standing.shares, standing.limit, before=0, after=standing.spent)
        limit_before = before.get(starts_at_ms)
        if limit_before is not None:
            lines = tuple(share for share in lines if line_of(limit_before, share) > standing.spent)
        _tell(db, standing, lines, now_ms=now_ms)
        _look_out(db, standing)


def shares_text(ceiling: Ceiling) -> str:
    """The shares that a ceiling warns at, as its row has them."""
    return json.dumps(ceiling.shares)


def first_line(ceiling: Ceiling) -> int | None:
    """What a new window of this ceiling looks out for."""
    return next_line(ceiling.shares, ceiling.limit, 0)


def _standing(db: Database, name: str, starts_at_ms: int) -> Standing | None:
    row: tuple[Any, ...] | None = db.execute(
        SQL["standing"], {"ceiling_id": name, "starts_at_ms": starts_at_ms}
    ).fetchone()
    if row is None:
        return None
    *known, shares, is_active = row
    return Standing(*(name, starts_at_ms, *known, tuple(json.loads(shares)), bool(is_active)))


def _look_out(db: Database, standing: Standing) -> None:
    warn_amount = next_line(standing.shares, standing.limit, standing.spent)
    place = {"ceiling_id": standing.ceiling_id, "starts_at_ms": standing.starts_at_ms}
    db.execute(SQL["look_out"], {**place, "warn_amount": warn_amount})


def _tell(db: Database, standing: Standing, shares: Iterable[float], *, now_ms: int) -> None:
    unit = UNIT_OF[standing.counts]
    amounts = {"limit": standing.limit, "spent": standing.spent, "held": standing.held}
    for share in shares:
        named = {} if standing.key_name is None else {"key_name": standing.key_name}
        facts = {
            "scope": standing.scope,
            **named,
            "window": standing.window,
            "unit": unit,
            "threshold": share,
            **amount_fields(amounts, unit),
            "window_starts_at": iso(standing.starts_at_ms),
            "window_ends_at": iso(standing.ends_at_ms),
        }
        raised = EventRaised(
            type="ceiling.exceeded" if share >= WHOLE else "ceiling.threshold",
            dedup_key=f"ceiling {standing.ceiling_id} {standing.starts_at_ms} {share} {standing.limit}",
            at_ms=now_ms,
            facts=facts,
        )
        raise_event(db, raised)
