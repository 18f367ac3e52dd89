"""What becomes of a call that no ceiling has room for: it waits in line, is made shorter, or is refused."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from ledger.ceilings import Ceiling
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from ledger.values import Refused
from router.asked import Asked
from router.clamp import CLAMP_TRIES, shortened
from router.lines import LAST_TRY_S, Lines, LineTooLong, next_look_s
from router.plan import Candidate


class RoomMaker:
    """Does what the tight ceilings wish, for all calls of a process."""

    def __init__(self, ledger: Ledger, lines: Lines, *, clock_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._clock_ms = clock_ms
        self._lines = lines

    def give_up(self, asked: Asked) -> None:
        """A call's admission is over, however it ended: its place in line, if it has one, is the next one's."""
        if asked.line is not None:
            asked.line.leave()
            asked.line = None
            self._lines.wake()

    def may_be_there(self) -> None:
        """Holds have settled."""
        self._lines.wake()

    def mind_the_line(self, asked: Asked) -> None:
        """Note which line the call has to join before it takes room: nobody is passed over.

        Who costs nothing, or may go where nobody waits, need not stand with those who wait elsewhere.
        """
        asked.behind = ""
        if self._lines.are_empty or asked.line is not None or asked.skips_line:
            return
        lines = [self._line_of(asked, candidate) for candidate in asked.candidates]
        if all(lines):
            asked.behind = next(iter(lines), "")

    def _line_of(self, asked: Asked, candidate: Candidate) -> str:
        """The line that keeps a candidate from taking room; empty: none does."""
        ceilings = self._ceilings_of(asked, candidate.deployment.id)
        bid = candidate.bid
        return self._lines.waited_for(ceiling for ceiling in ceilings if bid.asks(ceiling.counts)) or ""

    async def stand_in_line(self, asked: Asked) -> None:
        """Join the line that was noted, and return when the call is the first in it."""
        await self._enter(asked, asked.behind, None)

    async def make(self, asked: Asked, refused: Refused) -> None:
        """Return when the call may fit: made shorter, or after a wait as the first in line. Else raise its refusal."""
        if refused.may_clamp and self._clamp(asked, refused):
            return
        left_s = asked.deadline_s - asyncio.get_running_loop().time()
        wait_s = next_look_s(refused, now_ms=self._clock_ms(), left_s=left_s)
        if wait_s is None:
            raise await self._refusal(asked, refused)
        if asked.line is not None and asked.line.ceiling_id != refused.tight.ceiling_id:
            # Its turn at one ceiling is none at the next: there, whoever comes would go before it.
            self.give_up(asked)
        if asked.line is None:
            await self._enter(asked, refused.tight.ceiling_id, refused)
            return
        await self._lines.room_may_be_there(asked.deadline_s, within_s=wait_s)
        if asyncio.get_running_loop().time() >= asked.deadline_s - LAST_TRY_S:
            raise await self._refusal(asked, refused)

    def _clamp(self, asked: Asked, refused: Refused) -> bool:
        shorter = shortened(asked.candidates, refused, ceilings_of=partial(self._ceilings_of, asked))
        asked.clamps += 1
        if asked.clamps > CLAMP_TRIES or not shorter:
            return False
        asked.candidates = shorter
        # A shorter answer than was asked for is nobody else's: neither stored nor shared.
        asked.lookup, asked.storing_ttl_s = None, None
        return True

    def _ceilings_of(self, asked: Asked, deployment_id: str) -> Sequence[Ceiling]:
        return self._ledger.ceilings_of(deployment_id, asked.facts.attribution)

    async def _enter(self, asked: Asked, ceiling_id: str, refused: Refused | None) -> None:
        try:
            async with asyncio.timeout_at(asked.deadline_s):
                asked.line = await self._lines.enter(ceiling_id)
        except TimeoutError:
            if refused is None:
                raise asked.too_late(f"room under the ceiling {ceiling_id}") from None
            raise await self._refusal(asked, refused) from None
        except LineTooLong:
            if refused is not None:
                raise await self._refusal(asked, refused) from None
            asked.skips_line = True  # The ledger says what there is no room for.

    async def _refusal(self, asked: Asked, refused: Refused) -> LedgerError:
        if refused.may_yet_fit:
            await self._ledger.count_refusal(asked.facts.route, refused, now_ms=self._clock_ms())
        return refused.error
