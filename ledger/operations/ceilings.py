"""The configured ceilings, brought into the tables without losing what was counted."""

import heapq
import json
import math
from collections import defaultdict
from typing import Any, Final

from ledger.ceilings import (
    UNIT_OF,
    Ceiling,
    CeilingStatus,
    CeilingTable,
    Span,
    is_template,
    kind_of,
    scopes_of,
    window_span,
)
from ledger.database import Database
from ledger.money import amount_fields
from ledger.operations.apikeys import key_ceilings
from ledger.operations.crossings import open_limits, shares_text, warn_anew
from ledger.operations.folded import folded_unseen
from ledger.operations.slices import sliced
from ledger.reports import iso
from ledger.sql import statements

SQL: Final = statements("sqlite", "ceilings")


def configure_ceilings(db: Database, ceilings: tuple[Ceiling, ...], *, now_ms: int) -> None:
    """Put these ceilings in force, those that keys were made with beside them, and no others.

    A new one starts with what its window has seen already, folded or not. For one scope and window the configured one
    counts.
    """
    in_force = {row[0] for row in db.execute(SQL["active_ceilings"])}
    db.execute(SQL["next_epoch"])
    db.execute(SQL["retire_ceilings"])
    named = {ceiling.id for ceiling in ceilings}
    ceilings += tuple(ceiling for ceiling in key_ceilings(db, now_ms=now_ms) if ceiling.id not in named)
    named = {ceiling.id for ceiling in ceilings}
    for ceiling in ceilings:
        _set(db, ceiling, now_ms, is_new=ceiling.id not in in_force)
    for template in ceilings:
        if template.is_template:
            _set_named(db, template, now_ms, named=named, is_new=template.id not in in_force)


def add_ceilings(db: Database, ceilings: tuple[Ceiling, ...], *, now_ms: int) -> None:
    """Put the ceilings of a new key, which has spent nothing, in force; where one is configured for it, that counts."""
    in_force = {row[0] for row in db.execute(SQL["active_ceilings"])}
    db.execute(SQL["next_epoch"])
    for ceiling in ceilings:
        if ceiling.id not in in_force:
            _set(db, ceiling, now_ms, is_new=True, seen={})


class CeilingsInForce:
    """The ceilings as this process last read them. Any process may change them; the epoch tells in each transaction."""

    def __init__(self) -> None:
        self.table = CeilingTable(())
        self._epoch: int | None = None

    def now(self, db: Database) -> CeilingTable:
        """As they are in this transaction."""
        (epoch,) = db.execute(SQL["epoch"]).fetchone()
        if epoch != self._epoch:
            self.table = CeilingTable(
                Ceiling(
                    scope=scope,
                    window=window,
                    unit=UNIT_OF[counts],
                    limit=limit,
                    when_tight=when_tight,
                    downgrade_at=downgrade_at,
                    warn_at=tuple(json.loads(warn_at)),
                )
                for scope, window, counts, limit, when_tight, downgrade_at, warn_at in db.execute(
                    SQL["configured_ceilings"]
                )
            )
            self._epoch = epoch
        return self.table


def _set(
    db: Database,
    ceiling: Ceiling,
    now_ms: int,
    *,
    is_new: bool,
    of_template: bool = False,
    seen: dict[Span, list[tuple[Any, ...]]] | None = None,
) -> None:
    """seen: {window: the holds of its scope in it, linked or not}; None: they are looked for."""
    row = {
        "ceiling_id": ceiling.id,
        "scope": ceiling.scope,
        "window": ceiling.window,
        "counts": ceiling.counts,
        "limit_amount": ceiling.limit,
        "now_ms": now_ms,
        "is_new": is_new,
        "when_tight": ceiling.when_tight,
        "of_template": of_template,
        "downgrade_at": ceiling.downgrade_at,
        "warn_at": shares_text(ceiling),
    }
    before = {} if is_new else open_limits(db, ceiling, now_ms=now_ms)
    db.execute(SQL["set_ceiling"], row)
    if is_new and not ceiling.is_template:
        spans = set(_spans_from(db, ceiling, now_ms) if seen is None else (window_span(ceiling.window, now_ms), *seen))
        for span in spans:
            _count_missed(db, ceiling, span, None if seen is None else seen.get(span, []))
    limit = {"ceiling_id": ceiling.id, "limit_amount": ceiling.limit, "now_ms": now_ms}
    db.execute(SQL["set_window_limit"], limit)
    warn_anew(db, ceiling, before, now_ms=now_ms)


def _set_named(db: Database, template: Ceiling, now_ms: int, *, named: set[str], is_new: bool) -> None:
    """The ceilings that a template stands for: those there are, and for a new one whoever spent in this window.

    One of whose calls all detail is folded has its own at his next call: there may be as many as there ever were runs.
    """
    like = {"window": template.window, "counts": template.counts, "template": template.scope}
    scopes = {row[0] for row in db.execute(SQL["scopes_like"], {**like, "prefix": f"{kind_of(template.scope)}:"})}
    # Read once for all names: once for each would take their number squared.
    seen: dict[str, dict[Span, list[tuple[Any, ...]]]] = defaultdict(dict)
    for span in _spans_from(db, template, now_ms) if is_new else ():
        for scope, holds in _holds_by_scope(db, template, span).items():
            seen[scope][span] = holds
    for scope in sorted(scopes | seen.keys()):
        ceiling = template.named(scope)
        if ceiling.id not in named:
            _set(db, ceiling, now_ms, is_new=is_new, of_template=True, seen=seen.get(scope, {}))


def _spans_from(db: Database, ceiling: Ceiling, now_ms: int) -> list[Span]:
    """The window of now, and each later one that has holds: there are some only where the clock was put back."""
    spans = [window_span(ceiling.window, now_ms)]
    while (ends_at_ms := spans[-1].ends_at_ms) is not None:
        row = db.execute(SQL["first_hold_from"], {"from_ms": ends_at_ms}).fetchone()
        if row is None:
            break
        spans.append(window_span(ceiling.window, row[0]))
    return spans


def _holds_by_scope(db: Database, template: Ceiling, span: Span) -> dict[str, list[tuple[Any, ...]]]:
    """{scope: the holds in this span} for the scopes of a template's kind."""
    kind = kind_of(template.scope)
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in _holds_in_span(db, template, span):
        for scope in _scopes(row):
            if kind_of(scope) == kind:
                found[scope].append(row)
    return found


def ceiling_statuses(db: Database, *, now_ms: int) -> list[CeilingStatus]:
    """Every ceiling in force, with its current window; but for those of keys that are over: nothing can move them."""
    statuses = []
    shown = db.execute(SQL["shown_ceilings"], {"now_ms": now_ms}).fetchall()
    for ceiling_id, scope, window, counts, limit, shares in shown:
        if is_template(scope):
            continue
        span = window_span(window, now_ms)
        place = {"ceiling_id": ceiling_id, "starts_at_ms": span.starts_at_ms}
        limit_now, spent, held = db.execute(SQL["current_window"], place).fetchone() or (limit, 0, 0)
        status = CeilingStatus(
            scope=scope,
            window=window,
            unit=UNIT_OF[counts],
            limit=limit_now,
            spent=spent,
            held=held,
            sliced=sliced(db, ceiling_id, span.starts_at_ms) if held else 0,
            starts_at_ms=span.starts_at_ms,
            ends_at_ms=span.ends_at_ms,
            warn_at=tuple(json.loads(shares)),
        )
        statuses.append(status)
    return statuses


def _count_missed(db: Database, ceiling: Ceiling, span: Span, seen: list[tuple[Any, ...]] | None) -> None:
    """Count what this window and scope saw while the ceiling was not in force: link each hold, add what was folded."""
    place = {"ceiling_id": ceiling.id, "starts_at_ms": span.starts_at_ms}
    if seen is None:
        missed = [row for row in _holds_in_span(db, ceiling, span) if ceiling.scope in _scopes(row)]
    else:
        missed = [row for row in seen if not db.execute(SQL["is_linked"], {**place, "hold_id": row[0]}).fetchone()]
    folded = folded_unseen(db, ceiling, span)
    if not (missed or folded):
        return
    window = {"ends_at_ms": span.ends_at_ms, "counts": ceiling.counts, "limit_amount": ceiling.limit}
    amounts = {
        "held_amount": sum(row[-2] for row in missed),
        "spent_amount": sum(row[-1] for row in missed) + folded,
        "folded_amount": folded,
    }
    db.execute(SQL["add_to_window"], {**place, **window, **amounts})
    db.executemany(SQL["link_missed"], [{**place, "hold_id": row[0]} for row in missed])


def _holds_in_span(db: Database, ceiling: Ceiling, span: Span) -> list[tuple[Any, ...]]:
    place = {"ceiling_id": ceiling.id, "starts_at_ms": span.starts_at_ms, "ends_at_ms": span.ends_at_ms}
    return db.execute(SQL["unlinked_holds_in_span"], {**place, "counts": ceiling.counts}).fetchall()


def _scopes(row: tuple[Any, ...]) -> set[str]:
    _, deployment, key, team, user, workflow, run, _, _ = row
    attribution = {"key": key, "team": team, "user": user, "workflow": workflow, "run": run}
    return set(scopes_of(deployment, attribution))


def ceiling_report(db: Database, *, now_ms: int, top: int = 0) -> list[dict[str, Any]]:
    """What `GET /ledger/ceilings` answers. top: so many, the fullest first; 0: all."""
    statuses = ceiling_statuses(db, now_ms=now_ms)
    if top:
        statuses = heapq.nlargest(top, statuses, key=_fullness)
    return [_rendered(status) for status in statuses]


def _fullness(status: CeilingStatus) -> float:
    return (status.spent + status.held) / status.limit if status.limit else math.inf


def _rendered(status: CeilingStatus) -> dict[str, Any]:
    amounts = {
        "limit": status.limit,
        "spent": status.spent,
        "held": status.held,
        "sliced": status.sliced,
        "room": max(0, status.limit - status.spent - status.held),
    }
    return {
        "scope": status.scope,
        "window": status.window,
        "unit": status.unit,
        **amount_fields(amounts, status.unit),
        "warn_at": list(status.warn_at),
        "window_starts_at": iso(status.starts_at_ms),
        "window_ends_at": iso(status.ends_at_ms),
    }
