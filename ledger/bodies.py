"""Bodies of stored responses on a cache server, which may lose, hold up or spoil them.

The ledger keeps all else of a response: whom it is for, until when, what it cost, and its body's checksum. It alone
says whether one may be served. A body is put there before the settlement that names it is committed: a crash in between
leaves a body that nobody is told of, never a row whose body is still to come.
"""

import asyncio
import hashlib
from typing import Final, Protocol

import msgspec

from ledger.values import CacheBounds, Settlement, StoredElsewhere

# Clocks of replicas and of the server may be so far apart, and a body must not go before its row.
KEPT_LONGER_MS: Final = 60_000
# What takes longer to hash than a thread takes to be asked.
LARGE_BYTES: Final = 256 << 10


class Bodies(Protocol):
    """What keeps them. Neither method raises, or takes longer than its timeout, whatever the server does."""

    async def keep(self, checksum: bytes, body: bytes, *, for_ms: int) -> bool:
        """Whether it is there now, to be found until then at least unless the server drops it."""

    async def find(self, stored: StoredElsewhere) -> bytes | None:
        """The very bytes that were kept. None: they are not to be had."""


async def checksum_of(cache_key: bytes, body: bytes) -> bytes:
    """32 bytes that no other body has, nor the same one under another cache key."""
    if len(body) < LARGE_BYTES:
        return _digest(cache_key, body)
    return await asyncio.to_thread(_digest, cache_key, body)


async def set_aside(settlement: Settlement, bodies: Bodies, bounds: CacheBounds, *, now_ms: int) -> Settlement:
    """The settlement with its answer's body on the cache server; as it was, to be kept whole, if that takes none."""
    storing = settlement.storing
    if storing is None or len(storing.response.body) > bounds.max_bytes or bounds.max_entries < 1:
        return settlement
    checksum = await checksum_of(storing.cache_key, storing.response.body)
    for_ms = storing.expires_at_ms - now_ms + KEPT_LONGER_MS
    if for_ms <= 0 or not await bodies.keep(checksum, storing.response.body, for_ms=for_ms):
        return settlement
    return msgspec.structs.replace(settlement, storing=msgspec.structs.replace(storing, checksum=checksum))


def _digest(cache_key: bytes, body: bytes) -> bytes:
    digest = hashlib.sha256(cache_key)
    digest.update(body)
    return digest.digest()
