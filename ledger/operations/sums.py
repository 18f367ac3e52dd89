"""Sums that the service's own audit follows from look to look: what was there before, and the lines that came since.

To add up a month of lines every minute would take too long. A sum is trusted when it is met first, unless it is newer
than all that was there at the look before: then it has to begin at nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ledger.database import Database
from ledger.sql import statements

SQL: Final = statements("sqlite", "sums")
WINDOW_SUM: Final = "invariant 2: spent is what it was and the lines since"
HOUR_SUM: Final = "reports: spend by the hour is what it was and the lines since"
MOST_SUMS: Final = 20_000

# A ceiling's window, or, under no ceiling, an hour; and when it begins.
Sum = tuple[str, int]


class Followed(msgspec.Struct, frozen=True):
    """What sums have to be after a look, and the ceilings that were in force then."""

    sums: dict[Sum, int] = {}
    epoch: int = 0


class SumAudit:
    """Follows the sums over the lines of one look, a part at a time. broken: as `LineAudit` has it.

    after: what has to be at the next look; nothing until they were compared.
    """

    def __init__(self, before: Followed) -> None:
        self._before = before
        self._since: dict[Sum, int] = {}
        self.after = Followed()
        self.broken: list[tuple[str, dict[str, Any]]] = []

    def add(self, db: Database, *, after_seq: int, through_seq: int) -> None:
        """Add the lines of this part."""
        part = {"after_seq": after_seq, "through_seq": through_seq}
        for ceiling_id, starts_at_ms, amount in db.execute(SQL["sums_of_lines"], part):
            place = (ceiling_id, starts_at_ms)
            self._since[place] = self._since.get(place, 0) + amount

    def compare(self, db: Database) -> None:
        """With every line added that this snapshot has: what is there has to be what they come to."""
        (epoch,) = db.execute(SQL["epoch"]).fetchone()
        before = self._before.sums if epoch == self._before.epoch else {}
        newest = {ceiling_id: _newest(db, ceiling_id) for ceiling_id, _ in self._since}
        places = {*before, *self._since, *((name, at_ms) for name, at_ms in newest.items() if at_ms is not None)}
        actual = {place: _actual(db, place) for place in places}
        expected = expected_sums(before, self._since, actual)
        for place in sorted(places):
            if expected[place] != actual[place]:
                self.broken.append(_drift(place, actual[place], expected[place]))
        self.after = Followed(worth_following(expected, touched=self._since), epoch)


def followed_until(db: Database, seq: int) -> Followed:
    """What the look before, which came up to this line, said. Nothing if it followed none."""
    (epoch,) = db.execute(SQL["epoch"]).fetchone()
    rows = db.execute(SQL["followed_sums"], {"seq": seq})
    return Followed({(ceiling_id, starts_at_ms): amount for ceiling_id, starts_at_ms, amount in rows}, epoch)


def follow(db: Database, followed: Followed, *, seq: int) -> None:
    """Put these sums, as they are after line `seq`, in the place of those that were followed before."""
    db.execute(SQL["forget_sums"])
    rows = [
        {"ceiling_id": name, "starts_at_ms": at_ms, "amount": amount, "ceilings_epoch": followed.epoch, "seq": seq}
        for (name, at_ms), amount in followed.sums.items()
    ]
    db.executemany(SQL["follow_sum"], rows)


def expected_sums(before: Mapping[Sum, int], since: Mapping[Sum, int], actual: Mapping[Sum, int]) -> dict[Sum, int]:
    """What each sum has to be. Pure.

    One that was followed: what it was, and the lines since. One that is newer than every followed one of its ceiling
    was not there then: the lines since. Any other is what it is found to be.
    """
    newest_before = _newest_of(before)
    expected = {}
    for place, found in actual.items():
        ceiling_id, starts_at_ms = place
        if place in before:
            expected[place] = before[place] + since.get(place, 0)
        elif ceiling_id in newest_before and starts_at_ms > newest_before[ceiling_id]:
            expected[place] = since.get(place, 0)
        else:
            expected[place] = found
    return expected


def worth_following(expected: Mapping[Sum, int], *, touched: Iterable[Sum]) -> dict[Sum, int]:
    """Those that may still change: each ceiling's newest, and what was touched; none if they are too many. Pure."""
    worth = {*_newest_of(expected).items(), *touched}
    return {place: expected[place] for place in worth} if len(worth) <= MOST_SUMS else {}


def _newest_of(sums: Iterable[Sum]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for ceiling_id, starts_at_ms in sums:
        newest[ceiling_id] = max(starts_at_ms, newest.get(ceiling_id, starts_at_ms))
    return newest


def _newest(db: Database, ceiling_id: str) -> int | None:
    name = "newest_window" if ceiling_id else "newest_hour"
    (starts_at_ms,) = db.execute(SQL[name], {"ceiling_id": ceiling_id}).fetchone()
    return None if starts_at_ms is None else int(starts_at_ms)


def _actual(db: Database, place: Sum) -> int:
    name = "sum_of_window" if place[0] else "sum_of_hour"
    row = db.execute(SQL[name], {"ceiling_id": place[0], "starts_at_ms": place[1]}).fetchone()
    return 0 if row is None else int(row[0])


def _drift(place: Sum, found: int, expected: int) -> tuple[str, dict[str, Any]]:
    ceiling_id, starts_at_ms = place
    facts = {"starts_at_ms": starts_at_ms, "found": found, "expected": expected}
    return (WINDOW_SUM, {"ceiling_id": ceiling_id, **facts}) if ceiling_id else (HOUR_SUM, facts)
