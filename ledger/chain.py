"""Lines of money as a chain: each one's digest covers the line before it, so that no line can change unseen.

Who holds the digest of the newest line can prove every line up to it.
"""

import hashlib
from typing import Final

import msgspec

from ledger.usage import Usage
from ledger.values import CostBasis

# What the first line follows.
GENESIS: Final = bytes(32)

# A line's columns as they are in the table, `seq` first, in the order that they are hashed in.
Row = tuple[int | str | None, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One posting before it has a number. kind: `settlement`, `lapse` or `correction`; usage None: nobody knows.

    overrun_nanousd: by how much a settlement passed its hold.
    """

    hold_id: str
    kind: str
    cost_nanousd: int
    cost_basis: CostBasis
    usage: Usage | None
    price_version: str
    posted_at_ms: int
    overrun_nanousd: int = 0
    reason: str | None = None

    def row(self, seq: int) -> Row:
        """Its columns under this number, in the order of `LINE_COLUMNS`."""
        used = self.usage
        return (
            seq,
            self.hold_id,
            self.kind,
            self.cost_nanousd,
            self.cost_basis,
            self.overrun_nanousd,
            None if used is None else used.input_tokens,
            None if used is None else used.cached_tokens,
            None if used is None else used.cache_write_tokens,
            None if used is None else used.output_tokens,
            None if used is None else used.reasoning_tokens,
            self.price_version,
            self.posted_at_ms,
            self.reason,
        )


LINE_COLUMNS: Final = (
    "seq", "hold_id", "kind", "cost_nanousd", "cost_basis", "overrun_nanousd", "input_tokens", "cached_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "price_version", "posted_at_ms", "reason",
)  # fmt: skip


def link(previous: bytes, row: Row) -> bytes:
    """The digest of a line that follows the line of digest `previous`: SHA-256 over both, the row as JSON."""
    return hashlib.sha256(previous + msgspec.json.encode(row)).digest()
