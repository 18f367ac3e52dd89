"""Which calls are likely to be answered from what is stored: a guess that saves their plan, and never an answer."""

from typing import Final

MOST_KEYS: Final = 10_000


class LikelyHits:
    """The cache keys under which the ledger had an answer when it was last asked, the last MOST_KEYS of them."""

    def __init__(self) -> None:
        self._keys: dict[bytes, None] = {}

    def __contains__(self, cache_key: bytes) -> bool:
        return cache_key in self._keys

    def note(self, cache_key: bytes, *, is_hit: bool) -> None:
        """What the ledger has just said of a key."""
        self._keys.pop(cache_key, None)
        if not is_hit:
            return
        if len(self._keys) >= MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        self._keys[cache_key] = None
