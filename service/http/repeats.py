"""Requests that were answered by a hit, kept for the next ones like them: what to ask the ledger, and what to say.

They are kept by what all of a request that matters comes to: its path, its key, the headers that steer or go on to a
provider, and a digest of its body. Whether the answer may be given is never decided here.
"""

import hashlib
from typing import Final

import msgspec

from router.again import Again
from service.form import Form
from service.headers import FORWARDED, HeaderPairs
from service.http.exchange import Exchange

MOST: Final = 4096
MOST_BYTES: Final = 32 << 20
# What is longer is rare, and read again soon enough.
LONGEST_REQUEST_BYTES: Final = 65_536
LONGEST_ANSWER_BYTES: Final = 262_144
# What an entry takes beside its form, about.
ENTRY_BYTES: Final = 4096

RequestKey = tuple[str, str, tuple[tuple[bytes, bytes], ...], bytes]


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """How a request like one before is answered. headers: those that are the same each time. size: in bytes."""

    again: Again
    form: Form
    headers: HeaderPairs
    size: int


class Repeats:
    """The requests of one process that were hits, those that came last. At most so many, and so many bytes."""

    def __init__(self, *, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: dict[RequestKey, Repeat] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: RequestKey) -> Repeat | None:
        """What is known of requests like this one."""
        found = self._kept.pop(key, None)
        if found is not None:
            self._kept[key] = found  # As the newest.
        return found

    def keep(self, key: RequestKey, repeat: Repeat) -> None:
        """Know it from now on, in the place of those that were not asked for the longest."""
        self.drop(key)
        self._kept[key] = repeat
        self.bytes += repeat.size
        while len(self._kept) > self._most or self.bytes > self._most_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: RequestKey) -> None:
        """Know it no more."""
        gone = self._kept.pop(key, None)
        if gone is not None:
            self.bytes -= gone.size


def key_of(exchange: Exchange, raw: bytes) -> RequestKey | None:
    """What requests have in common that ask for the same in the same words. None: it has to be read."""
    headers = exchange.headers
    if len(raw) > LONGEST_REQUEST_BYTES or b"idempotency-key" in headers:
        return None
    steering = tuple([pair for pair in headers.items() if pair[0] in FORWARDED or pair[0].startswith(b"x-farthing-")])
    return exchange.path, exchange.caller.key_id, steering, hashlib.sha256(raw).digest()
