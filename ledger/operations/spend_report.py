"""The spend report, rendered from `ledger.operations.spend`."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from ledger.database import Database
from ledger.money import format_usd
from ledger.operations.lines import pruned_before
from ledger.operations.spend import FAR_MS, SQL, Key, needs_detail_before, spend_by
from ledger.reports import MOMENT_LENGTHS, Spend, SpendQuery, iso

KeptKey = tuple[str | None, ...]


def spend_report(db: Database, *, query: SpendQuery) -> dict[str, Any]:
    """The report of CONTRACT §5. The total is the sum of the rows, so they agree exactly."""
    groups = spend_by(db, query)
    total = Spend()
    for spend in groups.values():
        total.add(spend)
    kept = dearest(groups, query.group_by, query.top) if query.top else groups
    ordered = sorted(kept.items(), key=lambda item: (-item[1].cost_nanousd, [(name is None, name) for name in item[0]]))
    rows = [dict(zip(query.group_by, key, strict=True)) | _rendered(spend) for key, spend in ordered]
    return {
        "since": iso(query.since_ms),
        "until": iso(query.until_ms),
        "currency": "USD",
        "group_by": list(query.group_by),
        "total": _rendered(total) | _refused(db, query),
        "rows": rows if query.group_by else [],
        **_pruned(db, query),
    }


def dearest(groups: Mapping[Key, Spend], group_by: tuple[str, ...], top: int) -> dict[KeptKey, Spend]:
    """The groups with only so many names kept apart, those that cost most over all moments; the others are one: None.

    Where nothing costs anything, those with the most calls.
    """
    named = [place for place, dimension in enumerate(group_by) if dimension not in MOMENT_LENGTHS]
    totals: dict[Key, Spend] = defaultdict(Spend)
    for key, spend in groups.items():
        totals[tuple(key[place] for place in named)].add(spend)
    order = sorted(totals, key=lambda name: (-totals[name].cost_nanousd, -totals[name].generations, name))
    kept = set(order[:top])
    folded: dict[KeptKey, Spend] = defaultdict(Spend)
    for key, spend in groups.items():
        is_kept = tuple(key[place] for place in named) in kept
        folded[tuple(value if is_kept or place not in named else None for place, value in enumerate(key))].add(spend)
    return folded


def _rendered(spend: Spend) -> dict[str, Any]:
    return {"cost_usd": format_usd(spend.cost_nanousd), **msgspec.structs.asdict(spend)}


def _pruned(db: Database, query: SpendQuery) -> dict[str, str | None]:
    """Before when this report lacks what only detail could tell, because it was folded away; else nothing."""
    moment_ms = pruned_before(db)
    if moment_ms is None or not needs_detail_before(query, moment_ms):
        return {}
    return {"pruned_before": iso(moment_ms)}


def _refused(db: Database, query: SpendQuery) -> dict[str, int]:
    """How many calls were not admitted, by whole hours; left out where the report is narrowed to less than all."""
    if query.filters:
        return {}
    window = {"since_ms": query.since_ms or 0, "until_ms": FAR_MS if query.until_ms is None else query.until_ms}
    (count,) = db.execute(SQL["refusals"], window).fetchone()
    return {"refused": count}
