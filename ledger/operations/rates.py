"""How fast money is spent, from the sums that are kept by the hour."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

from ledger.ceilings import scopes_of
from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "rates")


def spend_by_key_hour(db: Database, *, since_ms: int, until_ms: int) -> dict[str, dict[int, int]]:
    """{key: {hour: nano-dollars}} of the hours that begin within these moments, those without spend left out."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for key_id, hour_ms, nanousd in db.execute(SQL["hours_of_keys"], {"since_ms": since_ms, "until_ms": until_ms}):
        found[key_id][hour_ms] = nanousd
    return dict(found)


def spend_by_scope(db: Database, *, since_ms: int, until_ms: int) -> Mapping[str, int]:
    """{scope: nano-dollars} of the hours that begin within these moments; users, workflows and runs left out."""
    found: Counter[str] = Counter()
    rows = db.execute(SQL["spent_between"], {"since_ms": since_ms, "until_ms": until_ms})
    for deployment, key_id, team, nanousd in rows:
        for scope in scopes_of(deployment, {"key": key_id, "team": team}):
            found[scope] += nanousd
    return found
