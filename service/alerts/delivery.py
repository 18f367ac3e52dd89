"""Delivers the outbox: a courier for each target, in every process, of which the ledger lets one deliver at a time."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from ledger.ledger import Outbox
from router.providers.post import Post
from service.alerts.courier import Courier
from service.alerts.sending import sending_by
from service.alerts.targets import Target

# For what is under way when the service stops. What takes longer is sent again after the next start.
CLOSE_S: Final = 3.0


class _Running(NamedTuple):
    courier: Courier
    task: asyncio.Task[None]


class Couriers:
    """The couriers of the targets in force."""

    def __init__(self, hire: Callable[[Target], Courier], *, close_s: float = CLOSE_S) -> None:
        self._hire = hire
        self._close_s = close_s
        self._running: dict[str, _Running] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def replace(self, targets: Iterable[Target]) -> None:
        """Deliver to these from now on, and to no others. One that wanted nothing more is asked again."""
        before, self._running = self._running, {}
        for target in targets:
            old = before.pop(target.name, None)
            if old is not None and old.courier.target == target and not old.task.done():
                self._running[target.name] = old
                continue
            courier = self._hire(target)
            after = None if old is None else self._dismiss(old)
            name = f"alerts to {target.name}"
            self._running[target.name] = _Running(courier, asyncio.create_task(_run(courier, after), name=name))
        for old in before.values():
            self._dismiss(old)

    async def aclose(self) -> None:
        """Finish what is under way, for a moment."""
        self.replace(())
        if not self._leaving:
            return
        _, late = await asyncio.wait(self._leaving, timeout=self._close_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _dismiss(self, old: _Running) -> asyncio.Task[None]:
        old.courier.stop()
        self._leaving.add(old.task)
        old.task.add_done_callback(self._leaving.discard)
        return old.task


async def _run(courier: Courier, after: asyncio.Task[None] | None) -> None:
    """after: whose place this one takes, so that nothing is sent by both."""
    if after is not None:
        await asyncio.wait([after])
    await courier.run()


@asynccontextmanager
async def open_alerts(
    outbox: Outbox, targets: Iterable[Target], post: Post, *, now_ms: Callable[[], int]
) -> AsyncIterator[Couriers]:
    """Deliver to these targets while the block runs."""
    send = sending_by(post, now_ms=now_ms)

    def hire(target: Target) -> Courier:
        # Nobody gains by guessing when a message is tried again.
        return Courier(target, outbox, send, now_ms=now_ms, now_s=time.monotonic, chance=random.random)

    couriers = Couriers(hire)
    try:
        couriers.replace(targets)
        yield couriers
    finally:
        await couriers.aclose()
