"""The audit of postings one by one: their chain, and what each should have cost. All at once, or a part at a time."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec

from ledger.chain import FURTHER_CLASSES, GENESIS, LINE_COLUMNS, link
from ledger.database import Database
from ledger.money import TOKENS_PER_MTOK
from ledger.operations.prices import PriceUnreadable, all_prices, find_price
from ledger.prices import Price
from ledger.sql import statements
from ledger.usage import Usage
from ledger.verify import NoSuchLine

SQL: Final = statements("sqlite", "lines")
CHAIN: Final = "invariant 3: lines are a whole chain"
HOLD: Final = "invariant 3: a posting names a hold"
PRICE: Final = "money: a line costs what its tokens cost at its price"
TOKENS: Final = "tokens: a line counts what it used, or the whole hold where nobody knows"
# The columns of `lines_after` that are the line itself, and the first of those that most lines have none of.
_LINE: Final = len(LINE_COLUMNS)
_FURTHER: Final = _LINE - len(FURTHER_CLASSES)
# Where in `Usage.counts` those are that were written.
_WRITTEN: Final = tuple(
    place for place, name in enumerate(Usage.__struct_fields__) if name.startswith(("output_", "reasoning_"))
)
_PRICED: Final = ("priced_usage", "estimated")
_READ_AT_ONCE: Final = 2000
_DIGEST: Final = 32
_FAR_SEQ: Final = 1 << 62
_FAR_TOKENS: Final = 1 << 62
# 2^23 tokens at such a rate are still less than the largest integer.
_MOST_RATE: Final = 10**12


class Place(msgspec.Struct, frozen=True):
    """A line that everything up to is taken as proved: its number and digest."""

    seq: int
    chain: bytes


class LineAudit:
    """Looks at lines in order. broken: (rule, the row that breaks it), of the lines seen so far.

    looked_at: how many lines; unpriced: how many of them name a price that is not on record, so that nobody can tell.
    through_seq: the last line that it is for; None: the newest.
    """

    def __init__(self, after: Place, through_seq: int | None = None) -> None:
        self.place = after
        self._through_seq = _FAR_SEQ if through_seq is None else through_seq
        self.looked_at = 0
        self.unpriced = 0
        self.broken: list[tuple[str, dict[str, Any]]] = []
        self._prices: dict[tuple[str, str], Price | None] = {}
        self._is_quick = False

    def prepare(self, db: Database) -> None:
        """Look at this connection's lines many at once, and at one by one only where something may be wrong."""
        rates = (first_rates_of(deployment, price) for deployment, price in all_prices(db))
        db.execute(SQL["make_rates"])
        db.executemany(SQL["add_rate"], [row for row in rates if row is not None])
        self._is_quick = True

    def look(self, db: Database, *, most: int | None = None) -> Iterator[int]:
        """Go on from where it is, over at most so many lines. Yields now and then how many it has seen."""
        left = most
        while left is None or left > 0:
            at_once = _READ_AT_ONCE if left is None else min(left, _READ_AT_ONCE)
            seen = (self._is_quick and self._prove(db, at_once)) or self._check(db, at_once)
            if not seen:
                return
            left = None if left is None else left - seen
            self.looked_at += seen
            yield self.looked_at

    def _prove(self, db: Database, most: int) -> int:
        """How many lines were proved to be right, all of the next ones or none."""
        before = self.place
        part = {"after_seq": before.seq, "through_seq": min(before.seq + most, self._through_seq)}
        lines, last, written, chain = db.execute(SQL["hashed_lines"], part).fetchone()
        if not lines or last != before.seq + lines or not _is_chain(before.chain, written, chain):
            return 0
        (right,) = db.execute(SQL["right_lines"], part).fetchone()
        if right != lines:
            return 0
        self.place = Place(last, chain[-_DIGEST:])
        return int(lines)

    def _check(self, db: Database, most: int) -> int:
        """One by one, and what is broken is noted. How many there were."""
        rows = db.execute(SQL["lines_after"], self._next(most)).fetchall()
        for row in rows:
            self._check_line(db, row)
        return len(rows)

    def _next(self, most: int) -> dict[str, int]:
        return {"seq": self.place.seq, "through_seq": self._through_seq, "most": most}

    def _check_line(self, db: Database, row: tuple[Any, ...]) -> None:
        seq, chain, deployment = row[0], row[_LINE], row[_LINE + 1]
        before = self.place
        if link(before.chain, row[:_LINE]) != chain or seq != before.seq + 1:
            self.broken.append((CHAIN, {"seq": seq, "follows": before.seq, "hold_id": row[1]}))
        # From the digest as it is written: one broken line is told once, not with all that follow it.
        self.place = Place(seq, chain)
        if deployment is None:
            self.broken.append((HOLD, {"seq": seq, "hold_id": row[1]}))
            return
        if row[2] != "correction":
            self._check_tokens(row)
        if row[2] == "settlement" and row[4] in _PRICED:
            try:
                self._check_price(row, self._price(db, deployment, row[11]))
            except PriceUnreadable:
                self.broken.append((PRICE, {"seq": seq, "deployment": deployment, "unreadable_price": row[11]}))

    def _check_tokens(self, row: tuple[Any, ...]) -> None:
        counts, (counted, held) = _counts(row), row[_LINE + 3 :]
        expected = held if counts is None else sum(counts)
        if counted != expected:
            fact = {"seq": row[0], "hold_id": row[1], "tokens": counted, "expected_tokens": expected}
            self.broken.append((TOKENS, fact))

    def _check_price(self, row: tuple[Any, ...], price: Price | None) -> None:
        counts = _counts(row)
        if price is None or counts is None:
            self.unpriced += 1
            return
        expected = _cost_nanousd(price, counts)
        if expected is not None and row[4] == "estimated":
            expected = min(expected, row[_LINE + 2])
        if row[3] != expected:
            fact = {"seq": row[0], "hold_id": row[1], "cost_nanousd": row[3], "expected_nanousd": expected}
            self.broken.append((PRICE, fact))

    def _price(self, db: Database, deployment: str, version: str) -> Price | None:
        name = (deployment, version)
        if name not in self._prices:
            self._prices[name] = find_price(db, deployment, version)
        return self._prices[name]


def _is_chain(before: bytes, written: bytes, chain: bytes) -> bool:
    """Each digest is that of the one before it and of its line. Of many at a time: an audit spends a tenth in here."""
    digests = [before, *(chain[at : at + _DIGEST] for at in range(0, len(chain), _DIGEST))]
    lines = written.split(b"\n")
    # Not strict: the last digest has no line after it, and what does not come out even is not the same.
    return b"".join([sha256(digest + line).digest() for digest, line in zip(digests, lines, strict=False)]) == chain


def _counts(row: tuple[Any, ...]) -> tuple[int, ...] | None:
    """The tokens of a line, in the order of `Usage.counts`. None: nobody knows."""
    tokens = row[6:11]
    return None if None in tokens else (*tokens, *(count or 0 for count in row[_FURTHER:_LINE]))


def first_rates_of(deployment: str, price: Price) -> tuple[str | int, ...] | None:
    """A price as `right_lines` takes it, for prompts that no dearer tier begins at. None: as `rates_of`. Pure."""
    most_prompt = min((threshold for threshold, _ in price.tiers), default=_FAR_TOKENS)
    rates = rates_of(deployment, msgspec.structs.replace(price, tiers=()))
    return None if rates is None else (*rates, most_prompt)


def rates_of(deployment: str, price: Price) -> tuple[str | int, ...] | None:
    """What `right_lines` multiplies by. None: a price has tiers, or rates that are too large for it. Pure."""
    rates = (price.per_request_nanousd, *price.base.rates)
    if price.tiers or min(rates) < 0 or max(rates) > _MOST_RATE:
        return None
    return (deployment, price.version, *rates)


def first_place(db: Database, since: int | None = None) -> Place:
    """Where an audit begins: after the line `since`, whose digest is trusted, else at the first line that is there.

    Raises NoSuchLine.
    """
    folded = db.execute(SQL["last_folded"]).fetchone()
    start = Place(0, GENESIS) if folded is None else Place(*folded)
    if since is None or since == start.seq:
        return start
    newest = last_seq(db)
    # A number may be larger than any that a database takes.
    row = None if since > newest else db.execute(SQL["chain_at"], {"seq": since}).fetchone()
    if row is None:
        raise NoSuchLine(since, start.seq, newest)
    return Place(since, row[0])


def places_between(db: Database, first: Place, *, apart: int) -> list[Place]:
    """Where an audit may be begun as well: every so many lines from the first on, if each of these is there."""
    places = [first]
    for seq in range(first.seq + apart, last_seq(db), apart):
        row = db.execute(SQL["chain_at"], {"seq": seq}).fetchone()
        if row is None:
            return [first]
        places.append(Place(seq, row[0]))
    return places


def last_seq(db: Database) -> int:
    """The number of the newest line; 0: there is none."""
    (seq,) = db.execute(SQL["last_seq"]).fetchone()
    return int(seq)


def pruned_before(db: Database) -> int | None:
    """The moment before which detail was folded away, a whole hour; None: it is all there."""
    (moment_ms,) = db.execute(SQL["pruned_before"]).fetchone()
    return None if moment_ms is None else int(moment_ms)


def _cost_nanousd(price: Price, counts: tuple[int, ...]) -> int | None:
    """What these tokens, in the order of `Usage.counts`, cost. None: no answer can have such counts."""
    if min(counts) < 0:
        return None
    # Not by way of a Usage: this is most of what an audit at tiered prices does. `Price.cost_nanousd` is its oracle.
    tier = price.tier_for(sum(counts) - sum(map(counts.__getitem__, _WRITTEN))) if price.tiers else price.base
    cost = price.per_request_nanousd
    for count, rate in zip(counts, tier.rates, strict=True):
        if count:
            cost -= -count * rate // TOKENS_PER_MTOK
    return cost
