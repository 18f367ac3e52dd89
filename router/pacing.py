"""Pacing: a provider that says when to come back is left alone until then, by all processes. The newest word counts."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from router.memory import Memory
from router.ratelimit import WAIT_CAP_S

PACING: Final = "pacing"
# However long a provider asks for, and whatever was done to the clock since.
LONGEST_MS: Final = round(WAIT_CAP_S * 1000)


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's word about one deployment: when it was heard, and until when to wait. Wall time."""

    heard_at_ms: int
    until_ms: int


def newer(one: Paced | None, other: Paced) -> Paced:
    """The word that counts: the one heard last, the longer one of two heard at once."""
    if one is None or (other.heard_at_ms, other.until_ms) > (one.heard_at_ms, one.until_ms):
        return other
    return one


class Pacing:
    """{deployment id: until when it is left alone}. Without a memory it is for one process alone."""

    def __init__(self, *, now_ms: Callable[[], int], memory: Memory | None = None) -> None:
        self._now_ms = now_ms
        self._memory = memory
        self._paced: dict[str, Paced] = {}
        self._untold: dict[str, Paced] = {}
        if memory is not None:
            memory.tell(PACING, self._hear)

    def pace(self, deployment_id: str, wait_s: float) -> None:
        """The provider asks to be left alone for so long from now; 0: it no longer does."""
        now_ms, before = self._now_ms(), self._paced.get(deployment_id)
        # A clock that was put back must not make the last word older than the one before it.
        heard_at_ms = now_ms if before is None else max(now_ms, before.heard_at_ms + 1)
        word = Paced(heard_at_ms=heard_at_ms, until_ms=now_ms + min(round(wait_s * 1000), LONGEST_MS))
        self._paced[deployment_id] = word
        if self._memory is not None:
            self._untold[deployment_id] = word

    def returns_in_s(self, deployment_id: str) -> float:
        """0 where it may be asked now, else how long until it may."""
        word = self._paced.get(deployment_id)
        return 0.0 if word is None else min(max(0, word.until_ms - self._now_ms()), LONGEST_MS) / 1000

    def until_ms(self, deployment_id: str) -> int | None:
        """Until when it is left alone. None: it may be asked now."""
        return self._paced[deployment_id].until_ms if self.returns_in_s(deployment_id) else None

    async def share(self) -> None:
        """Tell the other processes. Raises LedgerError: then what is left is told the next time."""
        for deployment_id, word in list(self._untold.items()):
            assert self._memory is not None
            await self._memory.change(PACING, deployment_id, partial(_merged, word=word))
            if self._untold.get(deployment_id) is word:
                del self._untold[deployment_id]

    def _hear(self, deployment_id: str, text: str) -> None:
        word = msgspec.json.decode(text, type=Paced)
        self._paced[deployment_id] = newer(self._paced.get(deployment_id), word)


def _merged(known: str | None, *, word: Paced) -> str:
    before = None if known is None else msgspec.json.decode(known, type=Paced)
    return msgspec.json.encode(newer(before, word)).decode()
