"""What scopes spent in calls that were folded away, kept by the month: what a ceiling's window begins with."""

from typing import Final

from ledger.ceilings import Ceiling, Span, Window
from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "folded")
# Nothing that began less than a day ago is folded: what a shorter window has seen is all there as long as it is open.
_MADE_OF_MONTHS: Final[frozenset[Window]] = frozenset({"month", "total"})


def folded_in(db: Database, ceiling: Ceiling, span: Span) -> int:
    """All that its scope came to in this window and is folded, in what the ceiling counts."""
    if ceiling.window not in _MADE_OF_MONTHS:
        return 0
    of = {"scope": ceiling.scope, "counts": ceiling.counts}
    window = {"starts_at_ms": span.starts_at_ms, "ends_at_ms": span.ends_at_ms}
    (amount,) = db.execute(SQL["folded_in_span"], {**of, **window}).fetchone()
    return int(amount)


def folded_unseen(db: Database, ceiling: Ceiling, span: Span) -> int:
    """The part of it that the window does not count yet: what was folded while the ceiling was not in force."""
    folded = folded_in(db, ceiling, span)
    if not folded:
        return 0
    place = {"ceiling_id": ceiling.id, "starts_at_ms": span.starts_at_ms}
    (seen,) = db.execute(SQL["folded_in_window"], place).fetchone() or (0,)
    return max(0, folded - int(seen))
