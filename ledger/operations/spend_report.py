"""The spend report, rendered from `ledger.operations.spend`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ledger.database import Database
from ledger.money import format_usd
from ledger.operations.lines import pruned_before
from ledger.operations.spend import FAR_MS, needs_detail_before, spend_by
from ledger.operations.spend_sources import NAMES, SQL, Key
from ledger.reports import MOMENT_LENGTHS, Spend, SpendQuery, iso

KeptKey = tuple[str | None, ...]


def spend_report(db: Database, *, query: SpendQuery) -> dict[str, Any]:
    """The report of CONTRACT §5. The total is the sum of the rows, so they agree exactly."""
    kept = dearest(db, query) if query.top else {**spend_by(db, query)}
    total = Spend()
    for spend in kept.values():
        total.add(spend)
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


def dearest(db: Database, query: SpendQuery) -> dict[KeptKey, Spend]:
    """The groups with only query.top names kept apart, those that cost most over all moments; the others are one: None.

    Where nothing costs anything, those with the most calls.
    """
    named = [place for place, dimension in enumerate(query.group_by) if dimension not in MOMENT_LENGTHS]
    who = next((dimension for dimension in query.group_by if dimension in NAMES), None)
    if who is None or len(named) == len(query.group_by):
        groups = spend_by(db, query)
        kept = _dearest_of(groups, named, query.top)
        found: dict[KeptKey, Spend] = defaultdict(Spend)
        for key, spend in groups.items():
            found[key if _part(key, named) in kept else _of_others(key, named)].add(spend)
        return found
    # Of thousands of users, each at hundreds of moments, few are shown: who they are is asked first.
    by_name = msgspec.structs.replace(query, group_by=tuple(query.group_by[place] for place in named))
    kept = _dearest_of(spend_by(db, by_name), range(len(named)), query.top)
    others = _together(db, query, named)
    found = {}
    among = {key[by_name.group_by.index(who)] for key in kept}
    for key, spend in spend_by(db, query, among=among).items():
        if _part(key, named) in kept:
            found[key] = spend
            others[_of_others(key, named)].add(spend, sign=-1)
    return found | {key: spend for key, spend in others.items() if spend != Spend()}


def _dearest_of(groups: Mapping[Key, Spend], named: Sequence[int], top: int) -> set[Key]:
    """The names of the highest cost. named: where in a key they are."""
    totals: dict[Key, Spend] = defaultdict(Spend)
    for key, spend in groups.items():
        totals[_part(key, named)].add(spend)
    return set(sorted(totals, key=lambda name: (-totals[name].cost_nanousd, -totals[name].generations, name))[:top])


def _together(db: Database, query: SpendQuery, named: Sequence[int]) -> dict[KeptKey, Spend]:
    """What all names spent at each moment, under the key of those that are not kept apart."""
    moments = tuple(dimension for dimension in query.group_by if dimension in MOMENT_LENGTHS)
    found: dict[KeptKey, Spend] = {}
    for key, spend in spend_by(db, msgspec.structs.replace(query, group_by=moments)).items():
        values = iter(key)
        found[tuple(None if place in named else next(values) for place in range(len(query.group_by)))] = spend
    return found


def _part(key: Key, places: Sequence[int]) -> Key:
    return tuple(key[place] for place in places)


def _of_others(key: Key, named: Sequence[int]) -> KeptKey:
    return tuple(None if place in named else value for place, value in enumerate(key))


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
