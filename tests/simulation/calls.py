"""What the callers of one simulated process do: ask, work, settle, ask again when told to, and sometimes just leave."""

import asyncio
import contextlib
import random

from ledger.errors import LedgerUnavailable, UsageDiffers
from ledger.values import Bid, Lead, NextAttempt, Refused
from tests.ledger.calls import a_call, a_result, a_settlement

TRIES = 12


class Caller:
    """One call from admission to settlement, at moments that chance picks, some of them the same as others'."""

    def __init__(self, name, ledger, books, chance: random.Random, say, clock_ms) -> None:
        self._name, self._ledger, self._books = name, ledger, books
        self._chance, self._say, self._clock_ms = chance, say, clock_ms
        self._request, self._lead, self._bids = None, None, ()

    async def run(self) -> None:
        """Tell the ledger all of it. Raises what the ledger should never say."""
        await asyncio.sleep(self._chance.choice((0.5, 0.5, 2, 2, self._chance.uniform(0, 4))))
        amounts = self._chance.sample((0, 300, 900, 1500, 2500), 2)
        self._bids = tuple(Bid(deployment="p:m", held_nanousd=held, price_version="v1") for held in amounts)
        key = self._chance.choice((None, "equal"))
        self._request = a_call(bids=self._bids, key=key, now_ms=self._clock_ms(), generation_id=self._name)
        admission = await self._surely(lambda: self._ledger.admit(self._request))
        self._say(f"{self._name} admit: {admission}")
        if not isinstance(admission, Lead):
            return
        self._took(admission)
        await asyncio.sleep(self._chance.choice((0, 0.5, 3)))
        if self._chance.random() < 0.2 and not await self._try_next():
            return
        await self._settle()

    async def settle_after_leaving(self) -> None:
        """What a process does for a caller that went away, if it knows of a hold."""
        if self._lead is not None:
            # It may have been settled, and only nobody heard of it: then that stands.
            await self._settle_otherwise(self._chance.choice((0, 50)))

    def _took(self, lead: Lead) -> None:
        self._lead = lead
        self._books.was_told_held(lead.hold_id, self._bids[lead.bid].held_nanousd)

    async def _try_next(self) -> bool:
        failed = a_result(self._lead, cost=None, outcome="connect_failed")
        request = NextAttempt(
            facts=self._request.facts, closed=(failed,), attempt=2, bids=self._bids, now_ms=self._clock_ms()
        )
        lead = await self._surely(lambda: self._ledger.hold_next(request))
        self._say(f"{self._name} next: {lead}")
        if lead is None:
            return False
        self._books.was_told_charged(self._lead.hold_id, 0)
        if isinstance(lead, Refused):
            self._lead = None
            return False
        self._took(lead)
        return True

    async def _settle(self) -> None:
        held = self._bids[self._lead.bid].held_nanousd
        cost = self._chance.choice((None, held, held // 3))
        if self._chance.random() < 0.05:
            return  # Somebody forgot: it stays open for as long as its owner lives.
        settled = await self._settle_as(cost)
        if settled and self._chance.random() < 0.3:
            await self._settle_as(cost)
            await self._settle_otherwise((cost or 0) + 7)
            self._books.was_told_charged(self._lead.hold_id, cost or 0)

    async def _settle_as(self, cost: int | None) -> bool:
        outcome = "aborted" if cost is None else "ok"
        settlement = a_settlement(self._request, self._lead, cost=cost, outcome=outcome)
        is_done = await self._surely(lambda: self._settled(settlement))
        self._say(f"{self._lead.hold_id} settled for {cost}: {is_done}")
        if is_done:
            self._books.was_told_charged(self._lead.hold_id, cost or 0)
        return bool(is_done)

    async def _settle_otherwise(self, cost: int) -> None:
        """Refused, or passed over where the hold had lapsed: without an effect in both cases."""
        with contextlib.suppress(UsageDiffers):
            await self._surely(lambda: self._settled(a_settlement(self._request, self._lead, cost=cost)))

    async def _settled(self, settlement) -> bool:
        await self._ledger.settle(settlement)
        return True

    async def _surely(self, write):
        """The same write again while the ledger is in trouble, whatever became of the one before. None: gave up."""
        for _ in range(TRIES):
            try:
                return await write()
            except LedgerUnavailable as error:
                self._say(f"{self._name} unavailable, unknown={error.unknown}")
                await asyncio.sleep(self._chance.choice((0.05, 0.5, 2)))
        return None
