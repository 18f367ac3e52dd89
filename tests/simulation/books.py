"""What must be true of a ledger after every commit, whoever made it, and what has been promised to whom."""

# Sums against rows, room against limits, and the right of every open hold to be there; a row is a breach.
BREACHES = """
SELECT 'held or spent is not what its holds and lines come to', w.ceiling_id, w.held_amount, w.spent_amount
  FROM ceiling_windows AS w
 WHERE w.held_amount <> (SELECT COALESCE(SUM(h.held_nanousd), 0) FROM hold_windows AS l JOIN holds AS h USING (hold_id)
                           WHERE (l.ceiling_id, l.starts_at_ms) = (w.ceiling_id, w.starts_at_ms) AND h.state = 'held')
    OR w.spent_amount <> (SELECT COALESCE(SUM(p.cost_nanousd), 0)
                             FROM hold_windows AS l JOIN postings AS p USING (hold_id)
                            WHERE (l.ceiling_id, l.starts_at_ms) = (w.ceiling_id, w.starts_at_ms))
UNION ALL
SELECT 'more than the limit', w.ceiling_id, w.held_amount + w.spent_amount, w.limit_amount
  FROM ceiling_windows AS w
 WHERE w.held_amount + w.spent_amount > w.limit_amount + (
       SELECT COALESCE(SUM(p.overrun_nanousd), 0) FROM hold_windows AS l JOIN postings AS p USING (hold_id)
        WHERE (l.ceiling_id, l.starts_at_ms) = (w.ceiling_id, w.starts_at_ms))
UNION ALL
SELECT 'a hold without its windows', hold_id, held_nanousd, taken_at_ms
  FROM holds WHERE (SELECT COUNT(*) FROM hold_windows AS l WHERE l.hold_id = holds.hold_id) <> :windows
UNION ALL
SELECT 'an open hold of an owner that was fenced off', hold_id, held_nanousd, taken_at_ms
  FROM holds WHERE state = 'held' AND owner_id NOT IN (SELECT owner_id FROM owners)
"""
LATE_MS = 5_000


class Books:
    """Acknowledged holds and settlements, the leases as they were last seen, and the checks of both.

    db: a connection of its own, on which only what is committed is seen.
    """

    def __init__(self, db, *, windows: int) -> None:
        self._db = db
        self._windows = windows
        self._leases: dict[str, int] = {}
        self._given_back: dict[str, int] = {}
        self._lapsed: set[str] = set()
        self._held: dict[str, int] = {}
        self._charged: dict[str, int] = {}
        self.commits = 0

    def check_commit(self, latest_ms: int) -> None:
        """To be called after every commit of anybody. latest_ms: the latest moment that any clock has shown."""
        self.commits += 1
        breach = self._db.execute(BREACHES, {"windows": self._windows}).fetchone()
        assert breach is None, breach
        for hold_id, owner_id in self._db.execute("SELECT hold_id, owner_id FROM holds WHERE state = 'lapsed'"):
            if hold_id not in self._lapsed:
                self._lapsed.add(hold_id)
                assert self._leases[owner_id] < latest_ms, f"{hold_id} lapsed under a lease that ran"
        for owner_id, lease_until_ms in self._db.execute("SELECT owner_id, lease_until_ms FROM owners"):
            self._leases[owner_id] = lease_until_ms
            if lease_until_ms == 0:  # Given back before its time.
                self._given_back.setdefault(owner_id, latest_ms)

    def check_lapses(self, now_ms: int) -> None:
        """To be called while somebody is there to sweep: nothing is held 5 s after its lease."""
        for hold_id, owner_id, lease_until_ms in self._db.execute(
            "SELECT hold_id, owner_id, lease_until_ms FROM holds JOIN owners USING (owner_id) WHERE state = 'held'"
        ):
            is_over_ms = self._given_back.get(owner_id, lease_until_ms)
            assert now_ms <= is_over_ms + LATE_MS, f"{hold_id} is still held {now_ms - is_over_ms} ms after its lease"

    def was_told_held(self, hold_id: str, held: int) -> None:
        """Somebody was told just now that this hold is taken: then it is in the file already."""
        row = self._db.execute("SELECT held_nanousd FROM holds WHERE hold_id = ?", (hold_id,)).fetchone()
        assert row == (held,), f"{hold_id} was acknowledged and is {row}"
        self._held[hold_id] = held

    def was_told_charged(self, hold_id: str, cost: int) -> None:
        """Somebody was told just now that this attempt is settled for this much, or given back for 0."""
        assert self._stands_at(hold_id) == (False, cost), (
            f"{hold_id} was settled for {cost}: {self._stands_at(hold_id)}"
        )
        self._charged[hold_id] = cost

    def check_promises(self) -> None:
        """Whatever was acknowledged stayed."""
        for hold_id, held in self._held.items():
            self.was_told_held(hold_id, held)
        for hold_id, cost in self._charged.items():
            self.was_told_charged(hold_id, cost)

    def _stands_at(self, hold_id: str) -> tuple[bool, int]:
        row = self._db.execute(
            "SELECT state = 'held', COALESCE((SELECT SUM(cost_nanousd) FROM postings WHERE hold_id = h.hold_id), 0)"
            "  FROM holds AS h WHERE hold_id = ?",
            (hold_id,),
        ).fetchone()
        return (bool(row[0]), row[1])
