"""What holds come to in the windows that count them, proved for all windows at once, or added up window by window.

Each window has a weight for what it counts and one for a hold whose moment and deployment it is for, and all windows
have one for any other hold in them. What lines and holds come to, each link times these, is one number; so is what is
kept of the windows, with as many holds in each as there have to be, and as many links at all. The two are the same if
each link leads to a window, each window has spent what its links come to, and each counts all holds that it has to;
otherwise they are once in PRIME at most (`ledger.sqlite.weights`). Where they are not, the sums of each window tell
which of these rules hold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from ledger.ceilings import Counts, Span, Window, window_span
from ledger.sql import statements
from ledger.sqlite.reading import Connection
from ledger.sqlite.weights import PRIME, Seed

SQL: Final = statements("sqlite", "proofs")
WEIGHTS: Final = statements("sqlite", "weights")
# Sorted together: a database sorts many short lists faster than a long one.
PART: Final = 2000
# After every moment, and after every name.
_FAR_MS: Final = 1 << 62
_LAST: Final = "\U0010ffff"

Place = tuple[str, int]
# (deployment, an hour, how many holds were taken in it there).
Taken = list[tuple[str, int, int]]


class WindowRow(msgspec.Struct, frozen=True):
    """A ceiling's window as it is kept. unfolded: what it has spent less what was folded. scope None: no ceiling."""

    ceiling_id: str
    starts_at_ms: int
    ends_at_ms: int | None
    counts: Counts
    unfolded: int
    scope: str | None
    window: Window | None
    active: int | None
    since_ms: int | None

    @property
    def place(self) -> Place:
        """Its key."""
        return self.ceiling_id, self.starts_at_ms

    @property
    def has_to_be_whole(self) -> bool:
        """Whether it is of a ceiling on deployments that is in force: it counts every hold of its scope and time."""
        return bool(self.active) and self.scope is not None and _counts_deployments(self.scope)

    @property
    def is_countable(self) -> bool:
        """Whether how many holds it has to count can be told: they are counted by the hour."""
        assert self.window is not None
        span = Span(self.starts_at_ms, self.ends_at_ms)
        return self.window != "minute" and span == window_span(self.window, self.starts_at_ms)

    @property
    def was_over(self) -> bool:
        """Whether it ended before its ceiling came into force, so that it may have missed holds."""
        assert self.since_ms is not None
        return self.ends_at_ms is not None and self.ends_at_ms <= self.since_ms


class LinkProofs(msgspec.Struct, frozen=True):
    """Which rules hold for certain: links lead somewhere; what is spent in money and tokens, and in calls and attempts,
    is what lines and holds come to; each hold is in every window that counts its deployment, if `taken` was right."""

    leads_somewhere: bool
    is_spent: bool
    is_called: bool
    is_counted: bool


class Linked(msgspec.Struct):
    """The holds that a window counts: what they came to in each thing that it may add up, and how many they are."""

    nanousd: int
    tokens: int
    calls: int
    attempts: int
    links: int
    first_ms: int
    last_ms: int
    first_deployment: str
    last_deployment: str

    def join(self, other: "Linked") -> None:
        """Add the holds of another part."""
        self.nanousd += other.nanousd
        self.tokens += other.tokens
        self.calls += other.calls
        self.attempts += other.attempts
        self.links += other.links
        self.first_ms, self.last_ms = min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms)
        self.first_deployment = min(self.first_deployment, other.first_deployment)
        self.last_deployment = max(self.last_deployment, other.last_deployment)


def lay_out_windows(db: Connection, seed: Seed) -> None:
    """Have the weights of windows at hand on this connection. Raises sqlite3.DatabaseError."""
    windows = _windows(db)
    rows = [
        (*it.place, _FAR_MS if it.ends_at_ms is None else it.ends_at_ms, *_deployments(it.scope), it.counts, *weights)
        for it, weights in zip(windows, _weights(seed, windows), strict=True)
    ]
    db.execute(WEIGHTS["make_window_weights"])
    db.executemany(WEIGHTS["add_window_weight"], rows)


def prove_links(db: Connection, seed: Seed, linked: int, *, links: int, taken: Taken) -> LinkProofs:
    """linked: what lines and holds came to in windows' weights. links: how many there are. taken: holds by the hour.

    Raises sqlite3.DatabaseError, and TypeError at a NULL where none can be.
    """
    windows = _windows(db)
    has_ceilings = all(it.scope is not None for it in windows)
    expected = _expected(windows, taken)
    kept = links * _outside(seed)
    for it, (amount, inside, outside) in zip(windows, _weights(seed, windows), strict=True):
        kept += it.unfolded * amount + expected.get(it.place, 0) * (inside - outside)
    if has_ceilings and (linked - kept) % PRIME == 0:
        return LinkProofs(True, True, True, all(it.is_countable for it in windows if it.has_to_be_whole))
    return _by_window(db, windows, expected, links=links)


def _windows(db: Connection) -> list[WindowRow]:
    return [WindowRow(*row) for row in db.execute(SQL["windows"])]


def _outside(seed: Seed) -> int:
    return next(seed.draws("links"))


def _weights(seed: Seed, windows: list[WindowRow]) -> Iterator[tuple[int, int, int]]:
    """Of each window: that of what it counts, of a hold that it is for, of any other hold."""
    outside = _outside(seed)
    for it, amount, inside in zip(windows, seed.draws("amounts"), seed.draws("windows"), strict=False):
        is_counted = it.has_to_be_whole and it.is_countable and not it.was_over
        yield amount, inside if is_counted else outside, outside


def _deployments(scope: str | None) -> tuple[str, str]:
    """The first and the last name of a deployment that a ceiling is for; of another's all do."""
    kind, _, name = (scope or "").partition(":")
    match kind:
        case "model":
            return name, name
        case "provider":
            return f"{name}:", f"{name}:{_LAST}"
        case _:
            return "", _LAST


def _expected(windows: list[WindowRow], taken: Taken) -> dict[Place, int]:
    """{window: how many holds it has to count}, of those that count all of their scope and time."""
    spans: defaultdict[str, list[WindowRow]] = defaultdict(list)
    for window in windows:
        if window.has_to_be_whole and window.is_countable:
            spans[window.ceiling_id].append(window)
    by_deployment: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for deployment, hour_ms, holds in taken:
        by_deployment[deployment].append((hour_ms, holds))
    expected: dict[Place, int] = {}
    for of_ceiling in spans.values():
        counts = _holds_by_window(of_ceiling[0], by_deployment)
        expected |= {it.place: counts[it.starts_at_ms] for it in of_ceiling if not it.was_over}
    return expected


def _holds_by_window(of: WindowRow, by_deployment: dict[str, list[tuple[int, int]]]) -> Counter[int]:
    """{when a window begins: how many holds of the ceiling's scope were taken in it}."""
    assert of.scope is not None
    assert of.window is not None
    counts: Counter[int] = Counter()
    starts: dict[int, int] = {}
    for deployment, hours in by_deployment.items():
        if _is_in_scope(of.scope, deployment):
            for hour_ms, holds in hours:
                if hour_ms not in starts:
                    starts[hour_ms] = window_span(of.window, hour_ms).starts_at_ms
                counts[starts[hour_ms]] += holds
    return counts


def _by_window(db: Connection, windows: list[WindowRow], expected: dict[Place, int], *, links: int) -> LinkProofs:
    linked = _add_up(db)
    there = {it.place for it in windows if it.scope is not None}
    whole = [it for it in windows if it.has_to_be_whole]
    return LinkProofs(
        leads_somewhere=len(there) == len(windows)
        and linked.keys() <= there
        and sum(part.links for part in linked.values()) == links,
        is_spent=_is_spent(linked, windows, {"nanousd", "tokens"}),
        is_called=_is_spent(linked, windows, {"calls", "attempts"}),
        is_counted=all(it.is_countable and _is_whole(it, linked.get(it.place), expected) for it in whole),
    )


def _add_up(db: Connection) -> dict[Place, Linked]:
    lines, first, last = db.execute(SQL["lines"]).fetchone()
    parts = [{"after_seq": seq, "through_seq": min(seq + PART, last)} for seq in range(first - 1, last, PART) if lines]
    found: dict[Place, Linked] = {}
    for rows in (
        db.execute(SQL["holds_without_line_by_window"]),
        *(db.execute(SQL["lines_by_window"], part) for part in parts),
    ):
        for row in rows:
            place, part = row[:2], Linked(*row[2:])
            if place in found:
                found[place].join(part)
            else:
                found[place] = part
    return found


def _is_spent(linked: dict[Place, Linked], windows: list[WindowRow], adding_up: set[Counts]) -> bool:
    for window in windows:
        part = linked.get(window.place)
        if window.counts in adding_up and window.unfolded != (0 if part is None else getattr(part, window.counts)):
            return False
    return True


def _is_whole(window: WindowRow, part: Linked | None, expected: dict[Place, int]) -> bool:
    """It counts only holds of its scope and time, and as many as there are."""
    assert window.scope is not None
    if part is not None and not (
        part.first_ms >= window.starts_at_ms
        and (window.ends_at_ms is None or part.last_ms < window.ends_at_ms)
        and _is_in_scope(window.scope, part.first_deployment)
        and _is_in_scope(window.scope, part.last_deployment)  # And with both ends each name between them.
    ):
        return False
    return window.was_over or expected[window.place] == (0 if part is None else part.links)


def _counts_deployments(scope: str) -> bool:
    return scope == "global" or scope.startswith(("provider:", "model:"))


def _is_in_scope(scope: str, deployment: str) -> bool:
    return scope in {"global", f"model:{deployment}", f"provider:{deployment.partition(':')[0]}"}
