"""What may be corrected and how, engine apart. Postings never change: a correction is a new line."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ledger.errors import LedgerError
from ledger.prices import Price
from ledger.url import is_on_server, server_of
from ledger.usage import Usage
from ledger.values import CostBasis

# So many at a time, so that a service on the same ledger never waits long for its turn.
BATCH: Final = 64


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as its lines have it. usage None: no line knows its tokens; basis: of its newest line.

    tokens: what its lines add to ceilings in tokens.
    """

    hold_id: str
    deployment: str
    taken_at_ms: int
    held_nanousd: int
    cost_nanousd: int
    basis: CostBasis
    price_version: str
    usage: Usage | None
    tokens: int = 0


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt is to cost in all. usage: only where no line knew its tokens.

    supposes: written only if the attempt is still this. price: put on record under the version that is named.
    """

    hold_id: str
    cost_nanousd: int
    basis: CostBasis
    reason: str
    price_version: str
    usage: Usage | None = None
    supposes: Charged | None = None
    price: Price | None = None


class NotCorrectable(LedgerError):
    """The correction makes no sense for this attempt. Nothing was written."""

    code = "not_correctable"


# {the price of `provider:model` at a moment in milliseconds}; None: there is none.
PriceAt = Callable[[str, int], Price | None]


def repriced(attempt: Charged, price_at: PriceAt) -> Correction | None:
    """What an attempt should cost at the prices of now for its day. None: that is what it cost, or nobody can tell.

    What a provider reported stands, and what nobody counted cannot be priced. An estimate stays within its hold.
    """
    if attempt.usage is None or attempt.basis not in {"priced_usage", "estimated"}:
        return None
    price = price_at(attempt.deployment, attempt.taken_at_ms)
    if price is None:
        return None
    cost_nanousd = price.cost_nanousd(attempt.usage)
    if attempt.basis == "estimated":
        cost_nanousd = min(cost_nanousd, attempt.held_nanousd)
    if cost_nanousd == attempt.cost_nanousd:
        return None
    return Correction(
        hold_id=attempt.hold_id,
        cost_nanousd=cost_nanousd,
        basis=attempt.basis,
        reason=f"repriced from {attempt.price_version} to {price.version}",
        price_version=price.version,
        supposes=attempt,
        price=price,
    )


def reconciled(attempts: Sequence[Charged], theirs_nanousd: int, reason: str) -> list[Correction]:
    """Corrections that make these attempts come to what their provider says of them all, to the nano-dollar.

    The least certain bear the difference: first those of basis unknown, then estimates, then the rest, each kind by its
    amounts. None goes below zero; if nothing was charged at all, the difference is shared evenly.
    """
    difference = theirs_nanousd - sum(attempt.cost_nanousd for attempt in attempts)
    costs = {attempt.hold_id: attempt.cost_nanousd for attempt in attempts}
    for basis in ("unknown", "estimated", ""):
        kind = [attempt for attempt in attempts if not basis or attempt.basis == basis]
        amounts = [costs[attempt.hold_id] for attempt in kind]
        # What one kind cannot take off is left for the next; an increase it can take whole.
        part = max(difference, -sum(amounts)) if kind else 0
        for attempt, share in zip(kind, spread(part, amounts), strict=True):
            costs[attempt.hold_id] += share
        difference -= part
    return [
        Correction(
            hold_id=attempt.hold_id,
            cost_nanousd=costs[attempt.hold_id],
            basis="provider_reported",
            reason=reason,
            price_version=attempt.price_version,
        )
        for attempt in attempts
        if costs[attempt.hold_id] != attempt.cost_nanousd
    ]


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Shares of an amount, in proportion to these weights (evenly, if all are 0), that sum to it exactly.

    Rounded towards zero; what is left over goes to the largest remainders, the first of equal ones before the others.
    """
    if not weights:
        assert amount == 0
        return []
    total = sum(weights)
    parts = list(weights) if total else [1] * len(weights)
    total = total or len(parts)
    sign, size = (-1, -amount) if amount < 0 else (1, amount)
    shares = [size * part // total for part in parts]
    remainders = sorted(range(len(parts)), key=lambda index: -(size * parts[index] % total))
    for index in remainders[: size - sum(shares)]:
        shares[index] += 1
    return [sign * share for share in shares]


class Corrector(Protocol):
    """Reads and corrects what attempts cost, with or without a service on the ledger. Raises LedgerError."""

    async def attempts_of(self, generation_id: str) -> list[tuple[str, str, str, str | None]]:
        """(hold id, deployment, state, outcome) of each attempt of a call, in order."""

    async def find(self, hold_id: str) -> Charged:
        """One attempt as its lines have it. Raises NotCorrectable for one that is not there or not over."""

    async def charged(
        self, *, since_ms: int, until_ms: int, after: Charged | None = None, most: int = BATCH
    ) -> list[Charged]:
        """Charged attempts whose holds were taken in this span, in order, after one of them, at most so many."""

    async def correct(self, corrections: Sequence[Correction]) -> list[int]:
        """Write what is missing of each, in one transaction; the numbers of the new lines. Repeats change nothing.

        Raises NotCorrectable, and then none of them is written.
        """


@asynccontextmanager
async def open_corrector(url: str, *, clock_ms: Callable[[], int]) -> AsyncIterator[Corrector]:
    """Correct a ledger that is there: in its writers' turns, so that a service on it goes on. Raises NotALedger."""
    opened: AbstractAsyncContextManager[Corrector]
    if is_on_server(url):
        address = server_of(url)
        from ledger.postgres.corrector import open_postgres_corrector

        opened = open_postgres_corrector(address, clock_ms=clock_ms)
    else:
        from ledger.sqlite.ledger import open_sqlite_corrector

        opened = open_sqlite_corrector(Path(url.partition(":")[2]), clock_ms=clock_ms)
    async with opened as corrector:
        yield corrector
