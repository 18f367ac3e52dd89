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

# Classes of tokens that the first ledgers had no columns for. A line has all of them, or none where each would be 0.
_FIRST_CLASSES: Final = 5
FURTHER_CLASSES: Final = Usage.__struct_fields__[_FIRST_CLASSES:]
_NO_FURTHER: Final = (None,) * len(FURTHER_CLASSES)

# A line's columns as they are in the table, `seq` first, in the order that they are hashed in.
Row = tuple[int | str | None, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One posting before it has a number. kind: `settlement`, `lapse` or `correction`; usage None: nobody knows.

    tokens: what it adds to ceilings in tokens; not hashed, for it follows from the usage and the hold.
    overrun_nanousd: by how much a settlement passed its hold.
    """

    hold_id: str
    kind: str
    cost_nanousd: int
    cost_basis: CostBasis
    usage: Usage | None
    price_version: str
    posted_at_ms: int
    tokens: int = 0
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
            *_further(used),
        )


def _further(used: Usage | None) -> Row:
    """The classes that most lines have nothing of; then all of them are None."""
    counts = () if used is None else used.counts[_FIRST_CLASSES:]
    return counts if any(counts) else _NO_FURTHER


LINE_COLUMNS: Final = (
    "seq", "hold_id", "kind", "cost_nanousd", "cost_basis", "overrun_nanousd", "input_tokens", "cached_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "price_version", "posted_at_ms", "reason",
    *FURTHER_CLASSES,
)  # fmt: skip
# The columns that every line's digest covers.
_ALWAYS_HASHED: Final = len(LINE_COLUMNS) - len(FURTHER_CLASSES)


def link(previous: bytes, row: Row) -> bytes:
    """The digest of a line that follows the line of digest `previous`: SHA-256 over both, the row as JSON."""
    return hashlib.sha256(previous + msgspec.json.encode(hashed(row))).digest()


def hashed(row: Row) -> Row:
    """The columns that a line's digest covers.

    FURTHER_CLASSES are among them only where the line has any of them, so that older lines keep their digests.
    """
    has_none = row[_ALWAYS_HASHED:].count(None) == len(FURTHER_CLASSES)
    return row[:_ALWAYS_HASHED] if has_none else row
