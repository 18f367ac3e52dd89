"""A process's lease: under it money is held; it is renewed in time, and begun anew where it was not."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from ledger.database import Database
from ledger.errors import LeaseOver, LedgerUnavailable
from ledger.operations.owners import LeaseRule, Owner, leave, register, rejoin, renew
from ledger.store.works import Work
from ledger.store.writer import Writer

LEASE_TRIES: Final = 2

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class Lease:
    """The right to hold money, and who has it now. new_owner: makes an owner that was never before, for each lease."""

    def __init__(
        self, store: Writer, new_owner: Callable[[], Owner], rule: LeaseRule, *, clock_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._new_owner = new_owner
        self.rule = rule
        self._clock_ms = clock_ms
        self._rejoining = asyncio.Lock()
        self.owner = new_owner()

    async def join(self) -> None:
        """Begin a lease."""
        work = partial(register, owner=self.owner, now_ms=self._clock_ms(), lease_ms=self.rule.lease_ms)
        await self._store.write(work)

    async def leave(self) -> None:
        """Give the lease back, so that nobody has to wait for it to run out."""
        try:
            work = partial(leave, owner=self.owner)
            await self._store.write(work, is_settlement=True)
        except LedgerUnavailable:
            log.warning("the lease could not be given back; it runs out by itself")

    async def renew(self) -> None:
        """Lengthen it, or begin anew if it ran out."""
        owner = self.owner
        work = partial(renew, owner=owner, now_ms=self._clock_ms(), lease_ms=self.rule.lease_ms)
        if not await self._store.write(work, is_settlement=True):
            await self.rejoin(owner)

    async def rejoin(self, fenced: Owner) -> None:
        """Take a new lease in the place of one that ran out, once, however many calls found that it did."""
        async with self._rejoining:
            if self.owner != fenced:
                return
            log.warning("this process's lease ran out before it was renewed; its open holds lapse")
            fresh = self._new_owner()
            now_ms = self._clock_ms()
            work = partial(rejoin, fenced=fenced, fresh=fresh, now_ms=now_ms, lease_ms=self.rule.lease_ms)
            await self._store.write(work, is_settlement=True)
            self.owner = fresh

    async def write(self, work: Callable[[Database, str], Result], *, is_settlement: bool = False) -> Result:
        """Write `work(db, owner_id)` for this process's owner, as `write_as_owner` does."""
        return await self.write_as_owner(
            lambda owner_id: partial(_as_owner, work=work, owner_id=owner_id), is_settlement=is_settlement
        )

    async def write_as_owner(self, work_of: Callable[[str], Work[Result]], *, is_settlement: bool = False) -> Result:
        """Write what `work_of` makes for this process's owner; for a new one if its lease turns out to be over."""
        for _ in range(LEASE_TRIES):
            owner = self.owner
            try:
                return await self._store.write(work_of(owner.owner_id), is_settlement=is_settlement)
            except LeaseOver:
                await self.rejoin(owner)
        raise LedgerUnavailable


def _as_owner(db: Database, *, work: Callable[[Database, str], Result], owner_id: str) -> Result:
    return work(db, owner_id)


def new_owner() -> Owner:
    """An owner that was never before, of this process."""
    return Owner(owner_id=f"own_{secrets.token_hex(8)}", process=f"{socket.gethostname()}:{os.getpid()}")
